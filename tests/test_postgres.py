"""A study on a real PostgreSQL, with a password, started here on loopback.

Needs the server's programs (Debian: postgresql); skipped where they are absent.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import optuna
import pytest

from hpo_utils.base.config import load_config
from hpo_utils.base.errors import ConfigError, StudyError
from hpo_utils.base.paths import project_root
from hpo_utils.study.search import run_study
from hpo_utils.trials.storage import open_storage
from hpo_utils.workers.server import start_server

SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
PROGRAMS = SERVERS[-1].parent if SERVERS else None
HOME = Path("/tmp") / f"hpo-postgres-{os.getpid()}"  # the server's user must get there
PASSWORD = "not-to-be-found-anywhere"
AS_ROOT = os.geteuid() == 0  # who may not run the server
pytestmark = pytest.mark.skipif(
    PROGRAMS is None or (AS_ROOT and shutil.which("runuser") is None),
    reason="PostgreSQL's server is not installed",
)


def as_server(*command):
    """Run a program of the server, as the user that Debian's package made if this is root."""
    user = ["runuser", "-u", "postgres", "--"] if AS_ROOT else []
    return subprocess.run([*user, *map(str, command)], capture_output=True, text=True, cwd="/")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of an empty server's database, without the password."""
    HOME.mkdir(mode=0o700)
    if AS_ROOT:
        shutil.chown(HOME, "postgres")
    secret = HOME / "secret"
    secret.write_text(PASSWORD)
    if AS_ROOT:
        shutil.chown(secret, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = as_server(PROGRAMS / "initdb", "-D", HOME / "data", "-U", "tuner",
                     "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync")  # fmt: skip
    assert made.returncode == 0, made.stderr
    start_database(port)
    # workers are forked from a server, which is older than the password here
    start_server(load_config("params/smoke.yaml", ["study.n_workers=2"]))
    yield f"postgresql+psycopg://tuner@127.0.0.1:{port}/postgres"
    stop_database()
    shutil.rmtree(HOME)


def start_database(port):
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    started = as_server(PROGRAMS / "pg_ctl", "-D", HOME / "data", "-l", HOME / "log", "-w", "-o",
                        options, "start")  # fmt: skip
    assert started.returncode == 0, started.stdout


def stop_database():
    as_server(PROGRAMS / "pg_ctl", "-D", HOME / "data", "-m", "immediate", "stop")


@pytest.fixture
def address(server, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return server


HAS_RAY = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


@pytest.mark.parametrize("executor", ["in_process", pytest.param("ray", marks=HAS_RAY)])
def test_a_study_of_two_workers_has_exactly_its_trials(
    address, make_config, tmp_path, capfd, executor
):
    cfg = make_config(f"study.storage={address}", "study.n_trials=6", "study.n_workers=2",
                      f"study.executor={executor}", f"study.name={executor}")  # fmt: skip
    study = run_study(cfg)
    states = [trial.state.name for trial in study.trials]
    assert sum(state in ("COMPLETE", "PRUNED") for state in states) == 6
    assert len(states) == 6
    assert len({trial.user_attrs["owner"]["pid"] for trial in study.trials}) == 2
    shown = capfd.readouterr()
    logs = [Path("/tmp/ray/session_latest/logs")] if executor == "ray" else []
    written = [f for d in (tmp_path / "runs", *logs) for f in d.rglob("*") if f.is_file()]
    assert any(file.name == "config.yaml" for file in written)
    assert PASSWORD not in shown.out + shown.err
    assert not [file for file in written if PASSWORD.encode() in file.read_bytes()]
    assert "nothing to do" in (run_study(cfg), capfd.readouterr().out)[1]
    if executor == "ray":
        import ray  # not before: the executor says how

        ray.shutdown()


def test_two_machines_share_a_study_and_one_is_killed(address, tmp_path):
    """Two processes, each with files of its own as on two machines, and one of them dies."""
    code = (
        "import sys; from hpo_utils.base.config import load_config;"
        "from hpo_utils.study.search import run_study;"
        "run_study(load_config('params/smoke.yaml', sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, f"study.storage={address}", "study.name=shared",
               "study.n_trials=10", "study.n_workers=1", "training.epochs=4",
               "study.checkpoint_every_s=0", f"paths.outputs_root={tmp_path}/runs"]  # fmt: skip
    first, second = (
        subprocess.Popen(command, cwd=project_root(), start_new_session=True, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    )  # fmt: skip

    def trials():
        storage = open_storage(load_config("params/smoke.yaml", [f"study.storage={address}"]))
        names = optuna.get_all_study_names(storage)
        return optuna.load_study(study_name="shared", storage=storage).trials if (
            "shared" in names
        ) else []  # fmt: skip

    until = time.monotonic() + 300
    while not any(t.state.is_finished() for t in trials()):
        assert time.monotonic() < until
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate(timeout=20)
    output, _ = second.communicate(timeout=300)
    assert second.returncode == 0, output
    done = subprocess.run(command, cwd=project_root(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    finished = [t for t in trials() if t.state.name in ("COMPLETE", "PRUNED")]
    assert 10 <= len(finished) <= 11  # the last one may have been begun twice
    # the killed one was taken over, or waits in case more trials are wanted
    assert not any(t.state.name == "RUNNING" for t in trials())
    params = [tuple(sorted(t.params.items())) for t in finished if "same_as" not in t.user_attrs]
    assert len(set(params)) == len(params)


def test_a_wrong_password_is_one_sentence_without_it(server, make_config, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "wrong-and-secret")
    with pytest.raises(StudyError, match="password authentication failed") as caught:
        run_study(make_config(f"study.storage={server}"))
    assert "wrong-and-secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["postgresql+psycopg://tuner:s3cret@127.0.0.1/hpo",
     "postgresql+psycopg://tuner@127.0.0.1/hpo?password=s3cret"],
)  # fmt: skip
def test_a_password_in_the_address_is_refused_and_not_repeated(address, make_config):
    with pytest.raises(ConfigError, match="set PGPASSWORD") as caught:
        make_config(f"study.storage={address}")
    assert "s3cret" not in str(caught.value)


def test_a_server_that_does_not_answer_is_one_sentence(make_config, monkeypatch):
    monkeypatch.setattr("hpo_utils.trials.storage.CREATION_S", 0)
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"postgresql+psycopg://tuner@127.0.0.1:{taken.getsockname()[1]}/hpo"
        with pytest.raises(StudyError, match="study.storage must be a database of Optuna's"):
            run_study(make_config(f"study.storage={address}"))


def test_a_server_that_is_gone_is_one_sentence_and_every_trial_goes_on(address, outlives):
    port = urlsplit(address).port
    outlives(address, 2, stop_database, lambda: start_database(port))
