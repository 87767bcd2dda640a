"""How often the intervals hold, each target's and all targets' together, by samples and groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from record import keep

from hpo_utils.scores.spread import calibrate, share_inside, share_inside_together

CONFIDENCE, N_TIMES, N_LATER = 0.95, 400, 400
OF_GROUP = 0.3  # of an error's variance: common to the samples of its group
OF_SAMPLE = 0.3  # common to the targets of a sample
PER_GROUP = 6


def errors(
    rng: np.random.Generator, groups: NDArray[np.int64], n_targets: int
) -> NDArray[np.float64]:
    """Return absolute errors (n_samples, n_targets) of samples in these groups."""
    own = rng.normal(size=(len(groups), n_targets))
    of_sample = rng.normal(size=(len(groups), 1))
    of_group = rng.normal(size=(groups.max() + 1, n_targets))[groups]
    shares = np.sqrt([1 - OF_SAMPLE - OF_GROUP, OF_SAMPLE, OF_GROUP])
    return np.abs(shares[0] * own + shares[1] * of_sample + shares[2] * of_group)


def held(n_samples: int, n_targets: int, grouped: bool) -> tuple[float, float]:
    """Return the mean coverage of a target's intervals, and of the joint ones."""
    rng = np.random.default_rng(0)
    size = PER_GROUP if grouped else 1
    found = []
    for _ in range(N_TIMES):
        groups = np.arange(n_samples) // size
        known = errors(rng, groups, n_targets)
        units = groups if grouped else None
        calibration = calibrate(known, np.zeros_like(known), CONFIDENCE, units, has_spread=False)
        later = errors(rng, np.arange(N_LATER) // size, n_targets)
        none = np.zeros_like(later)
        alone = share_inside(later, calibration.half_width(none, none)).mean()
        found.append(
            (alone, share_inside_together(later, calibration.joint_half_width(none, none)))
        )
    alone, together = np.mean(found, axis=0)
    return float(alone), float(together)


if __name__ == "__main__":
    print("| samples | groups of 6 | targets | each target | all at once |\n|---|---|---|---|---|")
    runs = []
    for n_samples in (24, 96, 400):
        for grouped in (False, True):
            for n_targets in (1, 6):
                alone, together = held(n_samples, n_targets, grouped)
                case = {"samples": n_samples, "grouped": grouped, "targets": n_targets}
                runs.append({**case, "each_target": alone, "all_at_once": together})
                said = "yes" if grouped else "no"
                print(f"| {n_samples} | {said} | {n_targets} | {alone:.1%} | {together:.1%} |")
    keep("interval_coverage", runs)
