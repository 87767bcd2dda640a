"""The files that a finished training writes: weights, metrics and predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hpo_utils.base.paths import write_json, write_npy, write_tensors
from hpo_utils.data.prepared import PreparedData
from hpo_utils.scores.metrics import standardized_errors, target_metrics
from hpo_utils.training.directory import VAL_FILE, WEIGHTS_FILE


@dataclass
class TrialResult:
    """The result of one finished training.

    ``truth`` and ``predictions`` hold arrays of shape (n_samples, n_targets) in the targets' units
    for ``val`` and, unless ``evaluation.strict_test`` is set, for ``test``. ``score`` is the
    validation score at ``best_epoch``, whose weights are kept: counted from 1, or 0 if no epoch was
    better than a linear start.
    """

    score: float
    score_name: str
    best_epoch: int
    val_loss: float
    state_dict: dict[str, Tensor]
    truth: dict[str, NDArray[np.float32]]
    predictions: dict[str, NDArray[np.float32]]
    n_parameters: int


def save_trial_results(
    output_dir: Path, result: TrialResult, history: dict[str, list[float]], data: PreparedData
) -> dict[str, Any]:
    """Write the weights, metrics and predictions of a finished training.

    The figures are drawn from these files, see ``trials.figures``.

    Returns
    -------
    dict
        The content of ``metrics.json``.
    """
    write_tensors(output_dir / WEIGHTS_FILE, result.state_dict)
    part = "test" if "test" in result.predictions else "val"
    y_true, y_pred = result.truth[part], result.predictions[part]
    write_npy(output_dir / "y_true.npy", y_true)
    write_npy(output_dir / "y_pred.npy", y_pred)
    write_npy(output_dir / VAL_FILE, result.predictions["val"])
    names, units = data.target_names, data.target_units
    errors = {
        part: target_metrics(result.truth[part], result.predictions[part], names)
        for part in result.predictions
    }
    test = standardized_errors(y_true, y_pred, data.target_scaler) if part == "test" else {}
    metrics = {
        "score": result.score,
        "score_name": result.score_name,
        "best_epoch": result.best_epoch,
        "val_loss": result.val_loss,
        "val_targets": errors["val"],
        "test_mse": test.get("mse"),
        "test_mae": test.get("mae"),
        "test_targets": errors.get("test"),
        "part": part,  # the part in y_true, y_pred and the figures
        "target_units": dict(zip(names, units, strict=True)),
        "logarithmic": list(data.target_scaler.logarithmic),
        "n_parameters": result.n_parameters,
        **history,
    }
    write_json(output_dir / "metrics.json", metrics)
    return metrics
