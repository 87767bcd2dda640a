"""How often the domain calls a like sample outside, and how often it sees what has changed."""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from record import keep

from hpo_utils.baselines.domain import Domain, distances

LENGTH, N_MODES, NOISE, IN_GROUP = 96, 6, 0.1, 0.1
N_NEW, PER_GROUP = 300, 6
AXIS = np.linspace(0, 1, LENGTH)
MODES = np.stack([np.sin((k + 1) * np.pi * AXIS) / (k + 1) for k in range(N_MODES)])
PEAK = np.exp(-(((AXIS - 0.3) / 0.02) ** 2))
CHANGES = {
    "none": lambda x, rng: x,
    "gain 1.5": lambda x, rng: 1.5 * x,
    "noise doubled": lambda x, rng: x + 3**0.5 * NOISE * rng.normal(size=x.shape),
    "a peak of 0.5": lambda x, rng: x + 0.5 * PEAK,
    "a sensor that is dead": lambda x, rng: x * np.array([[1.0], [0.0]]),
}


def signals(n: int, grouped: bool, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return signals (n, 2, LENGTH) of a few modes; those of a group are nearly the same."""
    n_units = -(-n // PER_GROUP) if grouped else n
    heights = rng.normal(size=(n_units, 2, N_MODES))
    if grouped:
        heights = np.repeat(heights, PER_GROUP, axis=0)[:n]
        heights = heights + IN_GROUP * rng.normal(size=heights.shape)
    return (heights @ MODES + NOISE * rng.normal(size=(n, 2, LENGTH))).astype(np.float32)


def shares_outside(n_val: int, grouped: bool, n_repeats: int) -> dict[str, float]:
    """Return the share of new samples outside the domain, by what changed since the training."""
    rng = np.random.default_rng(0)
    found = dict.fromkeys(CHANGES, 0.0)
    for _ in range(n_repeats):
        train, val = (signals(n, grouped, rng) for n in (5 * n_val, n_val))
        groups = np.arange(len(train)) // PER_GROUP if grouped else None
        domain, new = Domain.fitted(train, val, groups), signals(N_NEW, grouped, rng)
        for name, change in CHANGES.items():
            outside = distances(domain, change(new, rng).astype(np.float32)).max(axis=1) > 1
            found[name] += float(outside.mean()) / n_repeats
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=100)
    n_repeats = parser.parse_args().repeats
    print(f"| held out | groups of {PER_GROUP} | {' | '.join(CHANGES)} |")
    print("|---" * (2 + len(CHANGES)) + "|")
    runs = []
    for n_val in (24, 96, 400):
        for grouped in (False, True):
            found = shares_outside(n_val, grouped, n_repeats)
            runs.append({"held_out": n_val, "grouped": grouped, "shares_outside": found})
            row = " | ".join(f"{share:.1%}" for share in found.values())
            print(f"| {n_val} | {'yes' if grouped else 'no'} | {row} |", flush=True)
    keep("domain", runs)
