"""What holds for every input: splits, scalers, the search space, merged settings, file names."""

import numpy as np
import optuna
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hpo_utils.base.config import (
    as_dict,
    config_from_dict,
    load_config,
    updated,
    with_target_weights,
)
from hpo_utils.base.errors import ConfigError, DataError
from hpo_utils.base.parameters import split_overrides
from hpo_utils.base.paths import write_json, write_text, write_yaml
from hpo_utils.base.settings import DataSplitConfig
from hpo_utils.data.scaling import RunningStatistics, Standardizer
from hpo_utils.data.split import split_indices
from hpo_utils.trials.search_space import contains, load_search_space, suggest_hyperparameters

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
shares = st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20))
CONFIG = with_target_weights(load_config(), 3)
SPACE = load_search_space(CONFIG, 3)


def split_config(counts, **more):
    total = sum(counts)
    ratios = [count / total for count in counts]
    ratios[0] = 1.0 - ratios[1] - ratios[2]
    return DataSplitConfig(*ratios, **more)


@quick
@given(st.integers(3, 400), shares, st.integers(0, 1000))
def test_a_random_split_deals_out_every_sample_once(n_samples, counts, seed):
    cfg = split_config(counts, method="random", seed=seed)
    try:
        split = split_indices(n_samples, cfg, None)
    except DataError:
        return
    joined = np.concatenate(list(split.values()))
    assert sorted(joined) == list(range(n_samples))
    again = split_indices(n_samples, cfg, None)
    assert all(np.array_equal(split[part], again[part]) for part in split)


@quick
@given(st.lists(st.integers(0, 30), min_size=8, max_size=300), shares)
def test_a_split_by_group_tears_no_group(ids, counts):
    try:
        split = split_indices(len(ids), split_config(counts, method="group"), np.array(ids))
    except DataError:
        return
    groups = [set(np.array(ids)[index]) for index in split.values()]
    assert sum(len(group) for group in groups) == len(set(ids))
    assert sum(len(index) for index in split.values()) == len(ids)


@quick
@given(st.integers(10, 400), shares, st.integers(0, 5))
def test_a_split_by_time_keeps_the_order_and_the_gaps(n_samples, counts, gap):
    try:
        split = split_indices(n_samples, split_config(counts, method="time", gap=gap), None)
    except DataError:
        return
    train, val, test = (split[part] for part in ("train", "val", "test"))
    assert train.max() + gap < val.min()
    assert val.max() + gap < test.min()


arrays = hnp.arrays(
    np.float32, st.tuples(st.integers(2, 30), st.integers(1, 4)),
    elements=st.floats(-1e6, 1e6, width=32),
)  # fmt: skip


@quick
@given(arrays, st.integers(1, 29))
def test_statistics_in_pieces_are_those_of_the_whole(values, cut):
    pieces = RunningStatistics(values.shape[1])
    pieces.update(values[:cut])
    pieces.update(values[cut:])
    wide = values.astype(np.float64)
    np.testing.assert_allclose(pieces.mean, wide.mean(0), rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(pieces.std, wide.std(0), rtol=1e-4, atol=1e-2)


@quick
@given(arrays)
def test_a_scaler_gives_back_what_it_got(values):
    scaler = Standardizer(values.mean(0, dtype=float), values.std(0, dtype=float) + 1.0)
    back = scaler.inverse(scaler.transform(values))
    np.testing.assert_allclose(back, values, rtol=1e-4, atol=1e-4 * (1 + np.abs(values).max()))


@quick
@given(st.integers(0, 2**32 - 1))
def test_what_is_suggested_fits_and_comes_back(seed):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    cfg = suggest_hyperparameters(trial, CONFIG, SPACE)
    for name, value in trial.params.items():
        assert contains(SPACE.distributions[name], value)
    assert SPACE.values_in(cfg) == trial.params
    assert SPACE.fit(trial.params, CONFIG) == trial.params
    assert as_dict(config_from_dict(yaml.safe_load(yaml.safe_dump(as_dict(cfg))))) == as_dict(cfg)


values = st.fixed_dictionaries({}, optional={
    "model.hidden": st.integers(1, 4096), "model.dropout_rate": st.floats(0, 0.95),
    "training.epochs": st.integers(1, 10**6), "study.n_trials": st.integers(1, 1000),
    "training.learning_rate": st.floats(1e-8, 10), "study.timeout": st.floats(0, 1e9),
})  # fmt: skip


@quick
@given(values, values)
def test_the_later_layer_wins_and_the_rest_stays(first, second):
    merged = as_dict(updated(updated(CONFIG, first), second))
    expected = as_dict(CONFIG)
    for key, value in {**first, **second}.items():
        section, name = key.split(".")
        expected[section][name] = value
    assert merged == expected


@quick
@given(values)
def test_what_a_notebook_is_told_is_what_it_does(changes):
    text = " ".join(f"{key}={value!r}" for key, value in changes.items())
    cfg = as_dict(load_config(None, split_overrides(text)))
    for key, value in changes.items():
        section, name = key.split(".")
        assert cfg[section][name] == value


@quick
@given(st.text(max_size=40))
def test_no_name_leads_out_of_the_results(name):
    try:
        cfg = updated(CONFIG, {"study.name": name})
    except ConfigError:
        return
    assert not {"/", "\\", ".", "\0", ":"} & set(cfg.study.name)


@quick
@given(st.text(), st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.none())))
def test_files_hold_what_was_written(tmp_path, text, content):
    write_text(tmp_path / "a.txt", text.encode("utf-8", "replace").decode().replace("\r", ""))
    write_json(tmp_path / "a.json", {"a": 1})
    assert [file.name for file in tmp_path.iterdir() if "partial" in file.name] == []
    plain = {k: v for k, v in content.items() if k.isprintable()
             and (not isinstance(v, str) or v.isprintable())}  # fmt: skip
    write_yaml(tmp_path / "a.yaml", plain)
    assert yaml.safe_load((tmp_path / "a.yaml").read_text(encoding="utf-8")) == plain


@pytest.mark.parametrize("name", ["名前", "a-b_c", "Größe1"])
def test_names_may_be_in_any_script(name):
    assert updated(CONFIG, {"study.name": name}).study.name == name
