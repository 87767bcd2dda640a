from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_utils.base.errors import DataError
from hpo_utils.base.settings import DataSplitConfig
from hpo_utils.data.split import PARTS, n_folds_of, part_words, split_indices


def split_config(seed=42, train=0.70, val=0.15, test=0.15, **more):
    return DataSplitConfig(train_ratio=train, val_ratio=val, test_ratio=test, seed=seed, **more)


def assert_partition(split, n):
    joined = np.concatenate([split[part] for part in PARTS])
    np.testing.assert_array_equal(np.sort(joined), np.arange(n))


@settings(max_examples=50, deadline=None)
@given(n=st.integers(7, 400), seed=st.integers(0, 2**32 - 1))
def test_parts_never_overlap_and_have_their_shares(n, seed):
    split = split_indices(n, split_config(seed))
    assert_partition(split, n)
    for part, ratio in (("train", 0.70), ("val", 0.15), ("test", 0.15)):
        assert abs(len(split[part]) - ratio * n) <= 2


@settings(max_examples=50, deadline=None)
@given(groups=st.lists(st.integers(0, 9), min_size=40, max_size=200), seed=st.integers(0, 99))
def test_a_group_is_never_torn(groups, seed):
    groups = np.array([*range(10), *groups])
    split = split_indices(len(groups), split_config(seed), groups)
    assert_partition(split, len(groups))
    owners = [set(groups[split[part]]) for part in PARTS]
    assert sum(map(len, owners)) == len(set().union(*owners))


def test_known_sizes():
    sizes = {part: len(indices) for part, indices in split_indices(100, split_config()).items()}
    assert sizes == {"train": 70, "val": 15, "test": 15}


def test_the_seed_decides():
    first, again, other = (split_indices(50, split_config(seed))["test"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_group_ids_may_be_any_numbers_or_names():
    groups = np.array(["run b", "run a", "run c", "run a"])
    split = split_indices(4, split_config(), groups)
    assert_partition(split, 4)


@pytest.mark.parametrize(
    ("n", "groups", "message"),
    [
        (2, None, "each part of the split must get at least one sample.* of 2 samples"),
        (30, np.zeros(30), "of 1 groups .* use more groups or other ratios"),
    ],
)
def test_too_few_are_said(n, groups, message):
    with pytest.raises(DataError, match=message):
        split_indices(n, split_config(), groups)


def test_a_part_without_share_is_said():
    with pytest.raises(DataError, match="test got none"):
        split_indices(30, split_config(train=0.8, val=0.2, test=0.0))


def test_by_time_the_parts_follow_each_other_with_gaps_between():
    split = split_indices(100, split_config(method="time", gap=3))
    assert [(split[part][0], split[part][-1]) for part in PARTS] == [(0, 66), (70, 81), (85, 99)]


def test_by_time_a_group_stays_whole_and_in_its_place():
    groups = np.repeat([7, 3, 9, 1], 25)  # in this order in the file
    split = split_indices(100, split_config(method="time", train=0.5, val=0.25, test=0.25), groups)
    assert [set(groups[split[part]]) for part in PARTS] == [{7, 3}, {9}, {1}]


def test_at_random_groups_are_torn():
    groups = np.repeat(np.arange(10), 10)
    split = split_indices(100, split_config(method="random"), groups)
    assert_partition(split, 100)
    assert set(groups[split["train"]]) & set(groups[split["test"]])
    alone = split_indices(100, split_config())
    np.testing.assert_array_equal(split["test"], alone["test"])


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(12, 200),
    n_folds=st.integers(3, 12),
    method=st.sampled_from(["random", "time"]),
    seed=st.integers(0, 99),
)
def test_each_sample_tests_in_one_fold_and_validates_in_one(n, n_folds, method, seed):
    cfg, splits = split_config(seed, n_folds=n_folds, method=method), []
    for cfg.fold in range(n_folds):  # a configuration of its own for each takes long
        splits.append(split_indices(n, cfg))
    for split in splits:
        assert_partition(split, n)
        assert abs(len(split["test"]) - n / n_folds) <= 1
    for part in ("val", "test"):
        assert_partition({"train": [], "val": [], "test": [],
                          part: np.concatenate([split[part] for split in splits])}, n)  # fmt: skip


def test_folds_keep_groups_whole_and_gaps_between():
    groups = np.repeat(np.arange(12), 5)
    for fold in range(4):
        split = split_indices(60, split_config(n_folds=4, fold=fold), groups)
        owners = [set(groups[split[part]]) for part in PARTS]
        assert sum(map(len, owners)) == 12
    ends = {
        4: [(0, 56), (60, 76), (80, 99)],
        2: [(0, 99), (20, 36), (40, 59)],
        0: [(23, 76), (80, 99), (0, 19)],
    }
    for fold, expected in ends.items():  # the test part is whole, whatever lies beside it
        split = split_indices(100, split_config(n_folds=5, fold=fold, method="time", gap=3))
        assert [(split[part][0], split[part][-1]) for part in PARTS] == expected
    split = split_indices(100, split_config(n_folds=5, fold=2, method="time", gap=3))
    left_out = set(range(100)) - set(np.concatenate(list(split.values())).tolist())
    assert left_out == {17, 18, 19, 37, 38, 39, 60, 61, 62}
    with pytest.raises(DataError, match="fold 1 and fold 3 got none .* a smaller gap or fewer"):
        split_indices(100, split_config(n_folds=5, method="time", gap=25))


def test_fewer_groups_than_folds_are_said():
    message = "fold 4 and fold 5 got none of 4 groups in 6 folds: use more groups or fewer folds"
    with pytest.raises(DataError, match=message):
        split_indices(8, split_config(n_folds=6), np.repeat(np.arange(4), 2))


def test_by_group_needs_groups():
    with pytest.raises(DataError, match="dataset.groups names no file"):
        split_indices(100, split_config(method="group"))
    with pytest.raises(DataError, match="test got none"):
        split_indices(10, split_config(train=0.9, val=0.1, test=0.0, method="time"))
    for gap in (15, 16, 29, 30):  # a part that the gap swallows
        with pytest.raises(DataError, match="val got none"):
            split_indices(100, split_config(method="time", gap=gap))


@pytest.mark.parametrize("gap", [1, 3, 6])
@pytest.mark.parametrize("n_groups", [10, 16, 25, 40])
def test_a_gap_is_kept_where_groups_interleave_in_time(gap, n_groups):
    for seed in range(5):
        order = np.random.default_rng(seed)
        groups = np.minimum(np.arange(400) * n_groups // 400 + order.integers(0, 2, 400), n_groups)
        for config in (
            split_config(method="time", gap=gap),
            *(split_config(method="time", gap=gap, n_folds=5, fold=k) for k in range(5)),
        ):
            split = split_indices(400, config, groups)
            for one, other in combinations(PARTS, 2):
                apart = np.abs(split[one][:, None] - split[other])
                assert apart.min() > gap


def test_a_given_split_stays_whatever_the_ratios():
    words = part_words(np.array(["Training", "test", " val ", "cal", "test"]), 5)
    split = split_indices(5, split_config(), given=words)
    assert {part: rows.tolist() for part, rows in split.items()} == {
        "train": [0, 3], "val": [2], "test": [1, 4],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["Calibrate", "Validate", "Test"], ["train", "val", "test"]),
        (["Training Set", "test_set", "TestSet"], ["train", "test", "test"]),
        (["cal", "val", "cal"], ["train", "test", "train"]),
        (["Training", "Validation Set", "cal"], ["train", "test", "train"]),
    ],
)
def test_the_parts_are_known_by_what_people_call_them(words, parts):
    """A validation part beside a training part alone is the test part, as in chemometrics."""
    assert part_words(np.array(words), 3).tolist() == parts


@pytest.mark.parametrize("method", ["auto", "time"])
def test_without_a_given_validation_part_one_is_cut_from_training(method):
    words = np.repeat(["train", "test"], [85, 15])
    groups = np.arange(100) // 5
    split = split_indices(100, split_config(method=method), groups, words)
    assert split["test"].tolist() == list(range(85, 100))
    assert len(split["val"]) == 15
    assert not set(groups[split["val"]]) & set(groups[split["train"]])
    if method == "time":
        assert split["val"].min() > split["train"].max()


@pytest.mark.parametrize(
    "numbers",
    [
        [3, 1, 2, 1, 4],
        [3.0, 1.0, 2.0, 1.0, 4.0],
        list("31214"),
        ["3.0", "1.0", "2.0", "1.0", "4.0"],
        ["fold 3", "Fold 1", "fold2", "fold 1", "fold 14"],
    ],
)
def test_each_given_fold_tests_once_and_the_one_before_it_validates(numbers):
    given = part_words(np.array(numbers), 5)
    assert n_folds_of(given) == 4
    members = [[1, 3], [2], [0], [4]]
    for fold in range(4):
        split = split_indices(5, split_config(n_folds=4, fold=fold), given=given)
        assert split["test"].tolist() == members[fold]
        assert split["val"].tolist() == members[fold - 1]
        assert sorted(np.concatenate(list(split.values())).tolist()) == list(range(5))


def test_folds_beyond_a_limit_are_said():
    given = part_words(np.repeat(np.arange(4), 5), 20)[:10]
    with pytest.raises(DataError, match="must be 2, .* got 4: raise dataset.limit"):
        split_indices(10, split_config(n_folds=4), given=given)


def test_given_folds_and_settings_must_agree():
    folds, parts = (
        part_words(np.array(words), 4) for words in ([0, 1, 2, 2], ["train", "val", "test", "test"])
    )
    with pytest.raises(DataError, match=r"n_folds must be 3, .* got null"):
        split_indices(4, split_config(), given=folds)
    with pytest.raises(DataError, match=r"n_folds must be 3, .* got 4"):
        split_indices(4, split_config(n_folds=4), given=folds)
    with pytest.raises(DataError, match=r"got the words .*: set data_split.n_folds to null"):
        split_indices(4, split_config(n_folds=4), given=parts)
    with pytest.raises(DataError, match="got data_split.gap beside it"):
        split_indices(4, split_config(n_folds=3, method="time", gap=1), given=folds)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "maybe", "test"], "got maybe"),
        ([0, 1, 1], "must number 3 to 1000 folds, got 2"),
        ([0.5, 1.0, 2.0], "got 0.5"),
        ([0, -1, 2], "got -1"),
        (["train", "train", "train"], "got none to test"),
        (["train", "test"], "for each of 3 samples"),
    ],
)
def test_a_split_that_cannot_be_meant_is_refused(words, said):
    with pytest.raises(DataError, match=said):
        part_words(np.array(words), 3)


@pytest.mark.parametrize(
    ("n_train", "n_test", "val_ratio", "message"),
    [
        (8, 0, 0.15, "got none to test among the 8 in use"),
        (0, 8, 0.15, "got none to train among the 8 in use"),
        (6, 2, 0.0, "must be above 0 where dataset.split leaves"),
        (1, 7, 0.15, "must make two parts, got 1 samples"),
    ],
)
def test_a_given_split_leaves_no_part_empty(n_train, n_test, val_ratio, message):
    words = np.array(["train"] * n_train + ["test"] * n_test)
    cfg = split_config()
    cfg.val_ratio = val_ratio
    with pytest.raises(DataError, match=message):
        split_indices(len(words), cfg, given=words)
