"""Folds that validate in turn, and the data that judge trainings on them."""

import numpy as np
import pytest

from hpo_utils.data.preparation import prepare_data
from hpo_utils.data.prepared import judged_on


def signals(n_samples):
    return np.random.default_rng(0).normal(size=(n_samples, 1, 16)).astype(np.float32)


@pytest.fixture
def few(make_config, make_arrays, tmp_path):
    """A configuration with 40 samples in 20 groups, of which 6 validate, and its data."""
    np.save(tmp_path / "groups.npy", np.arange(40) // 2)
    groups = {"dataset.groups": str(tmp_path / "groups.npy"), "evaluation.score_folds": 4}
    cfg = make_config(**make_arrays(signals(40)), **groups)
    return cfg, prepare_data(cfg)


def test_folds_validate_other_samples_and_keep_groups_together(few):
    cfg, data = few
    own, *further = data.val_folds(cfg)
    assert own is data
    assert len(further) == 3
    seen = [set(data.sample_numbers("val").tolist())]
    pool = seen[0] | set(data.sample_numbers("train").tolist())
    for fold in further:
        val, train = (set(fold.sample_numbers(part).tolist()) for part in ("val", "train"))
        assert val | train == pool
        assert not val & train
        assert not any(val & other for other in seen)
        assert not set(fold.groups("val").tolist()) & set(fold.groups("train").tolist())
        assert fold.input_shape("val") == fold.inputs("val").shape
        assert fold.sample_numbers("test").tolist() == data.sample_numbers("test").tolist()
        seen.append(val)
    assert len({fold.dataset_id for fold in (own, *further)}) == 4


def test_a_configuration_names_its_fold(few):
    cfg, data = few
    assert data.used_by(cfg) is data
    cfg.data_split.val_fold = 2
    assert data.used_by(cfg).dataset_id == data.val_folds(cfg)[2].dataset_id
    assert prepare_data(cfg).dataset_id == data.dataset_id  # the same arrays serve all folds


def test_by_time_only_what_comes_before_trains(make_config, make_arrays):
    by_time = {"data_split.method": "time", "data_split.gap": 1, "evaluation.score_folds": 3}
    cfg = make_config(**make_arrays(), **by_time)
    data = prepare_data(cfg)
    for fold in data.val_folds(cfg)[1:]:
        assert fold.sample_numbers("train").max() < fold.sample_numbers("val").min() - 1


@pytest.mark.parametrize(
    ("n_samples", "asked", "method", "count"),
    [
        (400, None, "auto", 1),  # 60 samples validate
        (260, None, "auto", 4),  # 39
        (80, None, "auto", 5),  # 12, but no more folds than that
        (80, None, "time", 1),
        (40, 100, "auto", 5),  # no more than there are samples for
    ],
)
def test_a_small_validation_part_gets_further_folds_by_itself(
    make_config, make_arrays, n_samples, asked, method, count
):
    cfg = make_config(**make_arrays(signals(n_samples)), **{"data_split.method": method})
    cfg.evaluation.score_folds = asked
    assert len(prepare_data(cfg).val_folds(cfg)) == count


def test_by_time_one_part_validates_in_the_race(make_config, make_arrays):
    by_time = {"data_split.method": "time", "evaluation.race_folds": 5}
    cfg = make_config(**make_arrays(), **by_time)
    assert len(prepare_data(cfg).race_folds(cfg)) == 1


@pytest.mark.parametrize(
    ("in_search", "asked", "count"), [(1, None, 1), (1, 3, 3), (1, 100, 5), (2, 4, 2), (2, None, 2)]
)
def test_more_parts_may_validate_in_the_race(make_config, make_arrays, in_search, asked, count):
    """Where several validate in the search, the race takes these."""
    cfg = make_config(**make_arrays(signals(40)))
    cfg.evaluation.score_folds, cfg.evaluation.race_folds = in_search, asked
    data = prepare_data(cfg)
    assert len(data.val_folds(cfg)) == in_search
    assert len(data.race_folds(cfg)) == count


def test_trainings_are_judged_on_the_samples_that_they_left_out(few):
    cfg, data = few
    assert judged_on(data, cfg, [0, 0]) is data
    judged, folds = judged_on(data, cfg, [0, 2, 3]), data.val_folds(cfg)
    wanted = np.concatenate([folds[k].sample_numbers("val") for k in (0, 2, 3)])
    assert sorted(judged.sample_numbers("val")) == sorted(wanted)
    assert judged.input_shape("val")[0] == len(wanted) == len(judged.groups("val"))
    for k, fold in judged.folds.items():
        assert np.array_equal(judged.inputs("val")[judged.places(k)], fold.inputs("val"))
        assert np.array_equal(judged.targets("val")[judged.places(k)], fold.targets("val"))
    n_pooled = data.input_shape("train")[0] + data.input_shape("val")[0]
    assert judged.input_shape("train")[0] == n_pooled
    assert judged.as_given().dataset_id == data.dataset_id
