import json

import numpy as np
import pytest

from hpo_utils.base.config import load_config, updated
from hpo_utils.base.errors import DataError, HpoError
from hpo_utils.data import preparation
from hpo_utils.data.checks import channel_indices
from hpo_utils.data.labels import axis_positions
from hpo_utils.data.preparation import prepare_data
from hpo_utils.data.split import PARTS
from hpo_utils.formats import sources


def all_files(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def whole(data, read):
    """Put the parts back in the order of the source."""
    pieces = [read(part) for part in PARTS]
    order = np.argsort(np.concatenate([data.sample_numbers(part) for part in PARTS]))
    return np.concatenate(pieces)[order]


def test_parts_hold_the_source_standardised_by_the_training_part(make_config, make_arrays):
    rng = np.random.default_rng(1)
    x = rng.normal(5.0, 3.0, size=(40, 4, 6, 7)).astype(np.float32)
    t = rng.normal(2.0, 9.0, size=(40, 2)).astype(np.float32)
    data = prepare_data(make_config(**make_arrays(x, t)))
    train = data.sample_numbers("train")
    kept = x[:, [0, 2]].astype(np.float64)
    mean, std = kept[train].mean(axis=(0, 2, 3)), kept[train].std(axis=(0, 2, 3))
    expected = (kept - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(whole(data, data.inputs), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(whole(data, data.targets), t)
    z = data.target_scaler.transform(data.targets("train"))
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-5)


@pytest.mark.parametrize("shape", [(30, 16), (30, 3, 16), (30, 4, 8, 6)])
def test_all_layouts(make_config, make_arrays, shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    data = prepare_data(make_config(**make_arrays(x)))
    channels = {2: 1, 3: 3, 4: 2}[len(shape)]
    axes = shape[1:] if len(shape) == 2 else shape[2:]
    assert data.inputs("train").shape == (data.manifest["n_samples"]["train"], channels, *axes)
    assert isinstance(data.inputs("train"), np.memmap)


def test_downsampling_strides_along_h_or_l(make_config, make_arrays):
    x = np.random.default_rng(0).normal(size=(30, 3, 17)).astype(np.float32)
    data = prepare_data(make_config(**make_arrays(x)))
    full = data.inputs("val")
    np.testing.assert_array_equal(data.inputs("val", 4), full[:, :, ::4])
    assert data.inputs("val", 4).shape[2] == 5


def test_npz_targets_of_one_axis_and_a_limit(make_config, tmp_path):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(50, 12)), rng.integers(0, 9, 50)
    np.savez_compressed(tmp_path / "both.npz", x=x, t=t)
    both = str(tmp_path / "both.npz")
    cfg = make_config(**{"dataset.x_train": both, "dataset.t_train": both, "dataset.x_key": "x",
                         "dataset.t_key": "t", "dataset.limit": 20})  # fmt: skip
    data = prepare_data(cfg)
    assert sum(data.manifest["n_samples"].values()) == 20
    np.testing.assert_array_equal(whole(data, data.targets)[:, 0], t[:20])


def test_a_second_call_does_nothing(make_config, make_arrays, monkeypatch, tmp_path):
    cfg = make_config(**make_arrays())
    first = prepare_data(cfg)
    before = {f: f.stat().st_mtime_ns for f in first.directory.iterdir()}
    monkeypatch.setattr(preparation, "_prepare", None)  # would raise if it were called
    second = prepare_data(cfg)
    assert second.dataset_id == first.dataset_id
    assert {f: f.stat().st_mtime_ns for f in first.directory.iterdir()} == before
    assert second.manifest == first.manifest


def test_other_content_or_settings_are_other_data(make_config, make_arrays):
    arrays = make_arrays()
    ids = {prepare_data(make_config(**arrays)).dataset_id}
    ids.add(prepare_data(make_config("data_split.seed=1", **arrays)).dataset_id)
    ids.add(prepare_data(make_config(**arrays, **{"dataset.exclude_channels": [3]})).dataset_id)
    changed = make_arrays(
        np.ones((40, 4, 8, 12)) * np.random.default_rng(5).normal(size=(40, 4, 8, 12))
    )
    ids.add(prepare_data(make_config(**changed)).dataset_id)
    assert len(ids) == 4


def test_data_of_an_earlier_version_are_made_anew(make_config, make_arrays):
    cfg = make_config(**make_arrays())
    first = prepare_data(cfg)
    expected = first.inputs("train").copy()
    np.save(first.directory / "x_train.npy", np.zeros_like(expected))
    manifest = json.loads((first.directory / "manifest.json").read_text())
    (first.directory / "manifest.json").write_text(json.dumps({**manifest, "version": 0}))
    again = prepare_data(cfg)
    assert again.directory == first.directory
    np.testing.assert_array_equal(again.inputs("train"), expected)


def test_a_touched_file_is_the_same_data(make_config, make_arrays, tmp_path):
    cfg = make_config(**make_arrays())
    first = prepare_data(cfg)
    (tmp_path / "x.npy").touch()
    assert prepare_data(cfg).dataset_id == first.dataset_id
    stamp = json.loads((first.directory / "manifest.json").read_text())["sources"][0]["mtime_ns"]
    assert stamp == (tmp_path / "x.npy").stat().st_mtime_ns


def test_groups_stay_together(make_config, make_arrays, tmp_path):
    groups = np.repeat(np.arange(10), 4)
    np.save(tmp_path / "groups.npy", groups)
    cfg = make_config(**make_arrays(**{"dataset.groups": str(tmp_path / "groups.npy")}))
    data = prepare_data(cfg)
    owners = [set(groups[data.sample_numbers(part)]) for part in PARTS]
    assert sum(map(len, owners)) == 10


def test_neighbours_in_time_count_as_one(make_config, make_arrays):
    data = prepare_data(make_config(**make_arrays()))
    assert data.independent_units("test") is None
    data = prepare_data(make_config("data_split.method=time", **make_arrays()))
    units = data.independent_units("train")
    assert np.bincount(units).tolist() == [4, 3] * 4
    assert (np.diff(units) >= 0).all()
    assert data.independent_units("test").tolist() == list(
        range(data.manifest["n_samples"]["test"])
    )
    many = make_arrays(np.random.default_rng(0).normal(size=(600, 8)))
    data = prepare_data(make_config("data_split.method=time", **many))
    assert len(np.unique(data.independent_units("train"))) == 20  # the root of 420


def test_pieces_of_any_size_give_the_same_data(make_config, make_arrays, monkeypatch):
    arrays = make_arrays()
    first = prepare_data(make_config(**arrays))
    monkeypatch.setattr(sources, "CHUNK_BYTES", 1)
    second = prepare_data(make_config(**arrays, **{"dataset.name": "again"}))
    for part in PARTS:
        np.testing.assert_array_equal(first.inputs(part), second.inputs(part))


def test_the_demo_data_are_made_once_and_named(make_config):
    cfg = make_config()
    data = prepare_data(cfg)
    assert data.target_names[1] == "Gas Velocity"
    assert data.target_units == ["m/s"] * 3 + ["-"] * 3
    assert data.manifest["channels"] == [0, 2]
    assert data.manifest["saturated_channels"] == [1, 3]
    assert cfg.dataset.x_train is None  # the configuration stays as it was given


def test_channels_that_seem_to_come_last_must_be_named(make_config, make_arrays):
    x = np.random.default_rng(0).normal(size=(60, 64, 2))
    with pytest.raises(DataError, match=r"channels first, got shape \(60, 64, 2\): .*moveaxis"):
        prepare_data(make_config(**make_arrays(x)))
    named = {"dataset.channel_names": [f"sensor {i}" for i in range(64)]}
    assert prepare_data(make_config(**make_arrays(x), **named)).input_shape("val")[1:] == (64, 2)


def test_default_channels(make_arrays):
    def source(n_channels):
        return sources.ArraySource(None, None, (5, n_channels, 9), np.dtype("f4"), False)

    assert channel_indices(source(4), None) == [0, 2]
    assert channel_indices(source(8), None) == list(range(8))
    assert channel_indices(source(4), []) == [0, 1, 2, 3]


def bad_arrays():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(40, 4, 8, 12)), rng.normal(size=(40, 2))

    def with_value(array, where, value):
        changed = array.copy()
        changed[where] = value
        return changed

    yield "x of one axis", x[:, 0, 0, 0], t, {}, "shape .N, L., .* got \\(40,\\)"
    yield "x of five axes", x[..., None], t, {}, "got \\(40, 4, 8, 12, 1\\)"
    yield "x without samples", x[:0], t, {}, "without an empty axis, got \\(0, 4"
    yield (
        "t of three axes",
        x,
        t[..., None],
        {},
        "dataset.t_train must have shape .* \\(40, 2, 1\\)",
    )
    yield "lengths differ", x, t[:-1], {}, "same number of samples, got 40 and 39"
    yield "x with NaN", with_value(x, (7, 2, 0, 0), np.nan), t, {}, "nan in sample 7, channel 2"
    yield (
        "x with infinity",
        with_value(x, (7, 0, 1, 0), np.inf),
        t,
        {},
        "inf in sample 7, channel 0",
    )
    yield "x beyond float32", with_value(x, (7, 0, 1, 0), 1e39), t, {}, "1e\\+39 in sample 7"
    yield "t with NaN", x, with_value(t, (3, 1), np.nan), {}, "nan for 'target 1' in sample 3"
    yield "objects", x.astype(object), t, {}, "must hold real numbers, got dtype object"
    yield "complex", x.astype(complex), t, {}, "complex128 in .*: save real and imaginary"
    yield "two samples", x[:2], t[:2], {}, "each part of the split must get at least one"
    yield (
        "constant target",
        x,
        with_value(t, (slice(None), 1), 4),
        {},
        "target 'target 1' must vary",
    )
    yield "constant channel", with_value(x, (slice(None), 2), 4), t, {}, "channel 2 .* must vary"
    yield (
        "channel out of range",
        x,
        t,
        {"dataset.exclude_channels": [4]},
        "between 0 and 3, got \\[4\\]",
    )
    yield "no channel left", x, t, {"dataset.exclude_channels": [0, 1, 2, 3]}, "at least one of 4"
    yield (
        "float16 infinity",
        with_value(x.astype(np.float16), (7, 0, 1, 0), np.inf),
        t,
        {},
        "inf in s",
    )
    yield (
        "constant by rounding",
        with_value(x, (slice(None), 2), 0.1),
        t,
        {},
        "channel 2 .* must vary",
    )
    yield "wrong names", x, t, {"dataset.target_names": ["a"]}, "must have 2 entries .* got 1: a"
    yield "same names", x, t, {"dataset.target_names": ["a", "a"]}, "must differ from each other"
    yield (
        "missing groups",
        x,
        t,
        {"dataset.groups": "no.npy"},
        "dataset.groups must name an existing",
    )


@pytest.mark.parametrize(
    ("x", "t", "settings", "message"),
    [pytest.param(*row[1:], id=row[0]) for row in bad_arrays()],
)
def test_bad_arrays_are_one_sentence_and_change_nothing(
    make_config, make_arrays, tmp_path, x, t, settings, message
):
    cfg = make_config(**make_arrays(x, t, **settings))
    before = all_files(tmp_path)
    with pytest.raises(HpoError, match=message) as caught:
        prepare_data(cfg)
    assert "\n" not in str(caught.value)
    assert all_files(tmp_path) == before


def test_bad_values_in_a_channel_that_is_left_out_do_no_harm(make_config, make_arrays):
    x = np.random.default_rng(0).normal(size=(40, 4, 8, 12))
    x[3, 1] = np.nan
    x[:, 3] = np.inf
    data = prepare_data(make_config(**make_arrays(x)))
    assert np.isfinite(data.inputs("train")).all()


def test_groups_of_another_length(make_config, make_arrays, tmp_path):
    for n in (39, 41):
        np.save(tmp_path / "groups.npy", np.arange(n))
        cfg = make_config(**make_arrays(**{"dataset.groups": str(tmp_path / "groups.npy")}))
        with pytest.raises(DataError, match=rf"one id for each of 40 samples, got shape \({n},\)"):
            prepare_data(cfg)


def test_groups_may_have_names(make_config, make_arrays, tmp_path):
    np.savez(tmp_path / "groups.npz", run=np.repeat(["a", "b", "c", "d"], 10), day=np.arange(40))
    groups = {"dataset.groups": str(tmp_path / "groups.npz"), "dataset.groups_key": "run"}
    data = prepare_data(make_config(**make_arrays(**groups)))
    assert data.manifest["n_groups"] == 4
    assert all(n % 10 == 0 for n in data.manifest["n_samples"].values())


def test_names_and_units_are_labels_not_data(make_config, make_arrays):
    arrays = make_arrays()
    first = prepare_data(make_config(**arrays))
    written = (first.directory / "x_train.npy").stat().st_mtime_ns
    names = {"dataset.target_names": ["a", "b"], "dataset.target_units": ["m", "s"]}
    second = prepare_data(make_config(**arrays, **names))
    assert second.dataset_id == first.dataset_id
    assert (second.target_names, second.target_units) == (["a", "b"], ["m", "s"])
    assert (first.directory / "x_train.npy").stat().st_mtime_ns == written


def test_axes_have_ranges_of_their_own_or_are_counted(make_config, make_arrays):
    arrays = make_arrays(np.random.default_rng(0).normal(size=(30, 3, 5, 6)))
    assert [list(p) for p in axis_positions(prepare_data(make_config(**arrays)).manifest, 2)] == [
        [0, 2, 4], [0, 1, 2, 3, 4, 5],
    ]  # fmt: skip
    ranges = {"dataset.axis_ranges": [[0, 2.0], [850, 800]]}
    manifest = prepare_data(make_config(**arrays, **ranges)).manifest
    assert [list(p) for p in axis_positions(manifest)] == [
        [0, 0.5, 1, 1.5, 2], [850, 840, 830, 820, 810, 800],
    ]  # fmt: skip
    for wrong in ([[0, 1]], [[0, 1], [2]], [[0, 1], [3, 3]]):
        with pytest.raises(DataError, match=r"axis_ranges must hold two different values"):
            prepare_data(make_config(**arrays, **{"dataset.axis_ranges": wrong}))


def test_data_still_being_made_are_not_taken(make_config, make_arrays):
    cfg = make_config(**make_arrays())
    first = prepare_data(cfg)
    first.directory.rename(first.directory.with_name(".demo-1.partial"))
    assert prepare_data(cfg).directory == first.directory


def test_an_interrupted_preparation_leaves_nothing(make_config, make_arrays, monkeypatch, tmp_path):
    cfg = make_config(**make_arrays())

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(preparation, "_write_inputs", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare_data(cfg)
    assert not list((tmp_path / "runs" / "data").iterdir())


def test_data_that_come_with_their_split_keep_it(make_config, make_arrays, tmp_path):
    words = np.array(["test"] * 10 + ["train"] * 22 + ["val"] * 8)
    np.save(tmp_path / "split.npy", words)
    cfg = make_config(**make_arrays(), **{"dataset.split": str(tmp_path / "split.npy")})
    data = prepare_data(cfg)
    for part in ("train", "val", "test"):
        assert data.sample_numbers(part).tolist() == np.flatnonzero(words == part).tolist()
    assert prepare_data(cfg).directory == data.directory
    np.save(tmp_path / "split.npy", words[::-1])
    assert prepare_data(cfg).dataset_id != data.dataset_id
    with pytest.raises(DataError, match=r"set data_split.n_folds to null"):
        prepare_data(updated(cfg, {"data_split.n_folds": 4}))


def test_given_folds_are_divided_by_no_further_validation_part(make_config, make_arrays, tmp_path):
    np.save(tmp_path / "folds.npy", np.repeat([1, 2, 3, 4], 10))
    own = {"dataset.split": str(tmp_path / "folds.npy"), "data_split.n_folds": 4}
    cfg = make_config(**make_arrays(), **own, **{"evaluation.score_folds": None})
    for fold in range(4):
        data = prepare_data(updated(cfg, {"data_split.fold": fold}))
        assert data.sample_numbers("test").tolist() == list(range(10 * fold, 10 * fold + 10))
        assert data.val_folds(cfg) == [data]
    with pytest.raises(
        DataError, match="score_folds must be 1 or null where dataset.split numbers"
    ):
        data.val_folds(updated(cfg, {"evaluation.score_folds": 3}))


def test_the_noise_of_the_inputs_is_kept_and_checked(make_config, make_arrays):
    n_channels = len(prepare_data(make_config(**make_arrays())).manifest["channel_names"])
    noise = [0.5, *[0.0] * (n_channels - 1)]
    cfg = make_config(**make_arrays(**{"dataset.input_noise": noise}))
    assert prepare_data(cfg).manifest["input_noise"] == noise
    for wrong in ([*noise, 0.1], [-0.1] * n_channels, [float("nan")] * n_channels):
        cfg = make_config(**make_arrays(**{"dataset.input_noise": wrong}))
        with pytest.raises(DataError, match="a standard deviation, 0 or more, for each of"):
            prepare_data(cfg)


def test_the_repeatability_of_the_reference_is_kept_and_checked(make_config, make_arrays):
    given = {"dataset.target_repeatability": [0.5, None]}
    assert prepare_data(make_config(**make_arrays(**given))).manifest["target_repeatability"] == [
        0.5, None,
    ]  # fmt: skip
    for wrong in ([0.5], [0.5, 0.0]):
        cfg = make_config(**make_arrays(**{"dataset.target_repeatability": wrong}))
        with pytest.raises(DataError, match="or null, for each of 2 targets"):
            prepare_data(cfg)


@pytest.mark.parametrize("shape", [(40, 30), (40, 2, 30), (40, 1, 12, 10)])
def test_the_params_of_signals_take_images_as_well(tmp_path, shape):
    x, t = np.random.default_rng(0).normal(size=shape), np.arange(40.0)
    files = {f"dataset.{key}_train": str(tmp_path / f"{key}.npy") for key in "xt"}
    for file, values in zip(files.values(), (x, t), strict=True):
        np.save(file, values)
    cfg = load_config("params/signals.yaml", **files, **{"paths.outputs_root": str(tmp_path)})
    data = prepare_data(cfg)
    assert len(data.manifest["axis_names"]) == (2 if len(shape) == 4 else 1)
