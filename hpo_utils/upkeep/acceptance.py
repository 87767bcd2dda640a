"""Evaluation of a bundle on later recordings with measured targets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpo_utils.base.errors import BundleError, DataError
from hpo_utils.base.formatting import interval_text, percent
from hpo_utils.baselines.domain import FALSE_ALARMS
from hpo_utils.baselines.take_home import name_at_home
from hpo_utils.bundle.bundle import Bundle, load_bundle, predict
from hpo_utils.bundle.layout import DISTANCES, Prediction
from hpo_utils.data.checks import real_array, representable
from hpo_utils.data.outliers import refuse_far_from, without_codes
from hpo_utils.data.split import MIN_UNITS, group_ids, time_blocks
from hpo_utils.formats.endings import TABLES, ending
from hpo_utils.formats.opening import open_array
from hpo_utils.formats.sources import NUMBERS
from hpo_utils.scores.intervals import count_units
from hpo_utils.scores.merit import figures_of_merit
from hpo_utils.scores.metrics import measured, varies
from hpo_utils.scores.promises import Promise, promises
from hpo_utils.scores.skill import NETWORK, errors_with_intervals
from hpo_utils.scores.spread import share_inside

MEASURES = {"r2": "R²", "rmse": "RMSE", "mae": "MAE", "bias": "bias"}
WITH_INTERVALS = ("r2", "rmse")
METRICS = "metrics.json"
MERIT_OF = "merit_of"  # what says in an adapted bundle which samples gave its figures of merit
OF_MERIT = {"bias_limit": "limit of the bias", "sep": "SEP", "slope": "slope", "rpd": "RPD"}


def evaluate(
    bundle: str | Path | Bundle,
    x: NDArray[Any] | str | Path,
    t: NDArray[Any] | str | Path,
    device: str = "auto",
    x_key: str | None = None,
    t_key: str | None = None,
    groups: NDArray[Any] | str | Path | None = None,
    groups_key: str | None = None,
    accept_outliers: bool = False,
) -> pd.DataFrame:
    """Compare a bundle's predictions with measured targets, next to its results on the test part.

    Parameters
    ----------
    bundle, x, device, x_key, accept_outliers
        As for ``bundle.predict``.
    t
        Targets of shape (n_samples, n_targets), or (n_samples,) for a single target, in the
        bundle's units; or a file with them, but no table.
    t_key, groups_key
        Name of the array in a file of several; None if it holds only one.
    groups
        Recording of each sample, as numbers or names of shape (n_samples,), or a file with them.
        Errors within a recording are correlated, which widens the intervals.

    Returns
    -------
    DataFrame
        One row per target: R² and RMSE with intervals at level ``evaluation.confidence`` (by sample
        or by group), MAE and bias, R² and RMSE of the test part and the share of samples whose
        interval contains the measured value.
        ``attrs["merit"]`` holds all figures of merit (``scores.merit``) by target,
        ``attrs["promises"]`` compares bias, spread and coverage with those of the test part, or of
        the samples of an adaptation (``scores.promises``), and a remark says which were not kept;
        ``attrs["domain"]`` ``layout.DISTANCES`` over their limits (n_samples, 3), fewer or
        None of an older bundle;
        ``attrs["remarks"]`` says what cannot be judged because the samples are too few or do not
        vary.

    Raises
    ------
    BundleError
        If the bundle, or its ``metrics.json``, cannot be read.
    DataError
        If inputs or targets have the wrong shape or type, or are not finite.
    """
    known = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    names = known.layout.target_names
    examination = examined(known)
    y_true, found, units = compared(
        known, x, t, groups, device, x_key, t_key, groups_key, accept_outliers
    )
    counted = "sample" if units is None else "group"
    if units is None and known.cfg.data_split.method == "time":  # neighbours' errors are correlated
        units = time_blocks(len(y_true))
        counted = "block of neighbours"
    table = _table(known, examination["test"], y_true, found, units, counted)
    compared_now = _promises(known, examination, y_true, found, table.attrs["merit"])
    table.attrs["promises"], table.attrs["domain"] = compared_now, found.domain
    table.attrs["remarks"] = [
        *_remarks(y_true, count_units(len(y_true), units), counted, names),
        *_on_promises(compared_now, examination, known.cfg.evaluation.confidence),
        *_not_compared(compared_now, names, examination),
        *_on_domain(found),
    ]
    return table


def compared(
    bundle: Bundle,
    x: NDArray[Any] | str | Path,
    t: NDArray[Any] | str | Path,
    groups: NDArray[Any] | str | Path | None,
    device: str,
    x_key: str | None,
    t_key: str | None,
    groups_key: str | None,
    accept_outliers: bool,
) -> tuple[NDArray[Any], Prediction, NDArray[np.int64] | None]:
    """Return measured values (n_samples, n_targets), predictions, and the group of each sample.

    The groups are None if there are none; parameters are those of ``evaluate``.
    """
    y_true = _measured(t, t_key, bundle)
    if not accept_outliers:
        _refuse_codes(bundle, y_true)
    found = predict(bundle, x, device, x_key, accept_outliers)
    if len(y_true) != len(found.y):
        raise DataError(
            f"t must have a row for each of the {len(found.y)} samples of x, got {len(y_true)}"
        )
    return y_true, found, _units(groups, groups_key, len(y_true))


def _remarks(y_true: NDArray[Any], n_units: int, counted: str, names: list[str]) -> list[str]:
    """Return remarks on what the samples cannot tell."""
    said = []
    if n_units < MIN_UNITS:
        said.append(
            f"{n_units} {counted}{'s are' if n_units != 1 else ' is'} too few: fewer than"
            f" {MIN_UNITS} give no interval, and what they say is mostly chance"
        )
    known = np.asarray(measured(y_true).any(axis=0))
    if missing := [name for name, each in zip(names, known, strict=True) if not each]:
        said.append(f"{', '.join(missing)} was not measured here")
    one_value = known & ~varies(y_true)
    if constant := [name for name, each in zip(names, one_value, strict=True) if each]:
        said.append(f"{', '.join(constant)} does not vary here: of one value nothing follows")
    return said


def _promises(
    bundle: Bundle,
    examination: dict[str, Any],
    y_true: NDArray[Any],
    found: Prediction,
    merits: dict[str, Any],
) -> list[Promise]:
    """Return what the bundle promised, and what these samples show."""
    inside: dict[str, float] = {}
    if found.half_width is not None:
        shares = share_inside(np.abs(found.y - y_true), found.half_width)
        inside = dict(zip(bundle.layout.target_names, map(float, shares), strict=True))
    return promises(examination.get("merit", {}), merits, inside, found.confidence)


def _on_promises(
    compared: list[Promise], examination: dict[str, Any], confidence: float
) -> list[str]:
    """Return a sentence on the promises that later samples break, or keep."""
    source = _promised_by(examination)
    broken = [
        f"{each['figure']} of {each['target']} ({each['found']:.3g}, promised"
        f" {each['promised']:.3g}, p = {each['p_value']:.1g})"
        for each in compared
        if each["p_value"] < 1 - confidence
    ]
    if broken:
        return [f"not what {source} promised: {'; '.join(broken)}"]
    figures = ", ".join(dict.fromkeys(each["figure"] for each in compared))
    are = "are" if "," in figures else "is"
    return [f"{figures} {are} as {source} promised"] if compared else []


def _not_compared(
    compared: list[Promise], names: list[str], examination: dict[str, Any]
) -> list[str]:
    """Return a sentence on the targets of which nobody knows whether bias and spread are kept."""
    known = {each["target"] for each in compared if each["figure"] == "bias"}
    lacking = [name for name in names if name not in known]
    if not lacking or "merit" not in examination:  # before version 0.3
        return []
    return [
        f"bias and spread of {', '.join(lacking)} are not compared: here or in"
        f" {_promised_by(examination)} it was measured in fewer than {MIN_UNITS} independent"
        " samples or groups"
    ]


def _promised_by(examination: dict[str, Any]) -> str:
    """Return which samples promised a bundle's errors."""
    return str(examination.get(MERIT_OF, "the test part"))


def _on_domain(found: Prediction) -> list[str]:
    """Return a sentence on the samples outside of the domain, if there are any."""
    if found.domain is None or not found.is_outside.any():
        return []
    judged_by = " or ".join(DISTANCES[: found.domain.shape[1]])
    return [
        f"{found.is_outside.sum()} of {len(found.y)} samples lie outside the domain of the training"
        f" inputs, by {judged_by}; of like samples {percent(FALSE_ALARMS)} do"
    ]


def _table(
    bundle: Bundle,
    promised: dict[str, Any],
    y_true: NDArray[Any],
    found: Prediction,
    units: NDArray[np.int64] | None,
    counted: str,
) -> pd.DataFrame:
    """Return the table of ``evaluate``; ``promised`` are the metrics of the test part."""
    names, confidence = bundle.layout.target_names, bundle.cfg.evaluation.confidence
    level = f"{percent(confidence)} interval by {counted} of"
    errors = errors_with_intervals(y_true, {NETWORK: found.y}, names, units, confidence)[NETWORK]
    columns: dict[str, list[Any]] = {}
    for measure, title in MEASURES.items():
        columns[title] = [errors[name][measure] for name in names]
        if measure in WITH_INTERVALS:
            intervals = (errors[name][f"{measure}_interval"] for name in names)
            columns[f"{level} {title}"] = [interval_text(each, ".3g") for each in intervals]
    for measure in WITH_INTERVALS:
        at_home = name_at_home(bundle.layout.shares or {NETWORK: []})
        of_test = [promised[at_home][name][measure] for name in names]
        columns[f"{MEASURES[measure]} of the test part"] = of_test
    groups = units if counted == "group" else None  # samples of a block are no replicates
    merits = figures_of_merit(
        y_true, found.y, names, units, confidence, None, bundle.layout.logarithmic, groups
    )
    for measure, title in OF_MERIT.items():
        columns[title] = [merits[name][measure] for name in names]  # type: ignore[literal-required]
    table = pd.DataFrame(columns, index=pd.Index(names, name="target"))
    table.attrs["merit"] = merits
    table["unit"] = bundle.layout.target_units
    if found.half_width is not None:
        inside = share_inside(np.abs(found.y - y_true), found.half_width)
        table[f"inside {percent(found.confidence)} intervals"] = [
            "" if np.isnan(share) else percent(share) for share in inside
        ]
    return table


def _read(file: str | Path, key: str | None, name: str, kinds: str) -> NDArray[Any]:
    """Return the array of a file; a table is refused, since its rows may be in another order."""
    if ending(Path(file)) in TABLES:
        raise DataError(
            f"{name} must be an array, such as .npy, got the table {file}: python -m hpo_utils"
            " evaluate joins a table of measured values by ids and names"
        )
    return open_array(Path(file).expanduser(), key, name, kinds).read()


def _units(
    groups: NDArray[Any] | str | Path | None, key: str | None, n_samples: int
) -> NDArray[np.int64] | None:
    """Return the group number of each sample; None if there are no groups."""
    if groups is None:
        return None
    if isinstance(groups, str | Path):
        groups = _read(groups, key, "groups", "iufbUS")
    return np.unique(group_ids(np.asarray(groups), n_samples, "groups"), return_inverse=True)[1]


def _refuse_codes(bundle: Bundle, y_true: NDArray[Any]) -> None:
    """Raise DataError if targets are far from those of the training."""
    layout, meant = bundle.layout, list(bundle.cfg.dataset.accept_outliers or [])
    meant += [layout.target_names[k] for k in layout.logarithmic]
    scales = zip(layout.target_mean, layout.target_std, strict=True)
    for k, (name, (mean, std)) in enumerate(zip(layout.target_names, scales, strict=True)):
        known = np.flatnonzero(measured(y_true[:, k]))
        if len(known):
            values = y_true[known, k : k + 1]
            refuse_far_from(([mean], [std]), values, known, [name], meant, "target")


def _measured(t: NDArray[Any] | str | Path, key: str | None, bundle: Bundle) -> NDArray[Any]:
    """Read and check the targets; return them with shape (n_samples, n_targets).

    NaN is accepted if they were partly measured in training, too.
    """
    names, partly = bundle.layout.target_names, bundle.cfg.dataset.partly_measured
    if isinstance(t, str | Path):
        t = _read(t, key, "t", NUMBERS)
    y_true = without_codes(real_array(t, "t"), bundle.layout.codes)
    if y_true.ndim == 1:
        y_true = y_true[:, None]  # (n_samples,) -> (n_samples, 1)
    if y_true.shape[1:] != (len(names),):
        raise DataError(
            f"t must have shape (n_samples, {len(names)}), a column for each target"
            f" ({', '.join(names)}), got {y_true.shape}"
        )
    if not (representable(y_true) | (partly & ~measured(y_true))).all():
        raise DataError(
            "t must be finite, but is not everywhere: leave samples without a measured target out"
            " of x and t"
        )
    return y_true


def examined(bundle: Bundle) -> dict[str, Any]:
    """Return what the examination of the bundle's models on the test part found.

    Raises
    ------
    BundleError
        If ``metrics.json`` cannot be read.
    """
    file = bundle.directory / METRICS
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return {**found, "test": dict(found["test"])}
    except (OSError, ValueError, KeyError, TypeError):
        raise BundleError(
            f"a bundle to be evaluated must have {file.name} with what its test part gave, but that"
            f" of {bundle.directory} cannot be read: copy it from where the bundle was written"
        ) from None
