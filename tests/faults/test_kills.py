"""Studies killed at random instants: a short form of ``python tests/faults/driver.py``."""

import random

import pytest
from driver import CASES, disturb, run_undisturbed


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    root = tmp_path_factory.mktemp("calm") / "runs"
    return root, run_undisturbed(root)


@pytest.mark.parametrize(("name", "n_kills"), [("script", 9), ("two workers", 7), ("notebook", 4)])
def test_a_killed_study_ends_as_if_undisturbed(tmp_path, calm, name, n_kills):
    rng, kills = random.Random(n_kills), 0
    while kills < n_kills:
        wild = tmp_path / str(kills) / "runs"
        outcome = disturb(CASES[name], n_kills - kills, rng, *calm, wild)
        print(outcome)
        kills += outcome.kills
