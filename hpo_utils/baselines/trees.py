"""Ensembles of trees: extra trees and gradient boosting, fitted by scikit-learn.

Here they are arrays of nodes, which PyTorch and ONNX walk through alike. A node compares in double
precision, as scikit-learn's thresholds are.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpo_utils.baselines.components import Array, Arrays, measured_together

N_TREES, MAX_LEAVES, MIN_LEAF = 100, 1000, 2  # of extra trees; the leaves bound the file's size
N_ROUNDS, RATE, N_LEAVES = 80, 0.1, 15  # of the boosting
N_BINS = 32  # of a feature: as good as 255 on seven data sets, in half the time
MAX_LOOKED_AT = 1_500_000  # features times samples per tree level that extra trees look at
SHARE = 1 / 3  # of the features that a node looks at, at most


class Trees(Arrays):
    """A sum of trees. Node ``i`` sends a sample left if its feature is at most the threshold.

    ``roots`` (n_trees,) are the first nodes; ``feature``, ``threshold``, ``left``, ``right``
    (n_nodes,) describe the nodes, of which a leaf leads to itself; ``value`` (n_nodes, n_targets)
    is what a leaf adds, ``bias`` (n_targets,) what all begin with, ``depth`` () the longest way.
    """

    roots: Tensor
    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    bias: Tensor
    depth: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, n_features) to standardised targets (B, n_targets), float64."""
        features = features.float().double()  # trees are grown on float32
        # (B, n_trees); an ONNX file would keep the B of its export if it were expanded
        node = self.roots.long() + torch.zeros_like(features[:, :1]).long()
        for _ in range(int(self.depth)):
            goes_left = features.gather(1, self.feature[node].long()) <= self.threshold[node]
            node = torch.where(goes_left, self.left[node], self.right[node]).long()
        return self.value[node].to(torch.float64).sum(1) + self.bias


def fit_extra_trees(features: Array, z: Array, weights: NDArray[np.float32] | None = None) -> Trees:
    """Grow extra trees on features (n_samples, n_features) and z (n_samples, n_targets).

    Targets that were measured in the same samples share a forest. ``weights`` (n_samples,) say how
    much each sample counts.
    """
    from sklearn.ensemble import ExtraTreesRegressor  # slow, and not needed to predict

    x, trees = features.astype(np.float32), []
    share = min(SHARE, MAX_LOOKED_AT / x.size)
    for rows, columns in measured_together(z):
        known = z[np.ix_(rows, columns)]
        forest = ExtraTreesRegressor(
            N_TREES, min_samples_leaf=MIN_LEAF, max_leaf_nodes=MAX_LEAVES,
            max_features=max(1, round(share * x.shape[1])), n_jobs=-1, random_state=0,
        ).fit(
            x[rows], known[:, 0] if len(columns) == 1 else known,
            None if weights is None else weights[rows],
        )  # fmt: skip
        trees += [_of_forest(tree.tree_, columns, z.shape[1]) for tree in forest.estimators_]
    return _joined(trees, np.zeros(z.shape[1]))


def fit_boosting(features: Array, z: Array, weights: NDArray[np.float32] | None = None) -> Trees:
    """Fit gradient boosting on histograms, for each target of z (n_samples, n_targets).

    NaN in ``z`` stands for what was not measured; ``weights`` (n_samples,) say how much each sample
    counts. The features are put into bins once, for all
    targets together.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor  # slow, and not needed to predict

    x = features.astype(np.float32)
    edges = np.quantile(x, np.linspace(0, 1, N_BINS + 1)[1:-1], axis=0)  # (n_edges, n_features)
    bins = _bins(x, edges)
    trees, bias = [], []
    for k, known in enumerate(~np.isnan(z.T)):
        model = HistGradientBoostingRegressor(
            max_iter=N_ROUNDS, learning_rate=RATE, max_leaf_nodes=N_LEAVES, min_samples_leaf=8,
            max_features=SHARE, l2_regularization=1.0, max_bins=N_BINS, early_stopping=False,
            random_state=0,
        ).fit(bins[known], z[known, k], None if weights is None else weights[known])  # fmt: skip
        bias.append(float(np.ravel(model._baseline_prediction)[0]))
        # scikit-learn gives its histogram trees no public form
        trees += [_of_boosting(each.nodes, k, z.shape[1]) for (each,) in model._predictors]
    for tree in trees:
        _put_between(tree, x, edges)
    return _joined(trees, np.array(bias))


def _bins(x: NDArray[np.float32], edges: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the number of edges below each value of (n_samples, n_features)."""
    found = np.zeros(x.shape, dtype=np.float32)
    for each in edges:
        found += x > each
    return found


def _put_between(
    tree: dict[str, NDArray[np.generic]], x: NDArray[np.float32], edges: NDArray[np.float32]
) -> None:
    """Turn thresholds of bins into those of features, half-way between two training samples.

    On a sample's own value, it would fall to either side by rounding.
    """
    for node in np.flatnonzero(tree["left"] != np.arange(len(tree["left"]))):
        feature = int(tree["feature"][node])
        values, edge = x[:, feature], edges[int(tree["threshold"][node]), feature]
        below, above = values[values <= edge].max(), values[values > edge].min()
        tree["threshold"][node] = (float(below) + float(above)) / 2


def _of_forest(
    tree: object, columns: NDArray[np.int64], n_targets: int
) -> dict[str, NDArray[np.generic]]:
    """Return the nodes of a tree of a forest that predicts the targets ``columns``."""
    is_leaf = tree.children_left < 0  # type: ignore[attr-defined]
    value = np.zeros((len(is_leaf), n_targets))
    value[:, columns] = tree.value[:, :, 0] / N_TREES  # type: ignore[attr-defined]
    return _nodes(
        is_leaf, tree.feature, tree.threshold, tree.children_left, tree.children_right,  # type: ignore[attr-defined]
        value,
    )  # fmt: skip


def _of_boosting(
    nodes: NDArray[np.void], target: int, n_targets: int
) -> dict[str, NDArray[np.generic]]:
    """Return the nodes of a tree that predicts one ``target``."""
    value = np.zeros((len(nodes), n_targets))
    value[:, target] = nodes["value"]
    return _nodes(
        nodes["is_leaf"] > 0, nodes["feature_idx"], nodes["num_threshold"], nodes["left"],
        nodes["right"], value,
    )  # fmt: skip


def _nodes(
    is_leaf: NDArray[np.bool_],
    feature: NDArray[np.generic],
    threshold: NDArray[np.generic],
    left: NDArray[np.generic],
    right: NDArray[np.generic],
    value: Array,
) -> dict[str, NDArray[np.generic]]:
    own = np.arange(len(is_leaf))
    return {
        "feature": np.where(is_leaf, 0, feature), "threshold": np.where(is_leaf, 0.0, threshold),
        "left": np.where(is_leaf, own, left), "right": np.where(is_leaf, own, right),
        "value": np.where(is_leaf[:, None], value, 0.0),
    }  # fmt: skip


def _joined(trees: list[dict[str, NDArray[np.generic]]], bias: Array) -> Trees:
    """Return trees with all nodes one after the other."""
    starts = np.cumsum([0, *(len(tree["left"]) for tree in trees)])[:-1]
    arrays = {name: np.concatenate([tree[name] for tree in trees]) for name in trees[0]}
    for side in ("left", "right"):
        arrays[side] = np.concatenate(
            [tree[side] + start for tree, start in zip(trees, starts, strict=True)]
        )
    integers = ("feature", "left", "right")
    kinds = {**dict.fromkeys(integers, np.int32), "threshold": np.float64, "value": np.float32}
    tensors = {n: torch.from_numpy(values.astype(kinds[n])) for n, values in arrays.items()}
    depth = max(map(_depth, trees))
    return Trees(
        {
            **tensors, "roots": torch.from_numpy(starts.astype(np.int32)),
            "bias": torch.from_numpy(bias), "depth": torch.tensor(depth, dtype=torch.int32),
        }
    )  # fmt: skip


def _depth(tree: dict[str, NDArray[np.generic]]) -> int:
    """Return the number of steps from the root to the farthest leaf."""
    reached, steps = np.zeros(1, dtype=np.int64), 0
    while len(inner := reached[tree["left"][reached] != reached]):
        reached = np.concatenate([tree["left"][inner], tree["right"][inner]]).astype(np.int64)
        steps += 1
    return steps
