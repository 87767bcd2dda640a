"""Baselines: models without a network, fitted and evaluated on the same split.

A network is useful only if it beats them. The baselines, fitted on the training part, are the mean
of each target; ridge regression on the inputs averaged over bands; a random forest on statistics of
each channel; and ridge regression on power spectra, which describe vibrations and movements that
means miss. The validation part decides which baseline is the best for each target.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from hpo_utils.base.paths import is_whole_archive, write_with
from hpo_utils.data.features import MIN_SIGNAL, band_means, channel_statistics, spectral_features
from hpo_utils.data.prepared import PreparedData
from hpo_utils.data.scaling import in_blocks

FILE = "baselines-5.npz"  # change the number if other baselines are fitted
ALPHAS = np.logspace(-3, 4, 15)  # candidate strengths of the ridge penalty
N_FOLDS = 5
MAX_SEEN = 20_000  # maximum number of samples per tree of the forest
N_TREES = 200
Features = Callable[[NDArray[Any]], NDArray[np.float64]]

MEAN, RIDGE, FOREST = "training mean", "ridge on bands", "random forest on statistics"
SPECTRA = "ridge on spectra"


@dataclass(frozen=True)
class Baseline:
    """Predictions of one baseline, in the targets' units.

    ``val_pred`` and ``test_pred`` have shape (n_samples, n_targets).
    """

    name: str
    val_pred: NDArray[np.float32]
    test_pred: NDArray[np.float32]


def fit_baselines(data: PreparedData) -> list[Baseline]:
    """Fit the baselines on the training part and predict the other two.

    This is done once for prepared data: the predictions are saved in their directory.
    """
    file = data.directory / FILE
    if is_whole_archive(file):
        with suppress(ValueError, KeyError), np.load(file, allow_pickle=False) as saved:
            names = [str(name) for name in saved["names"]]
            return list(map(Baseline, names, saved["val"], saved["test"]))
    found = _fit(data)
    arrays = {
        "names": np.array([baseline.name for baseline in found]),
        "val": np.stack([baseline.val_pred for baseline in found]),
        "test": np.stack([baseline.test_pred for baseline in found]),
    }
    write_with(file, lambda open_file: np.savez(open_file, **arrays))  # type: ignore[arg-type]
    return found


def training_mean(baselines: list[Baseline]) -> NDArray[np.float32]:
    """Return the test predictions of the baseline that predicts the training mean."""
    return next(baseline.test_pred for baseline in baselines if baseline.name == MEAN)


def joined_test(best: list[Baseline]) -> NDArray[np.float32]:
    """Return the test predictions of each target by its own best baseline, joined."""
    return np.stack([baseline.test_pred[:, k] for k, baseline in enumerate(best)], axis=1)


def _fit(data: PreparedData) -> list[Baseline]:
    z_train = data.target_scaler.transform(data.targets("train")).astype(np.float64)
    zeros = {part: np.zeros_like(data.targets(part)) for part in ("val", "test")}
    found = [Baseline(MEAN, *(data.target_scaler.inverse(zeros[part]) for part in zeros))]
    for name, features in _kinds(data.inputs("train").shape[2:]).items():
        inputs = {part: _in_blocks(features, data.inputs(part)) for part in ("train", *zeros)}
        seen = inputs["train"]
        model = _forest(len(seen)) if name == FOREST else _scaled(_ridge(data, seen, z_train))
        model.fit(seen, z_train[:, 0] if data.n_targets == 1 else z_train)
        predictions = (model.predict(inputs[part]).reshape(zeros[part].shape) for part in zeros)
        found.append(Baseline(name, *map(data.target_scaler.inverse, predictions)))
    return found


def _kinds(size: tuple[int, ...]) -> dict[str, Features]:
    """Return the feature function of each baseline for inputs of size (L,) or (H, W)."""
    kinds: dict[str, Features] = {RIDGE: band_means, FOREST: channel_statistics}
    if min(size) >= MIN_SIGNAL[len(size)]:
        kinds[SPECTRA] = spectral_features
    return kinds


def _forest(n_samples: int) -> RandomForestRegressor:
    """Return a random forest whose trees each see at most ``MAX_SEEN`` samples.

    Trees grow with the number of samples, and the fitting time grows faster than that.
    """
    most = MAX_SEEN if n_samples > MAX_SEEN else None
    return RandomForestRegressor(N_TREES, random_state=0, n_jobs=-1, max_samples=most)


def _ridge(
    data: PreparedData, inputs: NDArray[np.float64], z: NDArray[np.float64]
) -> RidgeCV | Ridge:
    """Return ridge regression with a separate penalty for each target.

    Cross-validation chooses the penalties. It leaves out single samples, or whole groups if there
    are groups: samples of one recording would reveal each other's targets, and the penalty chosen
    that way would be too small for new recordings.
    """
    groups = data.groups("train")
    n_groups = 0 if groups is None else len(np.unique(groups))
    if n_groups <= 1:  # leave-one-out, without refitting
        return RidgeCV(ALPHAS, alpha_per_target=data.n_targets > 1)
    folds = list(GroupKFold(min(N_FOLDS, n_groups)).split(groups, groups=groups))
    errors = [
        ((cross_val_predict(_scaled(Ridge(alpha)), inputs, z, cv=folds) - z) ** 2).mean(axis=0)
        for alpha in ALPHAS
    ]  # shape (n_alphas, n_targets)
    best = ALPHAS[np.argmin(errors, axis=0)]
    return Ridge(best[0] if data.n_targets == 1 else best)  # for one target, fit takes (n_samples,)


def _scaled(ridge: RidgeCV | Ridge) -> Pipeline:
    return make_pipeline(StandardScaler(), ridge)


def best_baselines(baselines: list[Baseline], val_true: NDArray[np.float32]) -> list[Baseline]:
    """Return the best baseline of each target by validation MSE.

    ``val_true`` has shape (n_samples, n_targets) and is in the targets' units.
    """
    errors = np.array(
        [((b.val_pred.astype(np.float64) - val_true) ** 2).mean(axis=0) for b in baselines]
    )
    return [baselines[i] for i in errors.argmin(axis=0)]


def _in_blocks(features: Features, x: NDArray[Any]) -> NDArray[np.float64]:
    """Return features (n_samples, n_features), with a few samples in memory at a time."""
    return np.concatenate([features(block) for block in in_blocks(x)])
