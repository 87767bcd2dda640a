"""The whole pipeline, for real: four notebooks with papermill at smoke size."""

import re
import subprocess
import sys

import nbformat
import pytest

from hpo_utils.base.errors import HpoError
from hpo_utils.base.paths import project_root
from hpo_utils.pipeline import NOTEBOOKS, run_pipeline


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The outputs root after `python -m hpo_utils run`, and what the command printed."""
    root = tmp_path_factory.mktemp("pipeline") / "runs"
    command = [sys.executable, "-m", "hpo_utils", "run", "--params-file", "params/smoke.yaml",
               "--overrides", f"paths.outputs_root={root}", "--n-trials", "3"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=project_root())
    assert done.returncode == 0, done.stderr
    return root, done.stdout


def test_every_promised_file_is_there(executed):
    root, _ = executed
    names = ["optuna/study.db", "optuna/study_summary.json", "optuna_study_summary.json",
             "optuna/best_trial_info.yaml", "optuna_best/config.yaml", "optuna_best/metrics.json",
             "optuna_best/trial_info.yaml", "optuna_best/weights/model_simplecnn_real.pth",
             "optuna_best/y_pred.npy", "optuna_best/y_true.npy", "optuna_best/learning_curves.png",
             "optuna_best/evaluation_plots/prediction_vs_truth.png", "optuna_best/logs/train.log",
             "reports/smoke.html", "winners/smoke/evaluation.json",
             "winners/smoke/predictions.npz", "winners/smoke/bundle/model.onnx",
             "winners/smoke/bundle/MODEL_CARD.md"]  # fmt: skip
    assert [name for name in names if not (root / name).is_file()] == []


def test_it_ends_by_saying_where_the_results_are(executed):
    root, printed = executed
    assert f"report      {root / 'reports' / 'smoke.html'}" in printed
    assert re.search(
        r"best trial  \S+/runs/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d, also as optuna_best", printed
    )
    assert "validation score" in printed
    assert re.search(r"Trained again with \d fresh seeds?, trial \d", printed)
    assert [line.split()[:2] for line in printed.splitlines() if line.startswith("trial ")] == [
        ["trial", str(number)] for number in range(3)
    ]
    bundle = root / "winners" / "smoke" / "bundle"
    assert f"model       {bundle}" in printed
    assert f"python -m hpo_utils predict {bundle} x.npy --out y.csv" in printed


def outputs_of(root, name):
    (path,) = (root / "notebooks").glob(f"*/{name}.ipynb")
    notebook = nbformat.read(path, as_version=4)
    return [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_executed_notebook_shows_figures_and_no_warnings(executed, name):
    outputs = outputs_of(executed[0], name)
    pages = [out.data.get("text/html", "") for out in outputs if "data" in out]
    assert sum("data:image/png;base64" in page for page in pages) >= 2
    assert not any("not settled yet" in str(out.get("data")) for out in outputs)
    streams = [out for out in outputs if out.output_type == "stream"]
    assert [out.text for out in streams if out.name == "stderr"] == []
    assert not any(out.output_type == "error" for out in outputs)


def test_the_test_part_speaks_for_the_winner_alone(executed):
    shown = [str(out.get("data")) for out in outputs_of(executed[0], "02_train")]
    assert any("Prediction against truth in the validation part" in each for each in shown)
    report = (executed[0] / "reports" / "smoke.html").read_text()
    assert "by trials of studies and 0 by hand" in report


def test_the_bar_is_one_output_in_its_final_state(executed):
    outputs = outputs_of(executed[0], "03_optimize")
    bars = [out for out in outputs if "<progress" in out.get("data", {}).get("text/html", "")]
    assert len(bars) == 1
    assert bars[0].data["text/plain"].startswith("3 of 3 trials (3 complete, 0 pruned, 0 fail)")
    lines = "".join(out.text for out in outputs if out.output_type == "stream").splitlines()
    searched = [line.split()[:2] for line in lines if line.startswith("trial ")]
    assert searched == [["trial", str(i)] for i in range(3)]
    assert sum(line.startswith("retraining: ") for line in lines) >= 2


def test_a_notebook_that_fails_is_named(tmp_path):
    root = f"paths.outputs_root={tmp_path / 'runs'}"
    with pytest.raises(
        HpoError, match=r"04_analyze must run to its end, but stopped with StudyErr"
    ):
        run_pipeline("params/smoke.yaml", root, notebooks=("04_analyze",))


def test_the_command_says_one_sentence_for_a_wrong_setting(tmp_path):
    for arguments, start in (
        (["--overrides", "model.hiden=3"], "ConfigError: the configuration must follow its schema"),
        (["--n-trials", "0"], "ConfigError: study.n_trials must lie between 1 and"),
    ):
        command = [sys.executable, "-m", "hpo_utils", "run", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=project_root())
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith(start)
