"""What a model promised, against later samples."""

import numpy as np
import pytest
from scipy import stats

from hpo_utils.scores.merit import figures_of_merit
from hpo_utils.scores.promises import promises

RNG = np.random.default_rng(0)


def merit(error, names=("a",), units=None):
    truth = RNG.normal(size=error.shape)
    return figures_of_merit(truth, truth + error, list(names), units, 0.95)


def p_values(found):
    return {each["figure"]: each["p_value"] for each in found}


def test_they_are_the_tests_of_scipy():
    before, now = RNG.normal(0.1, 1.0, (60, 1)), RNG.normal(0.3, 1.4, (40, 1))
    found = promises(merit(before), merit(now), {"a": 0.85}, 0.95)
    raw = [
        stats.ttest_ind(before, now, equal_var=False).pvalue[0],
        2 * stats.f.sf(now.var(ddof=1) / before.var(ddof=1), 39, 59),
        stats.binomtest(34, 40, 0.95, alternative="less").pvalue,
    ]
    holm, highest = np.empty(3), 0.0
    for rank, i in enumerate(np.argsort(raw)):
        highest = max(highest, min(1.0, (3 - rank) * raw[i]))
        holm[i] = highest
    assert list(p_values(found).values()) == pytest.approx(holm.tolist(), rel=1e-6)


def test_a_promise_that_is_kept_is_called_broken_as_rarely_as_promised():
    broken = []
    for _ in range(1000):
        before, now = RNG.normal(size=(96, 2)), RNG.normal(size=(60, 2))
        found = promises(merit(before, "ab"), merit(now, "ab"), {}, 0.95)
        broken.append(min(each["p_value"] for each in found) < 0.05)
    assert np.mean(broken) == pytest.approx(0.05, abs=0.025)


@pytest.mark.parametrize(
    ("change", "figure"), [((0.8, 1.0), "bias"), ((0.0, 2.0), "spread"), ((0.0, 0.4), "spread")]
)
def test_what_changes_is_named(change, figure):
    now = RNG.normal(*change, (80, 1))
    found = p_values(promises(merit(RNG.normal(size=(80, 1))), merit(now), {"a": 0.95}, 0.95))
    assert min(found, key=found.get) == figure
    assert found[figure] < 0.001
    assert found["coverage"] > 0.05


def test_too_few_units_and_unknown_targets_are_not_compared():
    few = merit(RNG.normal(size=(7, 1)))
    enough = merit(RNG.normal(size=(50, 1)))
    assert promises(enough, few, {"a": 1.0}, 0.95) == []
    grouped = merit(RNG.normal(size=(50, 1)), units=np.repeat(np.arange(5), 10))
    assert promises(grouped, enough, {}, 0.95) == []
    assert promises({}, enough, {}, 0.95) == []
    assert promises(merit(np.zeros((50, 1))), enough, {}, 0.95) == []
