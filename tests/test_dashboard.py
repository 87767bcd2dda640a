"""The dashboard, served for real: on loopback alone, with the figures of the trials."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from optuna.artifacts import get_all_artifact_meta

from hpo_utils.base.config import load_config
from hpo_utils.base.errors import HpoError
from hpo_utils.base.paths import project_root
from hpo_utils.serving import serve
from hpo_utils.study.search import run_study
from hpo_utils.trials.storage import artifact_store


@pytest.fixture
def copied(settled, tmp_path):
    """The root of a copy of the settled study, which may be changed."""
    cfg, _ = settled
    return shutil.copytree(cfg.paths.outputs_root, tmp_path / "runs", symlinks=True)


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def figures_of(trial, study):
    return [meta.filename for meta in get_all_artifact_meta(trial, storage=study._storage)]


def test_each_complete_trial_has_its_figures(settled):
    cfg, study = settled
    for trial in study.trials:
        found = get_all_artifact_meta(trial, storage=study._storage)
        assert figures_of(trial, study) == ["learning_curves.png"]
        with artifact_store(Path(cfg.paths.outputs_root)).open_reader(found[0].artifact_id) as file:
            assert file.read(4) == b"\x89PNG"


def test_predictions_are_shown_beside_the_score_unless_they_are_of_the_test_part(make_config):
    settings = ("evaluation.strict_test=true", "study.n_trials=1", "study.trial_figures=true")
    study = run_study(make_config(*settings))
    (trial,) = study.trials
    assert sorted(figures_of(trial, study)) == ["learning_curves.png", "prediction_vs_truth.png"]


def get(url, process):
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.read()
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < until
            time.sleep(0.2)


def test_the_page_shows_the_study_and_is_not_open_to_others(copied, port):
    command = [sys.executable, "-m", "hpo_utils", "dashboard", "--port", str(port),
               "--params-file", "params/smoke.yaml",
               "--overrides", f"paths.outputs_root={copied}"]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=project_root(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        page = f"http://127.0.0.1:{port}"
        assert b"<html" in get(f"{page}/dashboard/", process).lower()
        studies = json.loads(get(f"{page}/api/studies", process))["study_summaries"]
        assert "smoke" in [study["study_name"] for study in studies]
        assert not answers(_own_address(), port)
    finally:
        process.terminate()
        process.communicate(timeout=20)


def answers(address, port):
    with socket.socket() as other:
        other.settimeout(2)
        return other.connect_ex((address, port)) == 0


def _own_address():
    """This machine's address in its network; one where nobody answers if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.2"
        return probe.getsockname()[0]


def test_a_port_that_is_taken_is_said(copied, port):
    cfg = load_config("params/smoke.yaml", [f"paths.outputs_root={copied}"])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(HpoError, match=f"--port must name a free port, got {port}"):
            serve(cfg, port)
