"""Adapt a bundle to another instrument, season or rig, by a few new samples with reference values.

Its predictions are corrected by an offset, or by a line, for each target: the standard first step
of calibration transfer (Feudale et al., Chemom. Intell. Lab. Syst. 64 (2002), 181-192). Where that
is shown to be too little, the networks are trained further, first their last layers, then all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpo_utils.base.errors import BundleError
from hpo_utils.base.paths import whole_directory, write_json, write_text
from hpo_utils.baselines.linear import folds
from hpo_utils.bundle.agreement import why_not_onnx
from hpo_utils.bundle.bundle import DOMAIN, Bundle, load_bundle, predict, replace_arrays
from hpo_utils.bundle.layout import Layout, Prediction, raw_pieces
from hpo_utils.bundle.onnx_file import write_onnx
from hpo_utils.bundle.onnx_prediction import ONNX_FILE
from hpo_utils.data.split import MIN_UNITS
from hpo_utils.formats.opening import open_array
from hpo_utils.scores.intervals import count_units
from hpo_utils.scores.merit import figures_of_merit
from hpo_utils.scores.metrics import mean_of_measured, measured
from hpo_utils.scores.spread import calibrate
from hpo_utils.upkeep.acceptance import MERIT_OF, METRICS, compared, examined
from hpo_utils.upkeep.finetuning import Tuning, fine_tuned, held_out, networks_of

AS_IS, OFFSET, LINE = "as it is", "offset", "line"
NEEDED = {AS_IS: 1, OFFSET: 3, LINE: 8}  # independent samples or groups that a correction needs
NEEDED_TO_TRAIN = 20  # independent samples or groups, for networks to be trained further
# standard errors of the gain that this takes; a correction, which changes less, takes one
SURE = 2.0
LEAST_SPREAD = 0.5  # of the new references for more than an offset, over that of the training's
MAX_FOLDS = 10
N_COMPARED = 16  # samples on which the ONNX file is compared
ADAPTED_BY = "the samples of its adaptation"
Line = tuple[float, float]  # slope and offset


@dataclass(frozen=True)
class Adaptation:
    """What adapting a bundle gave.

    ``directory`` is that of the adapted bundle, None if nothing helped. ``table`` has a row
    for each target: what was done, and the RMSE without and with it, by cross-validation.
    """

    directory: Path | None
    table: pd.DataFrame


@dataclass(frozen=True)
class _Further:
    """A bundle with networks trained further, and mean and spread predicted of what was left out.

    ``predicted`` and ``spread`` have shape (n_samples, n_targets), NaN where nothing was measured.
    """

    bundle: Bundle
    tuning: Tuning
    predicted: NDArray[np.float64]
    spread: NDArray[np.float64]


def adapt(
    bundle: str | Path | Bundle,
    x: NDArray[Any] | str | Path,
    t: NDArray[Any] | str | Path,
    out: Path,
    groups: NDArray[Any] | str | Path | None = None,
    device: str = "auto",
    x_key: str | None = None,
    t_key: str | None = None,
    groups_key: str | None = None,
) -> Adaptation:
    """Correct a bundle's predictions by new samples; write the corrected bundle to ``out``.

    For each target, the correction is an offset or a line only if cross-validation on the new
    samples, which leaves out whole groups, shows it to be better by more than a standard error. If
    the networks trained further are better than that by more than two, they take its place. Where
    the new references of a target hardly vary, it is an offset at most.
    Intervals are calibrated again on the samples left out, if all targets of all of them were
    measured; else they stay, and the model card says so. The limits of the domain are widened until
    they hold for the new samples. The old bundle stays as it is.

    Parameters
    ----------
    bundle, x, t, groups, device, x_key, t_key, groups_key
        As for ``acceptance.evaluate``. Values far from those of the training are accepted.
    out
        Directory of the new bundle, which must not exist.

    Raises
    ------
    BundleError
        If the bundle cannot be read, or ``out`` exists.
    DataError
        If inputs or targets have the wrong shape or type, or are not finite.
    """
    known = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    if out.exists():
        raise BundleError(f"an adapted bundle must be written to a new directory, got {out}")
    if named := [known.layout.target_names[k] for k in known.layout.logarithmic]:
        raise BundleError(
            f"a bundle to be adapted must have learnt its targets as they are, but {named[0]} was"
            " learnt as a logarithm (dataset.logarithmic)"
        )
    y_true, found, units = compared(known, x, t, groups, device, x_key, t_key, groups_key, True)
    alike = _hardly_varying(known.layout, y_true)
    kinds, lines, corrected = [], [], np.full(y_true.shape, np.nan)
    for k, rows in enumerate(measured(y_true).T):
        own = None if units is None else units[rows]
        y, truth = (each[rows, k].astype(np.float64) for each in (found.y, y_true))
        kind, line, left_out = _choose(y, truth, own, [OFFSET] if k in alike else [OFFSET, LINE])
        kinds.append(kind)
        lines.append(line)
        corrected[rows, k] = left_out
    tuned, predicted, spread = known, corrected, found.spread
    further = None if alike else _trained_further(known, x, x_key, y_true, units, corrected)
    if further is not None:
        tuned, predicted = further.bundle, further.predicted
        spread = None if spread is None else further.spread.astype(np.float32)
        kinds, lines = [str(further.tuning)] * len(kinds), [(1.0, 0.0)] * len(lines)
    table = _table(known, kinds, lines, found.y, predicted, y_true)
    if set(kinds) == {AS_IS}:
        return Adaptation(None, table)
    found = replace(found, spread=spread)
    adapted = _corrected(tuned, lines, found, np.abs(predicted - y_true), units)
    arrays = {} if further is None else networks_of(tuned)
    if known.model.domain is not None and found.domain is not None:
        arrays[f"{DOMAIN}.limits"] = known.model.domain.wider_limits(found.domain)
    layout, confidence = known.layout, known.cfg.evaluation.confidence
    new = figures_of_merit(y_true, predicted, layout.target_names, units, confidence, groups=units)
    enough = {name: each for name, each in new.items() if each["n_units"] >= MIN_UNITS}
    metrics = examined(known)
    if enough:
        metrics |= {"merit": {**metrics.get("merit", {}), **enough}, MERIT_OF: ADAPTED_BY}
    _write(adapted, known, arrays, out, table, _first(x, x_key), metrics)
    return Adaptation(out, table)


def _hardly_varying(layout: Layout, y_true: NDArray[Any]) -> list[int]:
    """Return the targets whose new references are too alike for more than an offset, and say so.

    A line through repeats of one sample would predict that sample's value of every other.
    """
    found = []
    for k, rows in enumerate(measured(y_true).T):
        spread = float(y_true[rows, k].std()) if rows.any() else 0.0
        if spread >= LEAST_SPREAD * layout.target_std[k]:
            continue
        found.append(k)
        if rows.sum() >= NEEDED[LINE]:
            print(
                f"{layout.target_names[k]}: the new values vary by {spread:.2g}, those of the"
                f" training by {layout.target_std[k]:.2g} (standard deviations): an offset at most"
            )
    return found


def _choose(
    y: NDArray[np.float64],
    truth: NDArray[np.float64],
    units: NDArray[np.int64] | None,
    kinds: Sequence[str] = (OFFSET, LINE),
) -> tuple[str, Line, NDArray[np.float64]]:
    """Return the kind of correction, the correction, and what it predicts of samples left out.

    ``y`` and ``truth`` have shape (n_samples,); ``kinds`` are tried.
    """
    n_units = count_units(len(y), units) if len(y) else 0
    chosen, predicted = AS_IS, y
    for kind in kinds:
        if n_units < NEEDED[kind]:
            break
        left_out = _left_out(kind, y, truth, units)
        if _gain_in_errors((predicted - truth) ** 2 - (left_out - truth) ** 2, units) > 1:
            chosen, predicted = kind, left_out
    return chosen, _fitted(chosen, y, truth), predicted


def _gain_in_errors(gain: NDArray[np.float64], units: NDArray[np.int64] | None) -> float:
    """Return the mean of a gain (n_samples,) in its standard errors, by whole units."""
    numbers = np.arange(len(gain)) if units is None else np.unique(units, return_inverse=True)[1]
    of_units = np.bincount(numbers, gain) / np.bincount(numbers)
    error = float(np.std(of_units, ddof=1)) / len(of_units) ** 0.5
    return float(of_units.mean() / max(error, 1e-30))


def _trained_further(
    bundle: Bundle,
    x: NDArray[Any] | str | Path,
    x_key: str | None,
    y_true: NDArray[Any],
    units: NDArray[np.int64] | None,
    corrected: NDArray[np.float64],
) -> _Further | None:
    """Return the networks trained further, or None if the ``corrected`` predictions are as good.

    They are better if the mean gain over all targets is sure and no target's error rises; each
    target must have been measured often enough for that.
    """
    known = np.asarray(measured(y_true).any(axis=1))  # others teach nothing
    groups = None if units is None else units[known]
    counts = [
        count_units(int(rows.sum()), None if units is None else units[rows])
        for rows in measured(y_true).T
        if rows.any()
    ]
    enough = len(counts) == y_true.shape[1] and min(counts) >= NEEDED_TO_TRAIN
    if not (bundle.layout.has_network and enough):
        return None
    pieces = raw_pieces(x, x_key, bundle.layout, bundle.layout.channel_names)
    all_z = torch.cat([bundle.model.standardize(torch.from_numpy(piece)) for piece in pieces])
    z = all_z[torch.from_numpy(known)]
    t = y_true[known].astype(np.float64)
    print(f"trying the networks trained further on {len(t)} samples", flush=True)
    chosen, best = None, (corrected[known], np.empty(0))
    for tuning, found in held_out(bundle, z, t, groups).items():
        before, after = (((y - t) / bundle.layout.target_std) ** 2 for y in (best[0], found[0]))
        gain = mean_of_measured((before - after).T)
        none_worse = (mean_of_measured(after) <= mean_of_measured(before)).all()
        if none_worse and _gain_in_errors(gain, groups) > SURE:
            chosen, best = tuning, found
    if chosen is None:
        return None
    whole = [np.full(y_true.shape, np.nan) for _ in best]
    for values, part in zip(whole, best, strict=True):
        values[known] = np.where(measured(t), part, np.nan)
    return _Further(fine_tuned(bundle, z, t, chosen), chosen, *whole)


def _left_out(
    kind: str, y: NDArray[np.float64], truth: NDArray[np.float64], units: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    """Return corrected predictions of each sample, by corrections fitted without its unit."""
    found = np.empty_like(y)
    for rest, held in folds(len(y), units, MAX_FOLDS):
        slope, offset = _fitted(kind, y[rest], truth[rest])
        found[held] = slope * y[held] + offset
    return found


def _fitted(kind: str, y: NDArray[np.float64], truth: NDArray[np.float64]) -> Line:
    """Return slope and offset of a correction, by least squares."""
    if kind == AS_IS:
        return 1.0, 0.0
    centred = y - y.mean()
    squares = float(centred @ centred)
    slope = float(centred @ truth) / squares if kind == LINE and squares > 0 else 1.0
    return slope, float(truth.mean() - slope * y.mean())


def _table(
    bundle: Bundle,
    kinds: list[str],
    lines: list[Line],
    y: NDArray[Any],
    predicted: NDArray[np.float64],
    y_true: NDArray[Any],
) -> pd.DataFrame:
    before, after = (np.sqrt(mean_of_measured((each - y_true) ** 2)) for each in (y, predicted))
    columns = {
        "samples": measured(y_true).sum(axis=0),
        "correction": kinds,
        "slope": [slope for slope, _ in lines],
        "offset": [offset for _, offset in lines],
        "RMSE as it is": before,
        "RMSE corrected": after,
        "unit": bundle.layout.target_units,
    }
    return pd.DataFrame(columns, index=pd.Index(bundle.layout.target_names, name="target"))


def _corrected(
    bundle: Bundle,
    lines: list[Line],
    found: Prediction,
    error: NDArray[np.float64],
    units: NDArray[np.int64] | None,
) -> Bundle:
    """Return the bundle with its correction, and with intervals that suit the new samples."""
    layout, n_units = bundle.layout, count_units(len(error), units)
    slope, offset = (np.array(each) for each in zip(*lines, strict=True))
    if layout.correction:  # it was corrected before
        first_slope, first_offset = (np.array(each) for each in layout.correction)
        slope, offset = slope * first_slope, slope * first_offset + offset
    calibration, confidence = layout.calibration, layout.confidence
    if calibration is not None and found.spread is not None and measured(error).all():
        # n units allow a level of n / (n + 1) at most: Lei et al. 2018, sec. 2.2
        confidence = min(confidence, n_units / (n_units + 1))
        spread = found.spread.astype(np.float64) * np.abs([line[0] for line in lines])
        calibration = calibrate(error, spread, confidence, units, calibration.has_spread)
    corrected = replace(
        layout,
        correction=[slope.tolist(), offset.tolist()],
        calibration=calibration,
        confidence=confidence,
    )
    return replace(bundle, layout=corrected)


def _write(
    adapted: Bundle,
    bundle: Bundle,
    arrays: dict[str, Tensor],
    out: Path,
    table: pd.DataFrame,
    raw: NDArray[Any],
    metrics: dict[str, Any],
) -> None:
    """Write the adapted bundle: the old one's files, with other layout, ONNX file and card.

    ``arrays`` take the place of those of these names in its weights; the ONNX file is compared on
    ``raw`` inputs; ``metrics`` are what later samples are compared with, with those of the new ones
    where they are enough.
    """
    rows = json.loads(table.to_json(orient="index"))
    with whole_directory(out) as partial:
        shutil.copytree(bundle.directory, partial, dirs_exist_ok=True)
        content = json.loads((partial / "bundle.json").read_text(encoding="utf-8"))
        content |= {**asdict(adapted.layout), "sha256": replace_arrays(partial, arrays)}
        write_json(partial / "bundle.json", content)
        write_json(partial / "adaptation.json", {"from": str(bundle.directory), "targets": rows})
        write_json(partial / METRICS, metrics)
        card = (partial / "MODEL_CARD.md").read_text(encoding="utf-8")
        renewed = adapted.layout.calibration is not bundle.layout.calibration
        write_text(partial / "MODEL_CARD.md", card + _section(table, renewed))
        written = load_bundle(partial)
        onnx_file = partial / ONNX_FILE
        if onnx_file.is_file():
            write_onnx(onnx_file, written.model, written.layout, raw.dtype)
            expected = predict(written, raw, "cpu", accept_outliers=True).y
            scaler, has_trees = written.layout.target_scaler, bool(written.layout.shares)
            if why_not_onnx(onnx_file, raw, expected, scaler, has_trees):
                onnx_file.unlink()


def _first(x: NDArray[Any] | str | Path, x_key: str | None) -> NDArray[Any]:
    """Return the first raw inputs, to compare predictions of."""
    if isinstance(x, np.ndarray):
        return x[:N_COMPARED]
    source = open_array(Path(x).expanduser(), x_key, "x")
    return source.rows(np.arange(min(N_COMPARED, source.shape[0])))


def _section(table: pd.DataFrame, renewed: bool) -> str:
    """Return a section of the model card; ``renewed``: the intervals are calibrated again."""
    intervals = (
        "intervals are calibrated on them" if renewed else "intervals are not calibrated anew"
    )
    lines = [
        f"| {name} | {row['samples']} | {_in_words(row)} |"
        f" {row['RMSE as it is']:.3g} | {row['RMSE corrected']:.3g} | {row['unit']} |"
        for name, row in table.iterrows()
    ]
    return "\n".join(
        [
            "\n## Adapted\n",
            "The predictions y of the model described above are corrected by new samples, or its"
            " networks are trained further on them. Errors after that are those of samples that"
            f" were left out of it; {intervals}.\n",
            "| target | samples | correction | RMSE as it is | RMSE corrected | unit |",
            "|---|---|---|---|---|---|",
            *lines,
            "",
        ]
    )


def _in_words(row: pd.Series) -> str:
    """Return the correction of a target, for the model card."""
    is_line = row["correction"] in (AS_IS, OFFSET, LINE)
    return f"{row['slope']:.4g} · y + {row['offset']:.3g}" if is_line else row["correction"]
