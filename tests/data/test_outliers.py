"""Codes are told from measurements, in any part, input or target; real tails are let through."""

import numpy as np
import pytest

from hpo_utils.base.errors import DataError
from hpo_utils.bundle.bundle import load_bundle, predict
from hpo_utils.data.outliers import FarValues
from hpo_utils.data.preparation import prepare_data
from hpo_utils.upkeep.acceptance import evaluate
from hpo_utils.winner.settle import winner_directory

CODES = [-9999, -999, -999.25, 99999, -8888, 9.96921e36, 1e20, -1e30, 3.4e38, 2.0**31,
         -(2.0**31), -32768, 12345678.9]  # fmt: skip


def found(values):
    values = np.asarray(values)[:, None] if np.ndim(values) == 1 else np.asarray(values)
    far = FarValues(values)
    far.update(values)
    return far.find(0)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("n_codes", [1, 4, 20])
def test_a_code_is_found_among_measurements(code, n_codes):
    rng = np.random.default_rng(0)
    for values in (rng.uniform(size=100), rng.normal(20, 3, 100), rng.lognormal(0, 0.5, 100)):
        values[7 : 7 + n_codes] = code
        assert found(values) == (7, code, n_codes)


TAILS = {
    "log-normal over five decades": lambda r, n: r.lognormal(0, 2.5, n),
    "its negative": lambda r, n: -r.lognormal(0, 2.5, n),
    "log-uniform": lambda r, n: np.exp(r.uniform(-6, 6, n)),
    "exponential": lambda r, n: r.exponential(size=n),
    "Student's t": lambda r, n: r.standard_t(3, n),
    "a dilution series": lambda r, n: r.choice([0.1, 1, 10, 100, 1000], n),
    "rare events": lambda r, n: (r.random(n) < 0.02).astype(float),
    "counts": lambda r, n: r.poisson(0.1, n),
    "many zeros": lambda r, n: np.where(r.random(n) < 0.3, 0, r.uniform(10, 20, n)),
    "clipped": lambda r, n: np.clip(32767 * r.normal(size=n), -32768, 32767).astype(np.int16),
    "pressures about 999": lambda r, n: r.normal(999, 5, n).round(),
    "a large offset": lambda r, n: 99999 + r.normal(size=n),
}


@pytest.mark.parametrize("name", TAILS)
@pytest.mark.parametrize("n", [40, 400, 4000])
def test_real_tails_are_measurements(name, n):
    for seed in range(20):
        assert found(TAILS[name](np.random.default_rng(seed), n)) is None


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.uint16])
def test_the_end_of_an_integer_format_is_a_code(dtype):
    x = np.random.default_rng(0).normal(500, 100, (50, 1, 64)).astype(dtype)
    info = np.iinfo(dtype)
    for code in {info.max, info.min} - {0}:
        gap = x.copy()
        gap[3, 0, 5:9] = code
        assert found(gap)[:2] == (3, pytest.approx(code))


def spoilt(array, code, *where):
    array = array.copy()
    array[where] = code
    return array


RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(40, 2, 16)).astype(np.float32), RNG.uniform(size=(40, 2))


@pytest.mark.parametrize("code", [-9999, 9.96921e36, -32768.0, 1e20, -999, 1e30])
@pytest.mark.parametrize("sample", range(0, 40, 8))  # of all parts
def test_preparing_names_the_value_and_the_setting(make_config, make_arrays, code, sample):
    for x, t, name in (
        (X, spoilt(T, code, sample, 1), "target 1"),
        (spoilt(X, code, sample, 1, 3), T, "channel 1"),
    ):
        arrays = make_arrays(x, t, **{"dataset.downsample_factor": 1})
        with pytest.raises(DataError, match=rf"'{name}' must hold .* in sample {sample}, far"):
            prepare_data(make_config(**arrays))
        meant = make_config(**arrays, **{"dataset.accept_outliers": [name]})
        prepare_data(meant)
        with pytest.raises(DataError, match="dataset.accept_outliers"):  # meant then, not now
            prepare_data(make_config(**arrays))


def test_what_is_accepted_must_exist(make_config, make_arrays):
    arrays = make_arrays(X, T, **{"dataset.accept_outliers": ["nope"]})
    with pytest.raises(DataError, match="accept_outliers must name channels or targets .*'nope'"):
        prepare_data(make_config(**arrays))


def test_bundles_ask_as_well(settled):
    cfg, study = settled
    data = prepare_data(cfg)
    bundle = load_bundle(winner_directory(data.directory.parents[1], study.study_name) / "bundle")
    x, t = (np.load(source["path"]) for source in data.manifest["sources"])
    x, t = x[:12], t[:12]
    odd = spoilt(x, -9999, 5, 0, 2, 2)
    with pytest.raises(DataError, match=r"got -9999 in sample 5, far .* accept_outliers=True"):
        predict(bundle, odd)
    assert predict(bundle, odd, accept_outliers=True).is_new[5]
    with pytest.raises(DataError, match=r"got -9999 in sample 4, far .* accept_outliers=True"):
        evaluate(bundle, x, spoilt(t, -9999, 4, 1))
    evaluate(bundle, x, spoilt(t, -9999, 4, 1), accept_outliers=True)
    predict(bundle, 3 * x)  # another gain is new, but no code
