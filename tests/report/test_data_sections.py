"""What the sections on the data say."""

import re

import numpy as np
import pytest

from hpo_utils.data.preparation import prepare_data
from hpo_utils.data.split import split_indices
from hpo_utils.report import data_sections
from hpo_utils.report.page import Report


@pytest.fixture
def report():
    return Report("01_prepare_data.ipynb")


@pytest.mark.parametrize(
    ("groups", "said"), [(None, "7 samples"), (np.arange(70) // 10, "1 group")]
)
def test_parts_too_small_to_decide_anything_are_said(
    groups, said, report, make_config, make_arrays, tmp_path, capsys
):
    given = make_arrays(np.random.default_rng(0).normal(size=(70, 16)))
    if groups is not None:
        np.save(tmp_path / "g.npy", groups)
        given["dataset.groups"] = str(tmp_path / "g.npy")
    ratios = ("data_split.train_ratio=0.7", "data_split.val_ratio=0.2", "data_split.test_ratio=0.1")
    data_sections.show_parts(report, prepare_data(make_config(*ratios, **given)))
    out = capsys.readouterr().out
    assert f"The test part is too small: {said}" in out
    assert ("The validation part" in out) == (groups is not None)


def test_groups_of_different_sizes_say_what_they_weigh():
    assert data_sections.sentence_on_groups(9, 9) == "9 groups"
    said = "9 groups (effectively 2, because their sizes differ)"
    assert data_sections.sentence_on_groups(9, 2) == said


def test_a_leak_is_said_at_the_top(report, make_config, make_arrays, capsys):
    arrays = make_arrays()
    x, t = (np.load(arrays[f"dataset.{name}_train"]) for name in "xt")
    x[20:], t[20:] = x[:20], t[:20]
    data_sections.show_leaks(report, prepare_data(make_config(**make_arrays(x, t))))
    assert "**The held-out parts leak**, so every score" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "counted"),
    [
        ({"data_split.method": "time"}, "6 samples"),
        ({"data_split.method": "random"}, "6 samples"),
        ({"dataset.groups": "g.npy"}, "groups"),
    ],
)
def test_what_is_counted_is_what_is_named(
    make_config, make_arrays, tmp_path, capsys, overrides, counted
):
    np.save(tmp_path / "g.npy", np.arange(40) // 3)
    overrides = {k: str(tmp_path / v) if k == "dataset.groups" else v for k, v in overrides.items()}
    data = prepare_data(make_config(**make_arrays(**overrides)))
    data_sections.show_parts(Report("01_prepare_data.ipynb"), data)
    assert re.search(rf"validation part is too small: .*{counted}", capsys.readouterr().out)


def test_blocks_are_called_blocks():
    assert data_sections.sentence_on_units(20, None, 5) == "5 blocks of neighbours"
    assert data_sections.sentence_on_units(5, None, 5) == "5 samples"
    assert data_sections.sentence_on_units(20, 3, 3) == "3 groups"


def test_a_target_of_one_value_in_a_held_out_part_is_named(make_config, make_arrays, capsys):
    t = np.random.default_rng(0).uniform(size=(40, 2))
    t[split_indices(40, make_config().data_split)["test"], 1] = 0.5
    data = prepare_data(make_config(**make_arrays(t=t)))
    data_sections.show_parts(Report("01_prepare_data.ipynb"), data)
    said = capsys.readouterr().out
    assert "**target 1 does not vary in the test part**" in said
    assert "does not vary in the validation part" not in said


def test_a_given_split_partly_measured_targets_and_weights_are_said(
    report, make_config, make_arrays, tmp_path, capsys
):
    t = np.random.default_rng(0).normal(size=(40, 2))
    t[::3, 1] = np.nan
    np.save(tmp_path / "split.npy", np.repeat(["train", "val", "test"], (20, 10, 10)))
    arrays = make_arrays(np.random.default_rng(0).normal(size=(40, 16)), t)
    np.save(tmp_path / "w.npy", np.repeat([3.0, 1.0, 1.0], (10, 10, 20)))
    given = {"dataset.split": str(tmp_path / "split.npy"), "dataset.partly_measured": True,
             "dataset.weights": str(tmp_path / "w.npy")}  # fmt: skip
    data_sections.show_parts(report, prepare_data(make_config(**arrays, **given)))
    out = capsys.readouterr().out
    assert "The parts are those that came with the data" in out
    assert "Not every target was measured in every sample" in out
    assert "the training part as much as 16 samples that count alike" in " ".join(out.split())
    assert re.search(r"target 1 +13 +6 +7", out) or re.search(r"target 1 +13 +7 +6", out)
