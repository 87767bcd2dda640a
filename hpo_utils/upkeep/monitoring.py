"""Control charts of a bundle in use: are its errors still those that its test part showed?

Control samples, whose values are measured, too, are added to a log beside the bundle. A Shewhart
chart shows a single large error, a CUSUM chart a small lasting one (ISO 12099:2017, 11.2; NIST/
SEMATECH e-Handbook of Statistical Methods, 6.3.2.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hpo_utils.base.errors import BundleError
from hpo_utils.base.formatting import with_units
from hpo_utils.base.paths import write_text
from hpo_utils.base.style import GREY, save_figure, styled, target_color, with_unit
from hpo_utils.bundle.bundle import Bundle
from hpo_utils.upkeep.acceptance import compared, examined

WARNING, ACTION = 2.0, 3.0  # SEP from the bias of the test part
# a lasting shift of one SEP is found after ten samples, on average; a false alarm comes once in 465
SLACK, DECISION = 0.5, 5.0
# SEP that one error counts in a sum, at most, and the largest sum: a single wrong value would rule
# a chart for dozens of good samples
LARGEST, FULL = ACTION, 2 * DECISION
MOST_NAMED = 5  # samples in a state
COLUMNS = ["sample_number", "time", "sample", "target", "measured", "predicted"]


def monitor(
    bundle: Bundle,
    x: NDArray[Any],
    t: NDArray[Any],
    ids: Sequence[str] | None = None,
    device: str = "auto",
    x_key: str | None = None,
    t_key: str | None = None,
    groups: NDArray[Any] | Path | None = None,
    groups_key: str | None = None,
    accept_outliers: bool = False,
) -> pd.DataFrame:
    """Add control samples to the log of a bundle and draw its charts again.

    The log is ``<bundle>-monitor.csv`` beside the bundle, the charts ``<bundle>-monitor.png``.

    Parameters
    ----------
    bundle
        The bundle in use; its test part gave the bias and SEP that errors are compared with.
    x, t
        Inputs and measured values, as for ``acceptance.evaluate``; NaN where a target was not
        measured, if the bundle has learnt from partly measured ones.
    ids
        Name of each sample in the log; counted on without them.
    device, x_key, t_key, groups, groups_key, accept_outliers
        As for ``acceptance.evaluate``.

    Returns
    -------
    DataFrame
        One row per target: number of control samples so far, the last error in SEP, both sums of
        the CUSUM chart, and the state, which names every new sample that lies far off.

    Raises
    ------
    BundleError
        If the bundle has no figures of merit, or its log cannot be read.
    DataError
        If inputs or measured values do not fit the bundle.
    """
    limits = _limits(bundle)
    y_true, found, _ = compared(
        bundle, x, t, groups, device, x_key, t_key, groups_key, accept_outliers
    )
    file = bundle.directory.with_name(f"{bundle.directory.name}-monitor.csv")
    log = _read_log(file)
    first = 0 if log.empty else log["sample_number"].max() + 1
    log = pd.concat([log, _rows(bundle, y_true, found.y, ids, int(first))], ignore_index=True)
    write_text(file, log.to_csv(index=False))
    own = {name: log[log["target"] == name] for name in limits}
    charts = {name: chart(_errors(rows), *limits[name]) for name, rows in own.items()}
    new = {name: (rows["sample_number"] >= first).to_numpy() for name, rows in own.items()}
    units = dict(zip(bundle.layout.target_names, bundle.layout.target_units, strict=True))
    save_figure(file.with_suffix(".png"), plot_charts(charts, limits, units))
    rows = {
        label: _state(charts[name], own[name]["sample"].tolist(), new[name], file)
        for name, label in zip(units, with_units(list(units), list(units.values())), strict=True)
    }
    return pd.DataFrame(rows).T.rename_axis("target")


def chart(
    errors: NDArray[np.float64],
    bias: float,
    sep: float,
    largest: float = LARGEST,
    full: float = FULL,
) -> pd.DataFrame:
    """Return the points of both charts for errors (n_samples,), in the order of their time.

    ``z`` is the error in SEP from the bias; ``above`` and ``below`` are the sums of the tabular
    CUSUM, which grow while errors lie more than ``SLACK`` to that side, each by no more than
    ``largest`` and in all to no more than ``full``.
    """
    z = (errors - bias) / sep
    counted = np.clip(z, -largest, largest)
    above, below = np.zeros(len(z) + 1), np.zeros(len(z) + 1)
    for i, each in enumerate(counted):
        above[i + 1] = min(max(0.0, above[i] + each - SLACK), full)
        below[i + 1] = min(max(0.0, below[i] - each - SLACK), full)
    return pd.DataFrame({"error": errors, "z": z, "above": above[1:], "below": below[1:]})


@styled
def plot_charts(
    charts: dict[str, pd.DataFrame],
    limits: dict[str, tuple[float, float]],
    units: dict[str, str],
) -> Figure:
    """Draw a Shewhart chart and a CUSUM chart for each target, side by side."""
    figure = Figure(figsize=(9.0, 2.3 * len(charts)))
    panels = figure.subplots(len(charts), 2, squeeze=False)
    for k, ((name, points), (left, right)) in enumerate(zip(charts.items(), panels, strict=True)):
        number, (bias, sep) = np.arange(1, len(points) + 1), limits[name]
        left.plot(number, points["error"], "o-", color=target_color(k), markersize=3, linewidth=1)
        for times, style in ((WARNING, "--"), (ACTION, "-")):
            for side in (-1, 1):
                left.axhline(bias + side * times * sep, linestyle=style, color=GREY)
        left.axhline(bias, color=GREY, linewidth=0.8)
        left.set(title=f"{name}: errors", ylabel=with_unit("error", units[name]))
        for which, marker, alpha in (("above", "^", 1.0), ("below", "v", 0.55)):
            sums = {"marker": marker, "alpha": alpha, "markersize": 3}
            right.plot(number, points[which], color=target_color(k), linewidth=1, **sums)
        right.axhline(DECISION, color=GREY)
        right.set(title=f"{name}: CUSUM (▲ above, ▼ below)", ylabel="sum [SEP]", ylim=(0, None))
        for axes in (left, right):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in panels[-1]:
        axes.set_xlabel("control sample")
    return figure


def _limits(bundle: Bundle) -> dict[str, tuple[float, float]]:
    """Return bias and SEP of each target in the test part."""
    merit = examined(bundle).get("merit") or {}
    found = {name: merit.get(name, {}) for name in bundle.layout.target_names}
    if lacking := [name for name, each in found.items() if not each.get("sep")]:
        raise BundleError(
            f"a bundle to be monitored must know bias and SEP of its test part, got none for"
            f" {lacking[0]}: of two test samples or more they are known (data_split.test_ratio),"
            " if the study is settled again"
        )
    return {name: (float(each["bias"]), float(each["sep"])) for name, each in found.items()}


def _read_log(file: Path) -> pd.DataFrame:
    if not file.is_file():
        return pd.DataFrame({name: pd.Series(dtype=object) for name in COLUMNS})
    try:
        log = pd.read_csv(file, dtype={"sample": str})
    except (OSError, ValueError) as error:
        raise BundleError(f"the log of a bundle must be readable, got {file}: {error}") from None
    if list(log.columns) != COLUMNS:
        raise BundleError(
            f"the log of a bundle must have the columns {', '.join(COLUMNS)}, got {file} with"
            f" {', '.join(log.columns)}: move it away to begin a new one"
        )
    return log


def _rows(
    bundle: Bundle,
    y_true: NDArray[Any],
    y_pred: NDArray[Any],
    ids: Sequence[str] | None,
    first: int,
) -> pd.DataFrame:
    """Return the rows of the log for new samples, one for each measured target."""
    now = datetime.now().isoformat(timespec="seconds")
    names = bundle.layout.target_names
    rows = [
        {
            "sample_number": first + i, "time": now, "sample": ids[i] if ids else str(first + i),
            "target": name, "measured": float(y_true[i, k]), "predicted": float(y_pred[i, k]),
        }
        for i in range(len(y_true))
        for k, name in enumerate(names)
        if np.isfinite(y_true[i, k])
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def _errors(own: pd.DataFrame) -> NDArray[np.float64]:
    return np.asarray(own["predicted"] - own["measured"], dtype=np.float64)


def _state(
    points: pd.DataFrame, samples: list[str], new: NDArray[np.bool_], file: Path
) -> dict[str, Any]:
    """Return a target's row of the table, by what its new samples show."""
    if points.empty:
        return {"n": 0, "last error [SEP]": np.nan, "above": np.nan, "below": np.nan,
                "state": "not measured yet"}  # fmt: skip
    last, z = points.iloc[-1], points["z"].abs().to_numpy()
    side = "above" if last["above"] >= last["below"] else "below"
    if (far := new & (z > ACTION)).any():
        state = (
            f"out of control: {_named(samples, points['z'], far)} beyond {ACTION:g} SEP (a wrong"
            f" value is taken out by deleting its rows in {file.name})"
        )
    elif last[side] > DECISION:
        sign = "high" if side == "above" else "low"
        state = f"out of control: it predicts too {sign} for some time"
    elif (off := new & (z > WARNING)).any():
        state = f"warning: {_named(samples, points['z'], off)} beyond {WARNING:g} SEP"
    else:
        state = "in control"
    return {"n": len(points), "last error [SEP]": round(float(last["z"]), 2),
            "above": round(float(last["above"]), 2), "below": round(float(last["below"]), 2),
            "state": state}  # fmt: skip


def _named(samples: list[str], z: pd.Series, chosen: NDArray[np.bool_]) -> str:
    """Return the chosen samples with their errors, in a few words."""
    told = [f"{samples[i]} ({z.iloc[i]:.1f})" for i in np.flatnonzero(chosen)]
    more = f" and {len(told) - MOST_NAMED} more" if len(told) > MOST_NAMED else ""
    return ", ".join(told[:MOST_NAMED]) + more
