"""What goes home: the network, a baseline, or the mixture that the validation part prefers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from hpo_utils.baselines.fitted import MEAN, Baseline
from hpo_utils.data.physics import Physics, obeying
from hpo_utils.data.prepared import PreparedData
from hpo_utils.data.scaling import Standardizer
from hpo_utils.scores.skill import NETWORK, Array

TAKE_HOME = "what goes home"  # its name beside those of the models
POWER = 3  # of the ratio of squared errors
SUM_TO_ONE = 1e3  # weight of the equation that shares sum to one, against those of the samples
TINY = 1e-12  # standardised squared error below which a model counts as perfect
MIN_SHARE = 0.05  # smaller shares are not worth a model in the bundle

Shares = dict[str, list[float]]  # of each model in each target; they sum to one over the models


def choose_shares(
    how: str,
    y_true: Array,
    network: Array,
    baselines: Sequence[Baseline],
    scaler: Standardizer,
    weights: Array | None = None,
) -> Shares:
    """Choose the share of each model in each target on the validation part.

    Parameters
    ----------
    how
        ``network``: all is the network's. ``auto``: see below.
    y_true, network
        True values, and the network's predictions, of the validation part, (n_samples, n_targets).
    baselines
        The baselines, whose ``val_pred`` count.
    scaler
        Of the targets.
    weights
        How much each sample counts (n_samples,); None: all alike.

    Returns
    -------
    dict
        By name of the model, without models that have no share.
    """
    n_targets = y_true.shape[1]
    if how == "network":
        return {NETWORK: [1.0] * n_targets}
    names = [NETWORK, *(b.name for b in baselines if b.name != MEAN)]
    predictions = [network, *(b.val_pred for b in baselines if b.name != MEAN)]
    z = np.stack([scaler.transform(y).astype(np.float64) for y in predictions])
    z_true = scaler.transform(y_true).astype(np.float64)
    if weights is not None:  # squared errors are then the weighted ones
        roots = np.sqrt(weights.astype(np.float64))[:, None]
        z, z_true = roots * z, roots * z_true
    found = np.stack(
        [mixture(z[:, known, k], z_true[known, k]) for k, known in enumerate(~np.isnan(z_true.T))],
        axis=1,
    )
    return {
        name: [round(float(share), 4) for share in shares]
        for name, shares in zip(names, found, strict=True)
        if shares.any()
    }


def taken_home(
    how: str, data: PreparedData, baselines: Sequence[Baseline], networks: Mapping[str, Array]
) -> tuple[Shares, dict[str, Array]]:
    """Return the shares, and what goes home predicts of the validation and of the test part.

    ``networks`` are the members' predictions by part, (n_members, n_samples, n_targets) each, and
    so are the results; ``how`` is as in ``choose_shares``.
    """
    shares = choose_shares(
        how, data.targets("val"), networks["val"].mean(axis=0), baselines, data.target_scaler,
        data.weights("val"),
    )  # fmt: skip
    return shares, {
        part: mixed(shares, networks[part], {b.name: b.of(part) for b in baselines}, data.physics)
        for part in ("val", "test")
    }


def mixture(z: NDArray[np.float64], z_true: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shares (n_models,) of predictions (n_models, n_samples) in one target.

    They lie halfway between two answers: the non-negative weights of least squares, which a few
    samples overfit, and weights that fall with a power of each model's squared error, which do not
    know that two models err alike (docs/decisions/take_home.md).
    """
    errors = ((z - z_true) ** 2).mean(axis=1)
    falling = (max(errors.min(), TINY) / np.maximum(errors, TINY)) ** POWER
    together = SUM_TO_ONE * np.sqrt(z_true.size * max(float((z**2).mean()), TINY))
    rows = np.vstack([z.T, np.full(len(z), together)])
    fitted = nnls(rows, np.append(z_true, together))[0]
    shares = fitted / fitted.sum() / 2 + falling / falling.sum() / 2
    shares[shares < MIN_SHARE] = 0.0
    found: NDArray[np.float64] = shares / shares.sum()
    return found


def mixed(
    shares: Mapping[str, Sequence[float]],
    networks: Array,
    baselines: Mapping[str, Array],
    physics: Physics,
) -> Array:
    """Join each network (n_members, n_samples, n_targets) with the baselines by their shares.

    ``baselines`` holds predictions (n_samples, n_targets) by name. If the network has no share,
    one member is left.
    """
    if set(shares) == {NETWORK}:
        return networks
    others = sum(
        np.array(share) * baselines[name].astype(np.float64)
        for name, share in shares.items()
        if name != NETWORK
    )
    own = np.array(shares[NETWORK]) * networks if NETWORK in shares else np.zeros_like(networks[:1])
    return obeying(own + others, physics)


def name_at_home(shares: Mapping[str, Sequence[float]]) -> str:
    """Return the name under which test results of what goes home are kept."""
    return next(iter(shares)) if len(shares) == 1 else TAKE_HOME


def mean_shares(shares: Mapping[str, Sequence[float]]) -> list[tuple[str, float | None]]:
    """Return the models with their mean share over the targets, the largest first.

    A model that is alone has no share, but is all.
    """
    if len(shares) == 1:
        return [(name, None) for name in shares]
    means = {name: float(np.mean(share)) for name, share in shares.items()}
    return [(name, means[name]) for name in sorted(means, key=lambda name: -means[name])]


def described(shares: Mapping[str, Sequence[float]]) -> str:
    """Return the models as text, as in "0.60 network + 0.40 extra trees"."""
    return " + ".join(
        name if share is None else f"{share:.2f} {name}" for name, share in mean_shares(shares)
    )
