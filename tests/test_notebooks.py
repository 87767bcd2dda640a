"""The notebooks: one skeleton, and what papermill and its traps do to them."""

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml
from IPython.core.interactiveshell import InteractiveShell
from papermill.exceptions import PapermillExecutionError
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from hpo_utils.base.errors import HpoError
from hpo_utils.base.paths import project_root
from hpo_utils.pipeline import NOTEBOOKS

IMPORT = project_root() / "notebooks" / "00_import_data.ipynb"  # stands before the pipeline
PATHS = [project_root() / "notebooks" / f"{name}.ipynb" for name in NOTEBOOKS]
EXTRA = {
    "01_prepare_data": [],
    "02_train": ["trial_number", "config_path"],
    "03_optimize": ["n_trials", "n_workers", "delete_study"],
    "04_analyze": ["study_name"],
}


@pytest.fixture(params=[IMPORT, *PATHS], ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_these_and_no_others():
    assert sorted((project_root() / "notebooks").glob("*.ipynb")) == [IMPORT, *PATHS]


def test_nothing_is_stored(path, notebook):
    assert all(not cell.outputs and cell.execution_count is None for cell in code_cells(notebook))
    assert notebook.metadata.kernelspec.name == "python3"
    assert "papermill" not in notebook.metadata
    nbformat.validate(notebook)


def test_the_commit_hook_leaves_them_as_they_are(path, tmp_path):
    """And so the tags and nbmake's values, which it must not strip."""
    hooks = yaml.safe_load((project_root() / ".pre-commit-config.yaml").read_text())["repos"][0]
    entry = shlex.split(hooks["hooks"][0]["entry"])
    copy = shutil.copy(path, tmp_path)
    subprocess.run([sys.executable, "-m", "nbstripout", *entry[1:], copy], check=True)
    assert Path(copy).read_text() == path.read_text()


def test_the_skeleton(notebook):
    first = notebook.cells[0].source.splitlines()
    assert re.match(r"# \d · ", first[0])
    assert len(re.findall(r"\.(?:\s|$)", " ".join(first[1:]))) == 2  # two sentences: in and out
    headings = [
        line for cell in notebook.cells if cell.cell_type == "markdown"
        for line in cell.source.splitlines() if line.startswith("## ")
    ]  # fmt: skip
    assert headings[:2] == ["## Parameters", "## Configuration"]
    assert len(headings) >= 4


def test_one_tagged_cell_at_a_fixed_place(path, notebook):
    tagged = [i for i, c in enumerate(notebook.cells) if "parameters" in c.metadata.get("tags", [])]
    assert tagged == [2]
    lines = notebook.cells[2].source.splitlines()
    assert 2 <= len(lines) <= 5
    one = r"\w+: (str|int|bool) = (\"[\w./]*\"|\d+|None)  # [^=]+"
    assert all(re.fullmatch(one, line) for line in lines)
    names = [line.split(":")[0] for line in lines]
    assert list(papermill.inspect_notebook(str(path))) == names
    if path == IMPORT:
        assert names == ["files", "targets", "out", "id_column", "window"]
        return
    assert names == ["params_file", "overrides", *EXTRA[path.stem]]
    assert notebook.cells[2].metadata.nbmake.mock == {"params_file": "params/smoke.yaml"}


def test_the_cells_are_thin(notebook):
    cells = code_cells(notebook)
    lines = [line for cell in cells for line in cell.source.splitlines()]
    assert len(cells) <= 16
    assert len(lines) <= 100
    statements = [node for cell in cells for node in ast.walk(ast.parse(cell.source))]
    forbidden = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.If, ast.Lambda)
    assert not any(isinstance(node, forbidden) for node in statements)


def execute(name, output, **parameters):
    papermill.execute_notebook(
        str(project_root() / "notebooks" / f"{name}.ipynb"), str(output),
        parameters=parameters, progress_bar=False, cwd=str(output.parent),
    )  # fmt: skip
    return json.loads(output.read_text())


WRONG_PARAMETERS = [
    ("03_optimize", {"n_trails": 3}, "got 'n_trails': did you mean n_trials?"),
    ("03_optimize", {"n_trials": 0}, "study.n_trials must lie between 1 and"),
    ("03_optimize", {"overrides": "study.pruner=hyper"}, "must be one of median, none"),
    ("04_analyze", {}, "there must be a study called 'smoke' to look at"),
    ("02_train", {"trial_number": 5}, "there must be a study called 'smoke'"),
    ("02_train", {"overrides": "training.device=gpu7 synthetic.n_samples=7"}, "n_samples must lie"),
    ("04_analyze", {"study_name": "other"}, "there must be a study called 'other'"),
    ("01_prepare_data", {"params_file": "params/none.yaml"}, "the params file must exist"),
]


def given_to(tmp_path, parameters):
    """Return the parameters of a notebook at smoke size, whose files go to ``tmp_path``."""
    root = f"paths.outputs_root={tmp_path / 'runs'}"
    given = {"params_file": "params/smoke.yaml", **parameters}
    return {**given, "overrides": f"{root} {parameters.get('overrides', '')}"}


@pytest.mark.parametrize(("name", "parameters", "message"), WRONG_PARAMETERS)
def test_a_wrong_parameter_is_one_sentence_and_changes_nothing(
    tmp_path, monkeypatch, name, parameters, message
):
    """The cells as papermill writes them, in a shell of this process: kernels start slowly."""
    monkeypatch.chdir(tmp_path)
    file = project_root() / "notebooks" / f"{name}.ipynb"
    asked = parameterize_notebook(load_notebook_node(str(file)), given_to(tmp_path, parameters))
    shell = InteractiveShell.instance()
    results = (shell.run_cell(cell.source, store_history=True) for cell in code_cells(asked))
    error = next(result.error_in_exec for result in results if not result.success)
    assert isinstance(error, HpoError)
    assert message in str(error)
    assert "\n" not in str(error)
    assert not (tmp_path / "runs").exists()
    InteractiveShell.clear_instance()


def test_papermill_shows_the_sentence_alone(tmp_path):
    with pytest.raises(PapermillExecutionError) as caught:
        execute("03_optimize", tmp_path / "out.ipynb", **given_to(tmp_path, {"n_trails": 3}))
    assert "got 'n_trails': did you mean n_trials?" in caught.value.evalue
    assert len(caught.value.traceback) == 1  # the sentence, not a traceback
    assert not (tmp_path / "runs").exists()


def test_the_command_line_fails_with_the_sentence_and_takes_false_as_false(tmp_path):
    def papermill_command(*arguments):
        notebook = project_root() / "notebooks" / "03_optimize.ipynb"
        root = f"paths.outputs_root={tmp_path / 'runs'} evaluation.n_seeds=0"
        command = [sys.executable, "-m", "papermill", str(notebook), str(tmp_path / "out.ipynb"),
                   "-p", "params_file", "params/smoke.yaml", "-p", "overrides", root,
                   *arguments]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

    failed = papermill_command("-p", "n_trials", "many")
    assert failed.returncode != 0
    assert "ParameterError: n_trials must be a whole number, got 'many'" in failed.stderr
    assert not (tmp_path / "runs").exists()
    kept = papermill_command("-p", "n_trials", "1", "-p", "delete_study", "false")
    assert kept.returncode == 0, kept.stderr
    again = papermill_command("-p", "n_trials", "1", "-p", "delete_study", "false")
    assert again.returncode == 0
    assert "study 'smoke' has its 1 trials: nothing to do" in (tmp_path / "out.ipynb").read_text()
