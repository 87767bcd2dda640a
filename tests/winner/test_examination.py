import numpy as np
import pytest

from hpo_utils.scores.skill import errors_with_intervals, skill_with_intervals
from hpo_utils.scores.spread import calibrate, calibrate_spread, coverage, share_inside_together

RNG = np.random.default_rng(0)
Y = RNG.normal(size=(200, 3)).astype(np.float32)
NAMES = ["good", "same", "bad"]
ERRORS = RNG.normal(size=(200, 3)).astype(np.float32)
REFERENCE = Y + 0.5 * ERRORS
PREDICTION = Y + ERRORS * np.array([0.1, 0.5, 1.5], dtype=np.float32)


def test_skill_and_its_verdict():
    found = skill_with_intervals(Y, PREDICTION, REFERENCE, None, 0.95)
    assert [f["skill"] for f in found] == pytest.approx(
        [1 - 0.04, 0.0, 1 - 9.0], rel=1e-4, abs=1e-5
    )
    noisy = PREDICTION + 0.02 * RNG.normal(size=Y.shape)
    verdicts = [f["verdict"] for f in skill_with_intervals(Y, noisy, REFERENCE, None, 0.95)]
    assert verdicts == ["better", "unclear", "worse"]


@pytest.mark.parametrize(("n_units", "most"), [(8, 0.12), (24, 0.09), (100, 0.07)])
def test_noise_is_rarely_called_better_for_any_of_many_targets(n_units, most):
    """5 % with a perfect interval; 26 % without a correction for the number of targets."""
    rng = np.random.default_rng(0)
    called = 0
    for _ in range(600):
        y, a, b = rng.normal(size=(3, n_units, 6)).astype(np.float32)
        found = skill_with_intervals(y, a, b, None, 0.95)
        called += any(f["verdict"] != "unclear" for f in found)
    assert called / 600 <= most


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e16])
def test_the_unit_of_a_target_makes_no_difference(scale):
    noisy = PREDICTION + np.float32(0.02) * ERRORS[::-1]
    expected = skill_with_intervals(Y, noisy, REFERENCE, None, 0.95)
    found = skill_with_intervals(
        *(scale * y.astype(np.float64) for y in (Y, noisy, REFERENCE)), None, 0.95
    )
    assert [f["verdict"] for f in found] == [e["verdict"] for e in expected]
    for f, e in zip(found, expected, strict=True):
        assert (f["skill"], *f["interval"]) == pytest.approx((e["skill"], *e["interval"]))


def test_a_perfect_prediction_is_surely_better():
    (first, *_) = skill_with_intervals(Y, Y, REFERENCE, None, 0.95)
    assert first == {"skill": 1.0, "interval": (1.0, 1.0), "verdict": "better"}


def test_a_perfect_reference_leaves_no_skill():
    (first, *_) = skill_with_intervals(Y, PREDICTION, Y, None, 0.95)
    assert (first["skill"], first["verdict"]) == (None, "unclear")


def test_errors_carry_intervals_around_them():
    found = errors_with_intervals(Y, {"a": PREDICTION, "b": Y}, NAMES, None, 0.95)
    for name in NAMES:
        low, high = found["a"][name]["r2_interval"]
        assert low < found["a"][name]["r2"] < high
        low, high = found["a"][name]["rmse_interval"]
        assert low < found["a"][name]["rmse"] < high
    assert found["b"]["good"]["r2_interval"] == (1.0, 1.0)


@pytest.mark.parametrize(("n_units", "size"), [(8, 1), (24, 1), (8, 20), (24, 20)])
def test_intervals_of_errors_hold_what_they_promise(n_units, size):
    """About: of 8 groups of 20 in 91 and 90 % of many studies, of 24 samples in 94."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(n_units), size) if size > 1 else None
    held = {"r2": 0, "rmse": 0}
    for _ in range(400):
        shared = rng.normal(size=(2, n_units, 1)).repeat(size, 1)  # of a group's truth and error
        alone = rng.normal(size=(2, n_units * size, 1))
        truth, error = 0.8**0.5 * shared + 0.2**0.5 * alone
        y = truth.astype(np.float32)
        found = errors_with_intervals(y, {"a": y + 0.5 * error}, ["t"], groups, 0.95)["a"]["t"]
        for name, true in (("r2", 0.75), ("rmse", 0.5)):
            low, high = found[f"{name}_interval"]
            held[name] += low < true < high
    assert min(held.values()) / 400 >= 0.9


def test_few_groups_give_wider_intervals():
    groups = np.repeat(np.arange(8), 25)
    y_pred = Y + groups[:, None].astype(np.float32)  # a group errs together
    wide, narrow = (
        errors_with_intervals(Y, {"a": y_pred}, NAMES, g, 0.95)["a"]["good"]["rmse_interval"]
        for g in (groups, None)
    )
    assert wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])


def test_calibrated_intervals_hold_what_they_promise():
    """The members' spread is a tenth of the error: taken at its word it holds little."""
    n = 4000
    scale = np.random.default_rng(1).uniform(0.5, 2, (n, 1))
    rng = np.random.default_rng(2)
    y = np.zeros((n, 1), dtype=np.float32)
    centre = rng.normal(size=(n, 1)) * scale
    members = np.stack([centre + 0.1 * scale * rng.normal(size=(n, 1)) for _ in range(10)])
    half = n // 2
    calibration = calibrate_spread(y[:half], members[:, :half].astype(np.float32), 0.9)
    (found,) = coverage(y[half:], members[:, half:].astype(np.float32), calibration, 0.9)
    assert found["calibrated"] == pytest.approx(0.9, abs=0.03)
    assert found["plain"] < 0.3


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_joint_intervals_hold_for_all_targets_at_once(shared):
    """Independent targets need the widest ones; the more they err together the less."""
    rng = np.random.default_rng(3)
    error = np.sqrt(1 - shared) * rng.normal(size=(8000, 6))
    error = np.abs(error + np.sqrt(shared) * rng.normal(size=(8000, 1)))
    first, second = np.split(error * [1, 2, 5, 10, 0.1, 1], 2)
    none = np.zeros_like(first)
    found = calibrate(first, none, 0.9, None, has_spread=False)
    held = share_inside_together(second, found.joint_half_width(none, none))
    assert held == pytest.approx(0.9, abs=0.025)
    # of independent normal errors it is the quantile of 0.9^(1/6) in place of 0.9
    assert found.joint == pytest.approx(2.378 if shared == 0 else 1.95, abs=0.1)
    assert np.mean(found.factors) == pytest.approx(1.645, abs=0.1)


@pytest.mark.parametrize("per_group", [1, 6])
def test_joint_intervals_hold_where_few_samples_tell_the_sizes_of_the_errors(per_group):
    """With sizes from all 24 samples, also a sample's own, 93 % would hold; 91 % with groups."""
    rng = np.random.default_rng(0)
    groups = np.arange(24) // per_group
    held = []
    for _ in range(200):
        error = np.abs(rng.normal(size=(24, 6)) + rng.normal(size=(24, 6))[groups])
        later = np.abs(rng.normal(size=(100, 6)) + rng.normal(size=(100, 6)))
        units = None if per_group == 1 else groups
        found = calibrate(error, np.zeros_like(error), 0.95, units, has_spread=False)
        none = np.zeros_like(later)
        held.append(share_inside_together(later, found.joint_half_width(none, none)))
    assert 0.95 <= np.mean(held) <= 0.985


def test_joint_intervals_stay_finite_where_only_one_sample_errs():
    error = np.zeros((20, 2))
    error[3] = 1.0
    found = calibrate(error, np.zeros_like(error), 0.95, np.arange(20), has_spread=False)
    assert 0 < found.joint < 100
    assert calibrate(error, error, 0.95, np.zeros(20, dtype=int), has_spread=True).joint < 100


def test_of_one_target_the_joint_interval_is_its_own():
    error = np.abs(np.random.default_rng(0).normal(size=(99, 1)))
    found = calibrate(error, 0 * error, 0.9, None, has_spread=False)
    assert found.factors == [found.joint]


def test_joint_intervals_count_what_was_measured():
    error = np.abs(np.random.default_rng(0).normal(size=(200, 2)))
    error[::2, 0] = np.nan
    error[:10] = np.nan
    found = calibrate(error, np.zeros_like(error), 0.9, None, has_spread=False)
    half_width = found.joint_half_width(np.zeros_like(error), error)
    assert share_inside_together(error, half_width) == pytest.approx(0.9, abs=0.02)


def test_a_truth_that_does_not_vary_has_no_interval():
    flat = np.ones((20, 1), dtype=np.float32)
    found = errors_with_intervals(flat, {"a": flat + 1}, ["a"], None, 0.95)["a"]["a"]
    assert (found["r2"], found["r2_interval"]) == (None, (None, None))


def test_two_groups_decide_nothing():
    groups = np.repeat(np.arange(2), 100)
    found = skill_with_intervals(Y, PREDICTION, REFERENCE, groups, 0.95)
    assert {(f["interval"], f["verdict"]) for f in found} == {((None, None), "unclear")}


def test_members_that_agree_by_chance_are_no_surer():
    """Then every interval is as wide, by the error alone."""
    found = calibrate_spread(Y, np.stack([PREDICTION, PREDICTION]), 0.9)
    error = np.sort(np.abs(PREDICTION - Y), axis=0)
    rank = int(np.ceil(0.9 * (len(Y) + 1)))
    half_width = found.half_width(np.zeros_like(Y), Y)
    np.testing.assert_allclose(half_width, np.broadcast_to(error[rank - 1], Y.shape), rtol=1e-5)


def test_the_intervals_of_one_member_are_all_of_one_width():
    alone, agreed = (calibrate_spread(Y, np.stack([PREDICTION] * n), 0.9) for n in (1, 2))
    assert (alone.factors, alone.residual) == (agreed.factors, agreed.residual)
    assert alone.half_width(np.ones_like(Y), Y).max() == alone.half_width(np.zeros_like(Y), Y).max()
    assert coverage(Y, PREDICTION[None], alone, 0.9)[0]["calibrated"] >= 0.9


@pytest.mark.parametrize("constant", [0.1, 0.0, -3.0, 1e6, 1e-12, 7.0])
def test_a_truth_of_one_value_tells_nobody_apart(constant):
    truth = np.full((40, 1), constant, np.float32)
    near, far = truth + np.float32(abs(constant) / 100 + 1), truth + np.float32(abs(constant) + 9)
    (skill,) = skill_with_intervals(truth, near, far, None, 0.95)
    assert skill == {"skill": None, "interval": (None, None), "verdict": "unclear"}
    errors = errors_with_intervals(truth, {"network": near}, ["a"], None, 0.95)["network"]["a"]
    assert (errors["r2"], errors["r2_interval"]) == (None, (None, None))
    assert errors["rmse"] > 0  # which can be told
