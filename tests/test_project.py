"""The project's own files agree with each other."""

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from importlib import metadata

import pytest
import yaml
from packaging.specifiers import SpecifierSet

import hpo_utils
from hpo_utils.base.paths import project_root
from hpo_utils.trials import storage

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


SPECIFIED = {
    "WeightedMSELoss", "suggest_hyperparameters", "create_trial_output_dir", "objective",
    "save_trial_results", "find_trial_output_dir", "generate_study_summary",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(SPECIFIED | {*hpo_utils.__all__}))
def test_the_names_of_the_specification_can_be_imported_from_the_package(name):
    assert name in hpo_utils.__all__
    assert name in dir(hpo_utils)
    assert getattr(hpo_utils, name).__name__ == name


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = hpo_utils.nothing


def test_asking_for_help_imports_neither_pytorch_nor_optuna():
    script = "import sys, hpo_utils; print(any(m in sys.modules for m in ('torch', 'optuna')))"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "False"


FOLDERS = [  # of the package, each importing only those before it; the command line imports all
    "base", "formats", "data", "importing", "scores", "baselines", "network", "training", "bundle",
    "upkeep", "trials", "workers", "study", "winner", "insight", "report",
]  # fmt: skip
MOST_MODULES = 12  # in a folder


def imports_of(path):
    """Return (folder, module) of everything in the package that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hpo_utils":
            parts = node.module.split(".")[1:]
            for alias in node.names:
                yield tuple([*parts, alias.name][:2])


def test_a_folder_imports_only_folders_below_it():
    level = {folder: i for i, folder in enumerate(FOLDERS)}
    on_disk = {path.parent.name for path in (ROOT / "hpo_utils").glob("*/__init__.py")}
    assert on_disk == set(FOLDERS)
    for folder in FOLDERS:
        modules = sorted((ROOT / "hpo_utils" / folder).glob("[!_]*.py"))
        assert 0 < len(modules) <= MOST_MODULES
        for module in modules:
            above = {
                other
                for other, *_ in imports_of(module)
                if level.get(other, len(FOLDERS)) > level[folder]
            }
            assert not above, f"{folder}/{module.name} imports from above: {above}"


def test_modules_never_import_in_a_circle():
    graph = {
        (folder, path.stem): {each for each in imports_of(path) if each[0] in FOLDERS}
        for folder in FOLDERS
        for path in (ROOT / "hpo_utils" / folder).glob("[!_]*.py")
    }
    list(TopologicalSorter(graph).static_order())  # raises CycleError


def test_each_folder_says_in_a_sentence_what_it_holds():
    for folder in FOLDERS:
        doc = ast.get_docstring(
            ast.parse((ROOT / "hpo_utils" / folder / "__init__.py").read_text())
        )
        assert doc.endswith(".")
        assert "\n" not in doc


def test_tests_lie_in_the_folder_of_what_they_test():
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders - {"faults"} <= set(FOLDERS)


def test_every_attribute_of_studies_and_trials_is_explained():
    code = "".join(path.read_text() for path in (ROOT / "hpo_utils").rglob("*.py"))
    used = re.findall(r"""user_attr(?:s\.get\(|s\[|\()["'](\w+)["']""", code)
    used += re.findall(r'"(\w+)" (?:not )?in \w+(?:\.\w+)*\.user_attrs', code)
    explained = re.findall(r"^(\w+) +(?=\S)", storage.__doc__, re.MULTILINE)
    assert set(used) - set(explained) == set()
    assert len(set(used)) > 8


@pytest.mark.parametrize("name", ["README.md", "README.ja.md"])
def test_the_tree_of_the_readme_has_the_folders_on_disk(name):
    block = re.search(r"```\n(hpo/.*?)```", (ROOT / name).read_text(), re.DOTALL)[1]
    shown = re.findall(r"^[├└]── ([\w-]+)/ ", block, re.MULTILINE)
    assert shown == [*dict.fromkeys(shown)]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    on_disk = {f.partition("/")[0] for f in tracked.stdout.splitlines() if "/" in f}
    assert {*shown} == {folder for folder in on_disk if not folder.startswith(".")}


def test_the_tree_of_the_architecture_is_that_of_the_package():
    text = (ROOT / "docs/architecture.md").read_text()
    shown = re.findall(r"^[├└]── (\w+)/ +(.*)$", text, re.MULTILINE)
    assert [folder for folder, _ in shown] == FOLDERS[::-1]
    modules = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE))
    for folder in FOLDERS:
        named = re.findall(r"`(\w+)`", modules[folder])
        on_disk = [path.stem for path in (ROOT / "hpo_utils" / folder).glob("[!_]*.py")]
        assert sorted(named) == sorted(on_disk)


def test_both_readmes_have_the_same_commands_and_sections():
    texts = [(ROOT / name).read_text() for name in ("README.md", "README.ja.md")]
    blocks = [re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for text in texts]
    commands = [[line.split("#")[0].strip() for line in "".join(b).splitlines()] for b in blocks]
    assert commands[0] == commands[1]
    headings = [[h.count("#") for h in re.findall(r"^#+ ", text, re.M)] for text in texts]
    assert headings[0] == headings[1]


def test_the_script_for_a_gpu_can_be_parsed_and_names_what_exists():
    script = ROOT / "benchmarks" / "gpu.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    named = re.findall(r"benchmarks/\w+\.py", script.read_text())
    assert len(named) == 6
    assert all((ROOT / name).is_file() for name in named)
