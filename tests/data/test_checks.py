"""Shapes, labels, kinds of arrays: what is refused, and that the advice can be followed."""

import numpy as np
import pytest

from hpo_utils.base.errors import DataError
from hpo_utils.data.checks import real_array
from hpo_utils.data.preparation import prepare_data
from hpo_utils.data.split import group_ids

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(40, 64)).astype(np.float32), RNG.uniform(size=(40, 2))
PLAIN = {"dataset.downsample_factor": 1}


@pytest.mark.parametrize(
    "shape",
    [(256, 64), (128, 20), (100, 16), (32, 6), (16, 16, 3), (24, 24, 4), (30, 20, 5), (9, 8)],
)
def test_channels_that_come_last_are_noticed(make_config, make_arrays, shape):
    x = RNG.normal(size=(40, *shape)).astype(np.float32)
    with pytest.raises(DataError, match=r"channels first.*np\.moveaxis\(x, -1, 1\).*name them"):
        prepare_data(make_config(**make_arrays(x, T, **PLAIN)))
    named = {**PLAIN, "dataset.channel_names": [f"c{i}" for i in range(shape[-1])]}
    with pytest.raises(DataError, match=r"the channels come last, save np\.moveaxis\(x, -1, 1\)"):
        prepare_data(make_config(**make_arrays(x, T, **named)))
    data = prepare_data(make_config(**make_arrays(np.moveaxis(x, -1, 1), T, **PLAIN)))
    assert data.manifest["sample_shape"][1:] == list(shape[:-1])
    meant = {**PLAIN, "dataset.channel_names": [f"c{i}" for i in range(shape[0])]}
    assert prepare_data(make_config(**make_arrays(x, T, **meant))).input_shape("test")[1:] == shape


def test_samples_that_come_last_are_noticed(make_config, make_arrays):
    with pytest.raises(DataError, match=r"same number of samples.*np\.moveaxis\(x, -1, 0\)"):
        prepare_data(make_config(**make_arrays(X.T, T)))


@pytest.mark.parametrize(
    "label", ["nan", "NaN", "None", "", "  ", "null", "NaT", "<NA>", "N/A", "NA", "#N/A"]
)
def test_a_label_that_means_none_is_refused(label):
    ids = np.array([f"run {i // 4}" for i in range(40)])
    ids[5] = label
    for each in (ids, ids.astype("S")):
        with pytest.raises(DataError, match="got .* for sample 5 .*groups of their own"):
            group_ids(each, 40)
    ids[5] = "run own"  # as it says
    assert len(np.unique(group_ids(ids, 40))) == 11


@pytest.mark.parametrize("label", ["nan", "None", "", " ", "null", "<NA>", "n/a"])
@pytest.mark.parametrize("key", ["target_names", "axis_names", "channel_names"])
def test_so_is_a_name_of_a_target_a_channel_or_an_axis(make_config, make_arrays, label, key):
    names = [label, "b"] if key == "target_names" else [label]
    with pytest.raises(DataError, match=f"{key} must hold names, got '{label}'"):
        prepare_data(make_config(**make_arrays(X, T, **{**PLAIN, f"dataset.{key}": names})))


def test_integers_that_were_nan_are_no_groups():
    ids = np.arange(40) // 4
    ids[3] = np.iinfo(ids.dtype).min
    with pytest.raises(DataError, match="for sample 3 "):
        group_ids(ids, 40)
    assert len(group_ids(np.array([f"Na {i}" for i in range(4)]), 4)) == 4


RUNS = np.array([f"run {i // 4}" for i in range(40)])
DAYS = np.datetime64("2026-01-01") + np.arange(40) // 4
GROUPS = {
    "pandas labels": RUNS.astype(object),
    "dates": DAYS,
    "durations": DAYS - DAYS[0],
    "complex": np.arange(40) // 4 * 1j,
    "mixed": np.array([*RUNS[:20], *range(20)], dtype=object),
}


@pytest.mark.parametrize("name", GROUPS)
def test_the_advice_on_groups_can_be_followed(make_config, make_arrays, tmp_path, name):
    file = tmp_path / "g.npy"
    np.save(file, GROUPS[name], allow_pickle=True)
    arrays = make_arrays(X, T, **PLAIN, **{"dataset.groups": str(file)})
    with pytest.raises(DataError, match=r"numbers or names.*astype\(str\)"):
        prepare_data(make_config(**arrays))
    with pytest.raises(DataError, match=r"numbers or names.*astype\(str\)"):
        group_ids(GROUPS[name], 40, "groups")
    np.save(file, GROUPS[name].astype(str))
    assert prepare_data(make_config(**arrays)).manifest["n_groups"] >= 10


RAGGED = np.empty(40, object)
for i in range(40):
    RAGGED[i] = X[i, : 20 + i % 7]
SECONDS = np.datetime64("2026-01-01", "s") + (1000 * T).astype(int)
INPUTS = {  # what is given, what the advice says, what it leads to
    "ragged": (RAGGED, "cut or padded", np.stack([each[:20] for each in RAGGED])),
    "numbers as objects": (
        X.astype(object), r"x\.tolist\(\)", np.array(X.tolist(), dtype="float64")
    ),
    "complex": (X + 1j, "two channels", np.stack([X, X + 1], axis=1)),
    "text": (X.astype(str), r"astype\('float64'\)", X.astype(str).astype("float64")),
    "records": (
        np.array([[(v, v + 1) for v in row] for row in X], "f4,f4"),
        "structured_to_unstructured",
        np.moveaxis(np.stack([X, X + 1], axis=-1), -1, 1),
    ),
    "dates": (
        np.datetime64("2026-01-01", "s") + (1000 * X).astype(int), "timedelta64",
        (1000 * X).astype(int) - (1000 * X).astype(int).min(),
    ),
}  # fmt: skip
TARGETS = {
    "complex": (T + 1j * T**2, "two targets", np.concatenate([T, T**2], axis=1)),
    "numbers as objects": (
        T.astype(object), r"t\.tolist\(\)", np.array(T.astype(object).tolist(), dtype="float64")
    ),
    "text": (T.astype(str), r"astype\('float64'\)", T.astype(str).astype("float64")),
    "dates": (SECONDS, "timedelta64", (SECONDS - SECONDS.min()) / np.timedelta64(1, "s")),
    "durations": (
        SECONDS - SECONDS.min(), "timedelta64",
        (SECONDS - SECONDS.min()) / np.timedelta64(1, "s"),
    ),
    "tiny": (T * 1e-50, "multiplying it by 1e50|by 1e51", T * 1e-50 * 1e50),
    "as tiny as it gets": (T * 1e-300, "multiplying it by 1e30", T * 1e-300 * 1e300),
    "huge": (T * 1e300, "another unit", T),
    "a large offset": (1e9 + T, "subtract a constant", T),
    "an offset of its own size": (1e-3 * T + 1e6, "subtract a constant", 1e-3 * T),
}  # fmt: skip


@pytest.mark.parametrize("name", INPUTS)
def test_the_advice_on_inputs_can_be_followed(make_config, make_arrays, name):
    given, advice, followed = INPUTS[name]
    with pytest.raises(DataError, match=advice):
        prepare_data(make_config(**make_arrays(given, T, **PLAIN)))
    with pytest.raises(DataError, match=advice):
        real_array(given, "x")
    prepare_data(make_config(**make_arrays(followed, T, **PLAIN)))


@pytest.mark.parametrize("name", TARGETS)
def test_the_advice_on_targets_can_be_followed(make_config, make_arrays, name):
    given, advice, followed = TARGETS[name]
    with pytest.raises(DataError, match=advice):
        prepare_data(make_config(**make_arrays(X, given, **PLAIN)))
    prepare_data(make_config(**make_arrays(X, followed, **PLAIN)))


def test_what_lies_under_a_mask_is_not_measured():
    masked = np.ma.masked_array(X, mask=X > 2)
    with pytest.raises(DataError, match="x must have no masked values"):
        real_array(masked, "x")
    assert real_array(np.ma.masked_array(X), "x").shape == X.shape


@pytest.mark.parametrize("whole", [100.0, 1000.0, 1e6])
def test_fractions_of_another_whole_are_to_be_divided(make_config, make_arrays, whole):
    shares = np.stack([0.2 + 0.1 * T[:, 0], 0.8 - 0.1 * T[:, 0]], axis=1)
    of = {**PLAIN, "dataset.target_names": ["a", "b"], "dataset.fractions": ["a", "b"]}
    with pytest.raises(DataError, match=f"divide them by {whole:g}".replace("+", r"\+")):
        prepare_data(make_config(**make_arrays(X, whole * shares, **of)))
    prepare_data(make_config(**make_arrays(X, shares, **of)))
    one = {**PLAIN, "dataset.target_names": ["a", "b"], "dataset.fractions": ["a"]}
    with pytest.raises(DataError, match="divide them by 100, as they are in percent"):
        prepare_data(make_config(**make_arrays(X, 100 * shares, **one)))
    twice = {**PLAIN, "dataset.target_names": ["a", "b"], "dataset.fractions": ["a", "b", "a"]}
    with pytest.raises(DataError, match="fractions must name each target once, got 'a' twice"):
        prepare_data(make_config(**make_arrays(X, shares, **twice)))


def test_groups_of_an_evaluation_are_checked_alike():
    with pytest.raises(DataError, match="which says that there is none"):
        group_ids(np.array(["a", "nan"]), 2, "groups")
