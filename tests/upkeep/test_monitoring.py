"""Control charts of a bundle in use, against published numbers."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hpo_utils.__main__ import main
from hpo_utils.base.config import updated
from hpo_utils.base.errors import BundleError
from hpo_utils.bundle.bundle import load_bundle, predict
from hpo_utils.upkeep.monitoring import DECISION, chart, monitor

# NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.2.3: target 325, slack 0.3175
NIST = [
    324.925, 324.675, 324.725, 324.350, 325.350, 325.225, 324.125, 324.525, 325.225, 324.600,
    324.625, 325.150, 328.325, 327.250, 327.825, 328.500, 326.675, 327.775, 326.875, 328.350,
]  # fmt: skip


def test_the_sums_are_those_of_the_handbook():
    points = chart(np.array(NIST) - 325, 0.0, 2 * 0.3175, largest=np.inf, full=np.inf)
    above = points["above"] * 2 * 0.3175
    assert above.iloc[[4, 12, 13, 19]].tolist() == pytest.approx([0.0325, 3.0075, 4.94, 19.035])
    below = points["below"] * 2 * 0.3175
    assert below.iloc[[0, 1, 2, 3]].tolist() == pytest.approx([0.0, 0.0075, 0.0, 0.3325])


def test_one_wrong_value_does_not_rule_the_sums():
    points = chart(np.array([40.0, *[0.0] * 9]), 0.0, 1.0)
    assert points["above"].max() < DECISION
    assert points["above"].iloc[-1] == 0.0
    lasting = chart(np.array([2.0] * 100 + [0.0] * 11), 0.0, 1.0)["above"]
    assert lasting.iloc[99] > DECISION  # and it is forgotten soon after it is mended
    assert lasting.iloc[-1] < DECISION


def run_length(rng, shift):
    points = chart(rng.normal(shift, 1, 4000), 0.0, 1.0)
    out = points[["above", "below"]].max(axis=1) > DECISION
    return int(out.argmax()) + 1


@pytest.mark.parametrize(("shift", "expected", "n"), [(0.0, 465, 200), (1.0, 10.4, 200)])
def test_how_soon_it_calls_is_as_published(shift, expected, n):
    """Montgomery, Introduction to Statistical Quality Control, table 9.3: h = 5, k = 1/2."""
    rng = np.random.default_rng(0)
    mean = np.mean([run_length(rng, shift) for _ in range(n)])
    assert mean == pytest.approx(expected, rel=0.2)


@pytest.fixture
def in_use(home, tmp_path):
    """A copy of a bundle, inputs, and what it predicts of them."""
    directory, raw, data = home
    shutil.copytree(directory, tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    x = raw[data.sample_numbers("test")][:6]
    return bundle, x, predict(bundle, x).y


def test_samples_are_added_and_a_lasting_error_is_called(in_use, tmp_path):
    bundle, x, y = in_use
    first = monitor(bundle, x[:2], y[:2])
    assert first["n"].tolist() == [2] * 6
    assert not any("out of control" in state for state in first["state"])
    with np.errstate(all="ignore"):
        off = y - np.array([5, 0, 0, 0, 0, 0], dtype=np.float32)
    states = monitor(bundle, x, off)["state"]
    assert states.iloc[0].startswith("out of control")
    log = pd.read_csv(tmp_path / "bundle-monitor.csv")
    assert len(log) == 6 * 8
    assert log["sample_number"].max() == 7
    assert (tmp_path / "bundle-monitor.png").stat().st_size > 10_000


def test_every_new_sample_that_lies_far_off_is_named(in_use):
    bundle, x, y = in_use
    off = y.astype(np.float64)
    off[2, 0] -= 50.0
    state = monitor(bundle, x, off, ids=[f"run {k}" for k in range(6)])["state"].iloc[0]
    assert state.startswith("out of control: run 2 (")
    assert state.endswith("taken out by deleting its rows in bundle-monitor.csv)")
    assert monitor(bundle, x, y)["state"].iloc[0] == "in control"  # it was said once


def test_what_was_not_measured_is_not_charted(in_use):
    bundle, x, y = in_use
    partly = replace(bundle, cfg=updated(bundle.cfg, {"dataset.partly_measured": True}))
    y = y.copy()
    y[:, 1] = np.nan
    table = monitor(partly, x, y)
    assert table["n"].tolist() == [6, 0, 6, 6, 6, 6]
    assert table["state"].iloc[1] == "not measured yet"


def test_the_command_prints_the_table(in_use, tmp_path, capsys):
    _, x, y = in_use
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "t.npy", y)
    files = [str(tmp_path / name) for name in ("bundle", "x.npy", "t.npy")]
    assert main(["monitor", *files]) == 0
    assert "in control" in capsys.readouterr().out


def test_a_log_that_is_none_and_a_bundle_without_figures_are_named(in_use, tmp_path):
    bundle, x, y = in_use
    (tmp_path / "bundle-monitor.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BundleError, match="must have the columns sample_number, time"):
        monitor(bundle, x, y)
    (tmp_path / "bundle" / "metrics.json").write_text('{"test": {}}')
    with pytest.raises(BundleError, match="must know bias and SEP"):
        monitor(bundle, x, y)
