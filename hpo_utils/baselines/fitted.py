"""Baselines: models without a network, fitted and evaluated on the same split.

A network is useful only if it beats them. On the training part are fitted the mean of each target;
ridge regression and partial least squares on views of the inputs, which hold pretreated spectra,
power spectra and statistics; a Gaussian process; extra trees; and gradient boosting. No prediction
leaves the range of the training part's targets. The validation part decides which baseline is the
best for each target.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpo_utils.base.paths import is_whole_archive, write_tensors
from hpo_utils.baselines.components import (
    Arrays,
    Components,
    load_sight,
    look,
    some_of,
)
from hpo_utils.baselines.gaussian_process import GaussianProcess, fit_gaussian_process
from hpo_utils.baselines.linear import LinearModel, fit_ridge
from hpo_utils.baselines.pls import fit_pls
from hpo_utils.baselines.trees import Trees, fit_boosting, fit_extra_trees
from hpo_utils.baselines.views import CURVATURE, LINEAR, TREE, views
from hpo_utils.data.prepared import Judged, PreparedData, Redealt
from hpo_utils.data.scaling import in_blocks
from hpo_utils.scores.metrics import mean_of_measured

FILE = "baselines-9{mark}.pt"  # change the number if other baselines are fitted
MEAN, RIDGE, PLS = "training mean", "ridge on views", "PLS on views"
PROCESS, FOREST, BOOSTING = "Gaussian process", "extra trees", "gradient boosting"
KINDS: dict[str, type[Arrays]] = {
    RIDGE: LinearModel, PLS: LinearModel, PROCESS: GaussianProcess, FOREST: Trees, BOOSTING: Trees,
}  # fmt: skip
ON_TREE_VIEWS = (FOREST, BOOSTING)
MIN_BOOSTED = 300  # samples; of fewer, boosting only remembers, and takes as long as of a thousand


@dataclass(frozen=True)
class Baseline:
    """Predictions of one baseline, in the targets' units.

    ``val_pred`` and ``test_pred`` have shape (n_samples, n_targets).
    """

    name: str
    val_pred: NDArray[np.float32]
    test_pred: NDArray[np.float32]

    def of(self, part: str) -> NDArray[np.float32]:
        """Return the predictions of the part ``val`` or ``test``."""
        return {"val": self.val_pred, "test": self.test_pred}[part]


class BaselineModels(nn.Module):
    """The fitted baselines, or some of them, from standardised inputs to standardised targets.

    ``low`` and ``high`` (n_targets,) are the range of the training part's targets, which no
    prediction leaves. ``curvature`` is None for images.
    """

    low: Tensor
    high: Tensor

    def __init__(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__()
        self.names = [name for name in KINDS if name in state]
        self.models = nn.ModuleList(KINDS[name](state[name]) for name in self.names)
        self.components = Components(state["components"])
        self.curvature = Components(state["curvature"]) if "curvature" in state else None
        for name, values in state["range"].items():
            self.register_buffer(name, values, persistent=False)

    def state(self, names: Iterable[str]) -> dict[str, dict[str, Tensor]]:
        """Return what the baselines of these names need, to be given to the constructor."""
        wanted = set(names)
        found: dict[str, Arrays] = {"components": self.components}
        if self.curvature is not None and PROCESS in wanted:
            found["curvature"] = self.curvature
        for name, model in zip(self.names, self.models, strict=True):
            if name in wanted:
                found[name] = cast(Arrays, model)
        state = {name: part.arrays() for name, part in found.items()}
        return {**state, "range": {"low": self.low.cpu(), "high": self.high.cpu()}}

    def forward(self, x: Tensor, seen: Mapping[str, Tensor] | None = None) -> list[Tensor]:
        """Map (B, n_channels, ...) to (B, n_targets), float64, for each of ``names``.

        ``seen`` are views of ``x`` that are known already, by kind.
        """
        kinds = [LINEAR]
        if self.curvature is not None and PROCESS in self.names:
            kinds.append(CURVATURE)
        if any(name in self.names for name in ON_TREE_VIEWS):
            kinds.append(TREE)
        known = dict(seen or {})
        missing = [kind for kind in kinds if kind not in known]
        known |= zip(missing, views(x, *missing), strict=True)
        components = self.components(known[LINEAR])
        inputs = [components]
        if self.curvature is not None and PROCESS in self.names:
            inputs.append(self.curvature(known[CURVATURE]))
        looked_at = {RIDGE: components, PLS: components, PROCESS: torch.cat(inputs, 1)}
        looked_at |= dict.fromkeys(ON_TREE_VIEWS, known.get(TREE))
        return [
            torch.minimum(torch.maximum(model(looked_at[name]), self.low), self.high)
            for name, model in zip(self.names, self.models, strict=True)
        ]


def fit_baselines(data: PreparedData) -> list[Baseline]:
    """Fit the baselines on the training part and predict the other two.

    Of ``Judged`` data each fold is predicted by baselines fitted without it. This is done once for
    prepared data: the models and predictions are saved in their directory.
    """
    saved = _saved(data)
    return [
        Baseline(name, saved["val"][name].numpy(), saved["test"][name].numpy())
        for name in saved["val"]
    ]


def load_models(data: PreparedData) -> BaselineModels:
    """Return the fitted baselines as one model; they are fitted first if they were not."""
    return BaselineModels(_saved(data)["models"])


def training_mean(baselines: list[Baseline]) -> NDArray[np.float32]:
    """Return the test predictions of the baseline that predicts the training mean."""
    return next(baseline.test_pred for baseline in baselines if baseline.name == MEAN)


def joined_test(best: list[Baseline]) -> NDArray[np.float32]:
    """Return the test predictions of each target by its own best baseline, joined."""
    return np.stack([baseline.test_pred[:, k] for k, baseline in enumerate(best)], axis=1)


def best_baselines(baselines: list[Baseline], data: PreparedData) -> list[Baseline]:
    """Return the best baseline of each target by its MSE on the validation part."""
    on_scale, given = data.target_scaler.on_scale, data.weights("val")
    truth, weights = on_scale(data.targets("val")), 1.0 if given is None else given[:, None]
    errors = np.array(
        [
            mean_of_measured(weights * (on_scale(b.val_pred.astype(np.float64)) - truth) ** 2)
            for b in baselines
        ]
    )
    return [baselines[i] for i in errors.argmin(axis=0)]


def _saved(data: PreparedData) -> dict[str, Any]:
    """Return the saved models and predictions; fit and save them if there are none."""
    mark = data.dataset_id.removeprefix(str(data.manifest["id"]))
    file = data.directory / FILE.format(mark=mark)
    if is_whole_archive(file):
        with suppress(Exception):  # damaged: it may raise anything, and is written again
            found = torch.load(file, weights_only=True)
            if found["dataset_id"] == data.dataset_id:
                return dict(found)
    state = _fit(data)
    models = BaselineModels(state)
    found = {"dataset_id": data.dataset_id, "models": state}
    for part in ("val", "test"):
        mean = data.target_scaler.inverse(np.zeros((len(data.targets(part)), data.n_targets)))
        if part == "val" and isinstance(data, Judged):
            predictions = _out_of_fold(data, models.names)
        else:
            predictions = predict_in_units(models, data, data.inputs(part))
        found[part] = {n: torch.from_numpy(y) for n, y in {MEAN: mean, **predictions}.items()}
    write_tensors(file, found)
    return found


def _out_of_fold(data: Judged, names: list[str]) -> dict[str, NDArray[np.float32]]:
    """Return predictions of the validation part by baselines that have not seen the sample."""
    shape = data.targets("val").shape
    found = {name: np.empty(shape, dtype=np.float32) for name in names}
    for number, fold in data.folds.items():
        fitted = predict_in_units(BaselineModels(_fit(fold, names)), fold, fold.inputs("val"))
        for name in names:
            found[name][data.places(number)] = fitted[name]
    return found


def predict_in_units(
    models: BaselineModels, data: PreparedData, x: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Return predictions (n_samples, n_targets) by baseline, in the targets' units.

    ``x`` are standardised inputs (n_samples, n_channels, ...), looked at few at a time.
    """
    scaler, (lowest, highest) = data.target_scaler, data.physics.bounds(data.n_targets)
    with torch.inference_mode():
        pieces = [models(torch.from_numpy(np.array(block))) for block in in_blocks(x)]
    z = {name: torch.cat([piece[i] for piece in pieces]) for i, name in enumerate(models.names)}
    return {
        name: np.clip(scaler.inverse(values.numpy()), lowest, highest).astype(np.float32)
        for name, values in z.items()
    }


def _fit(data: PreparedData, names: Iterable[str] = ()) -> dict[str, dict[str, Tensor]]:
    """Return the arrays of all baselines, fitted on the training part.

    Boosting is among them if there are enough samples, or if it is one of ``names``.
    """
    x, given = some_of(data.inputs("train")), (data.groups("train"), data.weights("train"))
    groups, weights = (None if each is None else some_of(each) for each in given)
    targets = data.target_scaler.transform(data.targets("train")).astype(np.float64)
    kinds = (LINEAR, TREE) if x.ndim == 4 else (LINEAR, TREE, CURVATURE)
    z, (linear, features, *curvature) = some_of(targets), look(x, *kinds)
    is_given = not isinstance(data, Redealt)  # then a network sees the same
    components = load_sight(data).components if is_given else Components.of(linear)
    state: dict[str, Arrays] = {"components": components}
    inputs, curves = components.transform(linear), None
    if curvature:
        found = state["curvature"] = Components.of(curvature[0])
        curves = found.transform(curvature[0])
    state[RIDGE], _ = fit_ridge(inputs, z, groups, weights)
    state[PLS] = fit_pls(inputs, z, groups, weights)
    state[PROCESS] = fit_gaussian_process(inputs, curves, z, weights)
    state[FOREST] = fit_extra_trees(features, z, weights)
    if len(z) >= MIN_BOOSTED or BOOSTING in names:
        state[BOOSTING] = fit_boosting(features, z, weights)
    arrays = {name: part.arrays() for name, part in state.items()}
    low, high = np.nanmin(targets, axis=0), np.nanmax(targets, axis=0)
    edges = {"low": torch.from_numpy(low), "high": torch.from_numpy(high)}
    return {**arrays, "range": edges}
