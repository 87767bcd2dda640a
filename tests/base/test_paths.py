import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from hpo_utils.base import paths
from hpo_utils.base.errors import ConfigError


def test_root_is_found_from_a_notebook_directory_and_from_anywhere(monkeypatch, tmp_path):
    root = paths.project_root()
    monkeypatch.chdir(root / "notebooks")
    assert paths.project_root() == root
    monkeypatch.chdir(tmp_path)  # outside: by the package
    assert paths.project_root() == root


def test_another_project_in_the_working_directory_changes_nothing(monkeypatch, tmp_path):
    root = paths.project_root()
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "default.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert paths.project_root() == root


def test_a_package_installed_elsewhere_serves_the_project_of_the_working_directory(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "site-packages" / "paths.py"))
    assert paths.resolve("runs") == Path.cwd() / "runs"


def test_no_project_at_all_is_said(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "paths.py"))
    with pytest.raises(ConfigError, match=r"start inside the project"):
        paths.project_root()


def test_absolute_paths_stay_and_relative_ones_hang_below_the_root(tmp_path):
    assert paths.resolve(tmp_path) == tmp_path
    assert paths.resolve("a b/入力.npy") == paths.project_root() / "a b" / "入力.npy"


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    file = tmp_path / "a.json"
    paths.write_json(file, {"kept": 1})
    with pytest.raises(ValueError, match="nan"):
        paths.write_json(file, {"bad": float("nan")})
    assert json.loads(file.read_text()) == {"kept": 1}
    assert [f.name for f in tmp_path.iterdir()] == ["a.json"]


def test_arrays_are_saved_without_pickle(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        paths.write_npy(tmp_path / "o.npy", np.array([{}], dtype=object))
    assert not list(tmp_path.iterdir())


def test_who_makes_a_directory_second_finds_the_first_ones(tmp_path):
    made = tmp_path / "data"
    with paths.whole_directory(made) as slow:
        (slow / "by").write_text("slow")
        with paths.whole_directory(made) as fast:  # of a machine with the same process numbers
            assert fast != slow
            (fast / "by").write_text("fast")
    assert (made / "by").read_text() == "fast"
    with paths.whole_directory(made, replace=True) as new:
        (new / "by").write_text("new")
    assert (made / "by").read_text() == "new"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with paths.whole_directory(tmp_path / "link", replace=True) as new:
        (new / "by").write_text("new")
    assert (tmp_path / "link" / "by").read_text() == "new"
    assert not (tmp_path / "elsewhere" / "by").exists()
    assert {f.name for f in tmp_path.iterdir()} == {"data", "elsewhere", "link"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges names")
def test_a_directory_is_replaced_in_one_step(tmp_path, monkeypatch):
    """Whoever reads at the same moment finds the old one or the new one."""
    made = tmp_path / "data"
    made.mkdir()
    (made / "by").write_text("old")

    def renamed(*_):
        raise AssertionError("for a moment there would be none")

    monkeypatch.setattr(Path, "rename", renamed)
    with paths.whole_directory(made, replace=True) as new:
        (new / "by").write_text("new")
    assert (made / "by").read_text() == "new"
    assert [f.name for f in tmp_path.iterdir()] == ["data"]


def test_a_file_reaches_the_disk_before_its_name_does(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(os, "fsync", lambda _: done.append("flushed"))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *a: (done.append("renamed"), replace(*a)))
    paths.write_text(tmp_path / "a", "x")
    assert done == ["flushed", "renamed", "flushed"]


def test_a_directory_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    made, rename = tmp_path / "data", Path.rename
    made.mkdir()
    (made / "by").write_text("old")

    def refuse_the_new(self, target):
        if (self / "by").read_text() == "new":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_the_new)
    monkeypatch.setattr(paths, "_exchange", lambda *_: False)  # as on a file system without it
    with (
        pytest.raises(OSError, match="No space"),
        paths.whole_directory(made, replace=True) as new,
    ):
        (new / "by").write_text("new")
    assert (made / "by").read_text() == "old"
    assert [f.name for f in tmp_path.iterdir()] == ["data"]
