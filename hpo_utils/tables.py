"""Tables that the notebooks show: of the data, of a study's trials, of one model's errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from hpo_utils.baselines import skill
from hpo_utils.data import PreparedData
from hpo_utils.metrics import target_metrics
from hpo_utils.split import PARTS


def parts_table(data: PreparedData) -> pd.DataFrame:
    """Return one row per part of the split: samples, shape of the inputs, megabytes on disk."""
    shape = tuple(data.manifest["sample_shape"])
    rows = []
    for part in PARTS:
        n = data.manifest["n_samples"][part]
        size = data.inputs(part).nbytes / 1e6
        rows.append({"part": part, "samples": n, "inputs": str((n, *shape)), "MB": round(size, 1)})
    return pd.DataFrame(rows).set_index("part")


def channels_table(data: PreparedData) -> pd.DataFrame:
    """Return one row per channel of the source: range and statistics in the training part."""
    manifest = data.manifest
    table = pd.DataFrame(manifest["channel_statistics"], index=manifest["channel_names"])
    numbers = range(len(table))
    table.insert(0, "used", ["yes" if i in manifest["channels"] else "no" for i in numbers])
    saturated = manifest["saturated_channels"]
    table["saturated"] = ["yes" if i in saturated else "no" for i in numbers]
    table["share_at_rails"] = [f"{100 * share:.3g} %" for share in table["share_at_rails"]]
    return table.rename(columns={"share_at_rails": "values at the rails"})


def metrics_table(
    targets: Mapping[str, Mapping[str, float | None]], units: Mapping[str, str]
) -> pd.DataFrame:
    """Return one row per target: R² and the errors in the target's unit.

    ``targets`` is ``val_targets`` or ``test_targets`` of a trial's ``metrics.json``.
    """
    rows = [
        {
            "target": name,
            "R²": values["r2"],
            "RMSE": values["rmse"],
            "MAE": values["mae"],
            "bias": values["bias"],
            "unit": units[name],
        }
        for name, values in targets.items()
    ]
    return pd.DataFrame(rows).set_index("target")


def comparison_table(
    target_names: Sequence[str],
    baseline_names: Sequence[str],
    y_true: NDArray[Any],
    y_pred: NDArray[Any],
    reference: NDArray[Any],
) -> pd.DataFrame:
    """Return one row per target: R² of the network and of its best baseline, and the skill.

    The arrays have shape (n_samples, n_targets); ``reference`` holds the baselines' predictions.
    """
    names = list(target_names)
    network, baseline = (target_metrics(y_true, y, names) for y in (y_pred, reference))
    return pd.DataFrame(
        {
            "R² of the network": [network[name]["r2"] for name in names],
            "R² of the baseline": [baseline[name]["r2"] for name in names],
            "best baseline": list(baseline_names),
            "skill": skill(y_true, y_pred, reference),
        },
        index=names,
    )


def trials_table(trials: Sequence[FrozenTrial]) -> pd.DataFrame:
    """Return one row per trial: state, score, epochs, duration, and every parameter.

    The score of a pruned trial is its last one; failed trials have none.
    """
    rows: list[dict[str, Any]] = [
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            "score": trial.value,
            "epochs": len(trial.intermediate_values),
            "seconds": None if trial.duration is None else trial.duration.total_seconds(),
            **{short_name(name): value for name, value in trial.params.items()},
        }
        for trial in trials
    ]
    return pd.DataFrame(rows).set_index("trial")


def short_name(parameter: str) -> str:
    """Return a parameter's name without its section, for labels."""
    return parameter.rpartition(".")[2]
