"""The project's own files agree with each other."""

import ast
import importlib
import re
import subprocess
import tomllib
from graphlib import TopologicalSorter
from importlib import metadata

import pytest
import yaml
from packaging.specifiers import SpecifierSet

import hpo_utils
from hpo_utils import storage
from hpo_utils.paths import project_root

ROOT = project_root()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
INSTALLED = {d.name.lower().replace("_", "-") for d in metadata.distributions()}
CONDA_NAMES = {"torch": "pytorch"}
NOT_ON_CONDA = {"matplotlib-fontja"}  # pip brings it with the project


def requirement_name(requirement):
    return re.match(r"[\w-]+", requirement)[0].lower().replace("_", "-")


def test_the_conda_environment_is_that_of_pyproject():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    names = [requirement_name(r) for r in PROJECT["dependencies"]]
    expected = {
        r.replace(name, CONDA_NAMES.get(name, name), 1)
        for name, r in zip(names, PROJECT["dependencies"], strict=True)
        if name not in NOT_ON_CONDA
    }
    expected |= {f"python{PROJECT['requires-python']}", "pip"}
    assert {d for d in conda if isinstance(d, str)} == expected
    assert conda[-1] == {"pip": ["-e ."]}


def test_the_constraints_pin_every_dependency():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {requirement_name(line) for line in lines if "==" in line}
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
    assert {requirement_name(r) for r in wanted} <= pinned
    assert "torch==2.13.0" in lines  # not 2.13.0+cpu: the build is the machine's choice


def test_what_is_pinned_installs_on_the_oldest_python_that_is_promised():
    oldest = re.search(r"[\d.]+", PROJECT["requires-python"])[0] + ".0"
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    needed = {
        name: metadata.metadata(name)["Requires-Python"] or ""
        for name in map(requirement_name, filter(lambda line: "==" in line, lines))
        if name in INSTALLED
    }
    assert len(needed) > 100
    assert {n: python for n, python in needed.items() if oldest not in SpecifierSet(python)} == {}


def test_the_names_of_the_specification_are_where_the_package_says():
    places = re.findall(r"``(\w+)\.(\w+)``", hpo_utils.__doc__)
    assert {name for _, name in places} >= {
        "WeightedMSELoss", "suggest_hyperparameters", "create_trial_output_dir", "objective",
        "save_trial_results", "find_trial_output_dir", "generate_study_summary",
    }  # fmt: skip
    for module, name in places:
        found = getattr(importlib.import_module(f"hpo_utils.{module}"), name)
        assert found.__module__ == f"hpo_utils.{module}"


LAYERS = {  # of the package, each standing on those below it
    "commands": "__main__ pipeline dashboard proxy",
    "report": "analysis data_sections verdict trust insight report tables data_plots study_plots"
    " target_plots winner_plots importances trade_offs sensitivity",
    "winner": "winner retraining reevaluation standings comparisons folds examination evaluation"
    " agreement bundle novelty onnx_file model_card acceptance",
    "search": "study study_files by_hand search_space sampler companions storage objective"
    " ownership progress workers team executors processes server cluster",
    "training": "training batches flat_weights optimizer averaging schedule stopping checkpoints"
    " timing trial_files members plots",
    "model": "models convolutions winograd folding losses devices",
    "scores": "yardstick metrics intervals residuals baselines",
    "data": "data wholeness sources checks outliers labels split resplit scaling synthetic physics"
    " features audit looks",
    "ground": "config settings parameters written paths formatting language interrupts errors",
}  # fmt: skip


def test_imports_go_down_only_and_never_in_a_circle():
    names = [layer.split() for layer in LAYERS.values()]
    level = {name: i for i, layer in enumerate(names) for name in layer}
    modules = {path.stem: path for path in (ROOT / "hpo_utils").glob("*.py")}
    del modules["__init__"]
    assert set(modules) == set(level)
    imports = {name: set[str]() for name in modules}
    for name, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hpo_utils"):
                parts = node.module.split(".")
                imports[name] |= set(parts[1:] or [alias.name for alias in node.names])
        above = {other for other in imports[name] if level[other] < level[name]}
        assert not above, f"{name} imports what stands above it: {above}"
    list(TopologicalSorter(imports).static_order())  # raises CycleError


def test_the_tree_of_the_readme_has_the_layers():
    for readme in ("README.md", "README.ja.md"):
        _, package = (ROOT / readme).read_text().split("├── hpo_utils/")
        tree = re.findall(r"^│   ├── (\w+)\.py", package.partition("├── runs/")[0], re.MULTILINE)
        assert tree == [name for layer in LAYERS.values() for name in layer.split()]


def test_every_attribute_of_studies_and_trials_is_explained():
    code = "".join(path.read_text() for path in (ROOT / "hpo_utils").glob("*.py"))
    used = re.findall(r"""user_attr(?:s\.get\(|s\[|\()["'](\w+)["']""", code)
    used += re.findall(r'"(\w+)" (?:not )?in \w+(?:\.\w+)*\.user_attrs', code)
    explained = re.findall(r"^(\w+) +(?=\S)", storage.__doc__, re.MULTILINE)
    assert set(used) - set(explained) == set()
    assert len(set(used)) > 8


def readme_tree(name):
    text = (ROOT / name).read_text()
    block = re.search(r"```\n(hpo/.*?)```", text, re.DOTALL)[1]
    return set(
        re.findall(
            r"^[ │├└─]*([\w.-]+\.(?:py|ipynb|yaml|yml|toml|md|txt|png|sh)|Makefile)", block, re.M
        )
    )


@pytest.mark.parametrize("name", ["README.md", "README.ja.md"])
def test_the_file_tree_of_the_readme_is_the_one_on_disk(name):
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    files = [f for f in tracked.stdout.splitlines() if not f.startswith("tests/")]
    shown = {f.rpartition("/")[2] for f in files if not re.search(r"(^|/)\.|typed$|LICENSE", f)}
    assert readme_tree(name) == shown


def test_both_readmes_have_the_same_commands_and_sections():
    texts = [(ROOT / name).read_text() for name in ("README.md", "README.ja.md")]
    blocks = [re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for text in texts]
    commands = [[line.split("#")[0].strip() for line in "".join(b).splitlines()] for b in blocks]
    assert commands[0] == commands[1]
    headings = [[h.count("#") for h in re.findall(r"^#+ ", text, re.M)] for text in texts]
    assert headings[0] == headings[1]
