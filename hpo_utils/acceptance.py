"""What a bundle is worth on recordings that were measured later, targets included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpo_utils.bundle import Bundle, load_bundle, predict
from hpo_utils.checks import real_array, representable
from hpo_utils.errors import BundleError, DataError
from hpo_utils.examination import NETWORK
from hpo_utils.formatting import percent
from hpo_utils.metrics import target_metrics
from hpo_utils.sources import open_array

MEASURES = {"r2": "R²", "rmse": "RMSE", "mae": "MAE", "bias": "bias"}


def evaluate(
    bundle: str | Path | Bundle,
    x: NDArray[Any] | str | Path,
    t: NDArray[Any] | str | Path,
    device: str = "auto",
    x_key: str | None = None,
    t_key: str | None = None,
) -> pd.DataFrame:
    """Compare a bundle's predictions with what was measured, beside what its test part promised.

    Parameters
    ----------
    bundle, x, device, x_key
        As for ``bundle.predict``.
    t
        Targets of shape (n_samples, n_targets), or (n_samples,) of one, in the units of the bundle;
        or an .npy or .npz file with them.
    t_key
        Which array of an .npz file; None if it holds one only.

    Returns
    -------
    DataFrame
        One row per target: R², RMSE, MAE and bias, R² and RMSE of the test part, and the share of
        the samples whose interval holds what was measured, unless the bundle is one network.

    Raises
    ------
    BundleError
        If the bundle, or its ``metrics.json``, cannot be read.
    DataError
        If inputs or targets have another shape or type, or are not finite.
    """
    known = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    names = known.layout.target_names
    promised = _test_metrics(known)
    y_true = _measured(t, t_key, names)
    found = predict(known, x, device, x_key)
    if len(y_true) != len(found.y):
        raise DataError(
            f"t must have a row for each of the {len(found.y)} samples of x, got {len(y_true)}"
        )
    table = pd.DataFrame(target_metrics(y_true, found.y, names), list(MEASURES)).T
    for measure in ("r2", "rmse"):
        of_test = [promised[NETWORK][name][measure] for name in names]
        table[f"{MEASURES[measure]} of the test part"] = of_test
    table["unit"] = known.layout.target_units
    if found.half_width is not None:
        inside = (np.abs(found.y - y_true) <= found.half_width).mean(axis=0)
        table[f"inside {percent(found.confidence)} intervals"] = [percent(i) for i in inside]
    return table.rename(columns=MEASURES).rename_axis("target")


def _measured(t: NDArray[Any] | str | Path, key: str | None, names: list[str]) -> NDArray[Any]:
    """Return the targets (n_samples, n_targets), checked."""
    if isinstance(t, str | Path):
        t = open_array(Path(t).expanduser(), key, "t").read()
    y_true = real_array(t, "t")
    if y_true.ndim == 1:
        y_true = y_true[:, None]  # (n_samples,) -> (n_samples, 1)
    if y_true.shape[1:] != (len(names),):
        raise DataError(
            f"t must have shape (n_samples, {len(names)}), a column for each target"
            f" ({', '.join(names)}), got {y_true.shape}"
        )
    if not representable(y_true).all():
        raise DataError(
            "t must be finite, but is not everywhere: leave samples without a measured target out"
            " of x and t"
        )
    return y_true


def _test_metrics(bundle: Bundle) -> dict[str, Any]:
    """Return what the bundle's models reached on the test part."""
    file = bundle.directory / "metrics.json"
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))["test"])
    except (OSError, ValueError, KeyError):
        raise BundleError(
            f"a bundle to be evaluated must have {file.name} with what its test part gave, but that"
            f" of {bundle.directory} cannot be read: copy it from where the bundle was written"
        ) from None
