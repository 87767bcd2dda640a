"""Figures of merit as a table: what a reviewer of a calibration asks for, one row per target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hpo_utils.base.formatting import (
    interval_text,
    number_text,
    percent,
    significant,
    with_units,
)
from hpo_utils.base.language import _
from hpo_utils.scores.merit import Merit

EXPANDED = "U (k\u00a0=\u00a02)"


def merit_table(merits: Mapping[str, Merit], units: Mapping[str, str]) -> pd.DataFrame:
    """Return one row per target, with its unit; ``units`` holds those of all targets."""

    def row(found: Merit) -> dict[str, Any]:
        cells = {
            "n": found["n"],
            _("range"): interval_text(found["reference"], ".3g"),
            _("bias"): number_text(found["bias"], ".3g"),
            _("its limit"): "–" if (b := found["bias_limit"]) is None else f"± {significant(b)}",
            "SEP": number_text(found["sep"], ".3g"),
            _("slope"): interval_text(found["slope_interval"], ".3g"),
            _("p of the line"): number_text(found["line_p"], ".2g"),
            "RPD": number_text(found["rpd"], ".3g"),
            "RPIQ": number_text(found["rpiq"], ".3g"),
            _("SEP of the range"): "–" if (s := found["sep_of_range"]) is None else percent(s),
            EXPANDED: number_text(found.get("expanded"), ".3g"),
            _("limits of agreement"): interval_text(found["agreement"], ".3g"),
        }
        if has_relative:
            share = found.get("relative")
            cells[_("relative error")] = "–" if share is None else percent(share)
        if has_replicates:
            cells[_("repeatability")] = number_text(found.get("repeated"), ".3g")
        return cells

    has_replicates = any("repeated" in each for each in merits.values())
    has_relative = any("relative" in each for each in merits.values())
    return _by_target(units, {name: row(merits[name]) for name in units})


def uncertainty_table(
    merits: Mapping[str, Merit],
    spread: Mapping[str, float],
    units: Mapping[str, str],
    passed_on: Mapping[str, tuple[float, float]] | None = None,
) -> pd.DataFrame:
    """Return one row per target: what the error of a prediction is made of.

    ``spread`` is the root mean square spread of the networks by target; ``passed_on`` what the
    inputs' noise adds, and the limit of detection, if the noise is known.
    """

    def row(name: str, found: Merit) -> dict[str, str]:
        cells = {
            "RMSEP": number_text(found["rmsep"], ".3g"),
            _("of the reference"): number_text(found.get("repeatability"), ".3g"),
            _("of the model"): number_text(found.get("own_error"), ".3g"),
            _("of it, the seeds"): number_text(spread.get(name), ".3g"),
        }
        if passed_on is not None:
            cells[_("of it, the inputs' noise")] = number_text(passed_on[name][0], ".3g")
        cells[EXPANDED] = number_text(found.get("expanded"), ".3g")
        cells[_("largest R² possible")] = number_text(found.get("r2_ceiling"), ".3f")
        if passed_on is not None:
            can_be_zero = found["reference"][0] >= 0
            cells[_("limit of detection")] = number_text(
                passed_on[name][1] if can_be_zero else None, ".3g"
            )
        return cells

    return _by_target(units, {name: row(name, found) for name, found in merits.items()})


def _by_target(units: Mapping[str, str], rows: Mapping[str, dict[str, Any]]) -> pd.DataFrame:
    """Return a table of the rows, in the order of ``units`` and labelled with them."""
    labels = with_units(list(units), list(units.values()))
    return pd.DataFrame([rows[name] for name in units], pd.Index(labels, name=_("target")))
