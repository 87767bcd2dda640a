"""Tables of the prepared data, for which a notebook imports neither PyTorch nor Optuna."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hpo_utils.base.formatting import percent, significant, with_units
from hpo_utils.base.language import _
from hpo_utils.data.audit import Finding
from hpo_utils.data.prepared import PreparedData
from hpo_utils.data.scaling import logarithms
from hpo_utils.data.split import PARTS
from hpo_utils.scores.metrics import measured

N_TENTHS = 10
STATISTICS = {"share_at_rails": "values at the rails", "missing": "missing values"}  # as headings


def parts_table(data: PreparedData) -> pd.DataFrame:
    """Return one row per part of the split: samples, shape of the inputs, megabytes on disk."""
    shape = tuple(data.manifest["sample_shape"])
    rows = []
    for part in PARTS:
        n = data.manifest["n_samples"][part]
        size = data.inputs(part).nbytes / 1e6
        rows.append(
            {
                _("part"): _(part),
                _("samples"): n,
                _("inputs"): str((n, *shape)),
                "MB": round(size, 1),
            }
        )
    return pd.DataFrame(rows).set_index(_("part"))


def measured_table(data: PreparedData) -> pd.DataFrame:
    """Return one row per target: the samples of each part in which it was measured."""
    counts = {_(part): measured(data.targets(part)).sum(axis=0) for part in PARTS}
    table = pd.DataFrame(counts, index=data.target_names)
    table.index.name = _("target")
    return table


def channels_table(data: PreparedData) -> pd.DataFrame:
    """Return one row per channel of the source: range and statistics in the training part."""
    manifest = data.manifest
    table = pd.DataFrame(manifest["channel_statistics"], index=manifest["channel_names"])
    for share in {"share_at_rails", "missing"} & set(table.columns):
        table[share] = [percent(each) for each in table[share]]
    table = table.rename(columns=STATISTICS).rename(columns=_)
    table.insert(0, _("used"), _yes_or_no(manifest["channels"], len(table)))
    table[_("saturated")] = _yes_or_no(manifest["saturated_channels"], len(table))
    return table


def tenths_table(data: PreparedData) -> pd.DataFrame:
    """Return the range of each target in the training part, and the samples in each tenth of it.

    The tenths of a logarithmic target are those of its logarithm.
    """
    y = data.targets("train")
    scaled = logarithms(y, data.target_scaler.logarithmic)
    rows = []
    for values, on_scale, known in zip(y.T, scaled.T, measured(y).T, strict=True):
        counts = np.histogram(on_scale[known], N_TENTHS)[0]
        tenths = {str(i): int(n) for i, n in enumerate(counts, 1)}
        lowest, highest = (significant(end(values[known])) for end in (np.min, np.max))
        rows.append({_("lowest"): lowest, **tenths, _("highest"): highest})
    labels = with_units(data.target_names, data.target_units)
    return pd.DataFrame(rows, pd.Index(labels, name=_("target")))


def _yes_or_no(chosen: Sequence[int], n: int) -> list[str]:
    return [_("yes") if i in chosen else _("no") for i in range(n)]


def audit_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """Return one row per check of the leakage audit."""
    rows = [
        {_("check"): _(f.check), _("verdict"): _(f.verdict), _("found"): f.text} for f in findings
    ]
    return pd.DataFrame(rows).set_index(_("check"))
