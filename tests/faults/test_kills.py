"""Studies killed at random instants: a short form of ``python tests/faults/driver.py``."""

import itertools
import random

import pytest
from driver import CASES, disturb, run_undisturbed


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    root = tmp_path_factory.mktemp("calm") / "runs"
    return root, run_undisturbed(root)


@pytest.mark.parametrize(
    ("name", "n_kills"), [("script", 2), ("two workers", 3), ("notebook", 1), ("deadlines", 1)]
)
def test_a_killed_study_ends_as_if_undisturbed(tmp_path, calm, name, n_kills):
    rng, kills, rounds = random.Random(n_kills), 0, itertools.count()
    while kills < n_kills:
        wild = tmp_path / str(next(rounds)) / "runs"  # on a fast machine a round may see no kill
        outcome = disturb(CASES[name], n_kills - kills, rng, *calm, wild)
        print(outcome)
        kills += outcome.kills
