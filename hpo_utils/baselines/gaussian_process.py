"""Gaussian processes on a few principal components.

A process with a length for each component finds the few that matter, one with a single length uses
all, and curvature (SNV of the second derivative) is what matters in spectra. Each target takes the
one of the three under which the training part is most probable (Rasmussen and Williams, Gaussian
Processes for Machine Learning, 2006, sec. 5.4).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits
from torch import Tensor

from hpo_utils.baselines.components import Array, Arrays

N_WITH_LENGTHS = 10  # components that get a length of their own
N_CURVATURE = 15
MAX_TUNED, MAX_SAMPLES = 300, 1500  # samples that choose the lengths, and that the process keeps
MAX_STEPS = 15  # of the search for lengths: more find no better ones on new samples
LENGTHS, NOISES = (0.1, 1e3), (1e-6, 10.0)  # bounds, in standard deviations and variances


class GaussianProcess(Arrays):
    """The mean of a process for each target, with its own lengths over all inputs.

    ``inverse_lengths`` has shape (n_targets, n_inputs), zero for inputs that do not count;
    ``seen`` (n_samples, n_inputs) are the samples that it keeps, ``dual`` (n_samples, n_targets)
    their weights, and ``bias`` (n_targets,) the targets' means.
    """

    inverse_lengths: Tensor
    seen: Tensor
    dual: Tensor
    bias: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs (B, n_inputs) to standardised targets (B, n_targets), float64."""
        found = []
        for k in range(len(self.bias)):
            a, b = inputs * self.inverse_lengths[k], self.seen * self.inverse_lengths[k]
            squares = (a * a).sum(1, keepdim=True) + (b * b).sum(1) - 2.0 * a @ b.T
            found.append(torch.exp(-0.5 * squares.clamp(min=0.0)) @ self.dual[:, k])
        return torch.stack(found, 1) + self.bias


@dataclass(frozen=True)
class _Kernel:
    """A fitted kernel: variance, noise, and the inverse length of each input."""

    variance: float
    noise: float
    inverse_lengths: Array
    evidence: float  # log marginal likelihood of the tuning samples


def fit_gaussian_process(
    components: Array,
    curvature: Array | None,
    z: Array,
    weights: NDArray[np.float32] | None = None,
) -> GaussianProcess:
    """Fit to components (n_samples, n), curvature (n_samples, n) and z (n_samples, n_targets).

    A sample in which a target was not measured, NaN in ``z``, has no weight in its prediction.
    The noise of a sample is that of all divided by its weight, one unless ``weights`` (n_samples,)
    are given; lengths are tuned as if all counted alike.
    """
    n_components = components.shape[1]
    inputs = components if curvature is None else np.hstack([components, curvature])
    order = np.random.default_rng(0).permutation(len(z))
    kept = order[:MAX_SAMPLES]
    spread = inputs.std(axis=0)
    spread[spread == 0] = 1.0
    first = np.arange(min(N_WITH_LENGTHS, n_components))
    kinds = [(first, True), (np.arange(n_components), False)]
    if curvature is not None:
        kinds.append((n_components + np.arange(min(N_CURVATURE, curvature.shape[1])), True))
    counts = np.ones(len(z)) if weights is None else weights.astype(np.float64)
    lengths, dual, bias = [], [], np.zeros(z.shape[1])
    for k in range(z.shape[1]):
        known = ~np.isnan(z[kept, k])
        bias[k] = np.average(z[kept[known], k], weights=counts[kept[known]])
        target = z[:, k] - bias[k]
        tuned = kept[known][:MAX_TUNED]
        kernels = [
            _tune(inputs[tuned], target[tuned], chosen, spread, own_lengths)
            for chosen, own_lengths in kinds
        ]
        best = max(kernels, key=lambda kernel: kernel.evidence)
        lengths.append(best.inverse_lengths)
        own, seen = np.zeros(len(kept)), kept[known]
        scaled = inputs[seen] * best.inverse_lengths
        own[known] = _solve(scaled, target[seen], best, counts[seen])
        dual.append(own)
    arrays = {
        "inverse_lengths": np.stack(lengths), "seen": inputs[kept],
        "dual": np.stack(dual, axis=1), "bias": bias,
    }  # fmt: skip
    return GaussianProcess({name: torch.from_numpy(values) for name, values in arrays.items()})


def _tune(
    inputs: Array, target: Array, chosen: NDArray[np.int64], spread: Array, own_lengths: bool
) -> _Kernel:
    """Fit a kernel to the ``chosen`` inputs, with a length for each or with one for all."""
    # slow, and not needed to predict
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    # one length for all keeps the components' unequal spread; lengths of their own do not need it
    unit = spread[chosen] if own_lengths else np.full(len(chosen), spread[chosen].max())
    length = np.full(len(chosen), 3.0) if own_lengths else 3.0
    kernel = ConstantKernel(1.0) * RBF(length, LENGTHS) + WhiteKernel(0.1, NOISES)
    process = GaussianProcessRegressor(kernel, optimizer=_few_steps, random_state=0)
    # small matrices: more threads only wait for each other, and for other processes
    with threadpool_limits(1), warnings.catch_warnings():
        # a length at its bound means an input that does not count
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(inputs[:, chosen] / unit, target)
    fitted = process.kernel_
    inverse = np.zeros(inputs.shape[1])
    inverse[chosen] = 1.0 / (unit * fitted.k1.k2.length_scale)
    return _Kernel(
        float(fitted.k1.k1.constant_value), float(fitted.k2.noise_level), inverse,
        float(process.log_marginal_likelihood_value_),
    )  # fmt: skip


def _few_steps(
    loss: Callable[[Array], tuple[float, Array]], start: Array, bounds: Array
) -> tuple[Array, float]:
    """Return where ``MAX_STEPS`` steps of L-BFGS-B lead from ``start``, and the loss there."""
    options = {"maxiter": MAX_STEPS}
    found = minimize(loss, start, method="L-BFGS-B", jac=True, bounds=bounds, options=options)
    return found.x, float(found.fun)


def _solve(scaled: Array, target: Array, kernel: _Kernel, counts: Array) -> Array:
    """Return the weights of the samples, the kernel's variance included.

    Each sample counts as so many of ``counts`` (n_samples,).
    """
    squares = (scaled**2).sum(axis=1)
    distances = squares[:, None] + squares - 2.0 * scaled @ scaled.T
    covariance = kernel.variance * np.exp(-0.5 * np.maximum(distances, 0.0))
    covariance[np.diag_indices_from(covariance)] += kernel.noise / counts + 1e-10
    weights: Array = kernel.variance * cho_solve(cho_factor(covariance, lower=True), target)
    return weights
