"""A study through Optuna's gRPC proxy, the real one, on loopback."""

import socket
import subprocess
import sys
import time

import pytest

from hpo_utils.base.errors import HpoError, StudyError
from hpo_utils.base.paths import project_root
from hpo_utils.serving import serve_proxy
from hpo_utils.study.search import load_existing_study, run_study
from hpo_utils.trials import storage


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def proxy(port, tmp_path):
    """The address of a proxy in front of an SQLite file."""
    process = start_proxy(port, tmp_path)
    yield f"grpc://127.0.0.1:{port}"
    process.terminate()
    process.communicate(timeout=20)


def start_proxy(port, tmp_path):
    command = [sys.executable, "-m", "hpo_utils", "proxy", "--port", str(port),
               "--params-file", "params/smoke.yaml", "--overrides",
               f"paths.outputs_root={tmp_path}/runs study.storage=sqlite:///{tmp_path}/behind.db",
               ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=project_root(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert "answers for sqlite" in process.stdout.readline()
    return process


def test_two_workers_share_a_study_through_the_proxy(proxy, make_config, tmp_path):
    cfg = make_config(f"study.storage={proxy}", "study.n_trials=4", "study.n_workers=2")
    study = run_study(cfg)
    assert len(study.trials) == 4
    assert all(trial.state.name in ("COMPLETE", "PRUNED") for trial in study.trials)
    assert len({trial.user_attrs["owner"]["pid"] for trial in study.trials}) == 2
    assert (tmp_path / "behind.db").is_file()
    assert not (tmp_path / "runs" / "optuna" / "study.db").exists()
    behind = make_config(f"study.storage=sqlite:///{tmp_path}/behind.db")
    assert len(load_existing_study(behind).trials) == 4  # it is all in the database
    more = make_config(f"study.storage={proxy}", "study.n_trials=5", "study.n_workers=1")
    assert len(run_study(more).trials) == 5


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_proxy_that_ends_is_one_sentence_and_every_trial_goes_on(
    port, tmp_path, n_workers, outlives
):
    process = start_proxy(port, tmp_path)

    def end():
        process.kill()
        process.communicate()

    def begin():
        nonlocal process
        process = start_proxy(port, tmp_path)

    outlives(f"grpc://127.0.0.1:{port}", n_workers, end, begin)
    process.terminate()
    process.communicate(timeout=20)


def test_a_proxy_that_does_not_answer_is_one_sentence(make_config, port, monkeypatch):
    monkeypatch.setattr(storage, "CONNECT_S", 0.5)
    began = time.monotonic()
    with pytest.raises(StudyError, match=r"must be the address of a proxy that answers, got grpc"):
        run_study(make_config(f"study.storage=grpc://127.0.0.1:{port}"))
    assert time.monotonic() - began < 20


def test_a_proxy_in_front_of_a_proxy_is_refused(make_config, port):
    with pytest.raises(HpoError, match="must be the database behind the proxy"):
        serve_proxy(make_config("study.storage=grpc://127.0.0.1:1"), "127.0.0.1", port)


def test_a_taken_port_is_one_sentence(make_config, port):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(HpoError, match="must name a free port"):
            serve_proxy(make_config(), "127.0.0.1", port)
