"""Zarr stores: named in the settings, imported, read in pieces, and what is not in them."""

import os
import shutil

import numpy as np
import pytest
import zarr

from hpo_utils.base.errors import DataError
from hpo_utils.data.preparation import prepare_data
from hpo_utils.formats import sources
from hpo_utils.formats.arrays import choose_array, read_arrays
from hpo_utils.formats.opening import open_array
from hpo_utils.importing.importing import import_files
from hpo_utils.importing.request import Request

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(40, 2, 24)).astype(np.float32), RNG.normal(size=(40, 2))


@pytest.fixture(params=[2, 3])
def store(request, tmp_path):
    root = zarr.create_group(tmp_path / "rig.zarr", zarr_format=request.param)
    root.create_array("run/x", data=X, chunks=(8, 2, 24))
    root.create_array("run/t", data=T, chunks=(40, 2))
    root.create_array("run/time", data=np.array(["2026-01-01"], "datetime64[s]"))
    return tmp_path / "rig.zarr"


def test_a_store_is_named_in_the_settings(store, make_config, monkeypatch):
    monkeypatch.setattr(sources, "CHUNK_BYTES", 5 * X[0].nbytes)  # several pieces
    given = {"dataset.x_train": str(store), "dataset.t_train": str(store)}
    cfg = make_config(**given, **{"dataset.x_key": "run.x", "dataset.t_key": "run/t"})
    data = prepare_data(cfg)
    numbers = data.sample_numbers("test")
    np.testing.assert_allclose(data.targets("test"), T[numbers], rtol=1e-6)
    source = open_array(store, "run.x", "dataset.x_train")
    np.testing.assert_array_equal(source.read(), X)
    np.testing.assert_array_equal(source.rows(numbers), X[numbers])
    assert prepare_data(cfg).directory == data.directory
    zarr.open_array(store, path="run/x", mode="r+")[0] = 5.0
    assert prepare_data(cfg).dataset_id != data.dataset_id


def test_a_store_is_imported(store, tmp_path):
    found = import_files(Request([store], tmp_path / "rig", store, key="run.x", target_key="run.t"))
    np.testing.assert_array_equal(np.load(found.directory / "x_train.npy"), X)
    np.testing.assert_allclose(np.load(found.directory / "t_train.npy"), T, rtol=1e-6)
    assert len(sources.sha256(store)) == 64


def test_values_are_in_units_and_codes_are_gaps(tmp_path):
    array = zarr.create_array(tmp_path / "a.zarr", data=np.array([[1, 2], [-99, 4]], np.int16))
    array.attrs.update({"scale_factor": 0.5, "add_offset": 10.0, "_FillValue": -99})
    expected = [[10.5, 11.0], [np.nan, 12.0]]
    np.testing.assert_array_equal(
        open_array(tmp_path / "a.zarr", None, "dataset.x").read(), expected
    )
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.zarr")[""], expected)


def test_a_slash_in_a_key_is_a_dot(store):
    arrays = read_arrays(store)
    assert choose_array(arrays, "run/x", "--key", store) is arrays["run.x"]


def test_chunks_that_are_not_there_are_no_zeros(tmp_path):
    array = zarr.create_array(tmp_path / "a.zarr", shape=(40, 24), chunks=(10, 24), dtype="f4")
    array[:20] = X[:20, 0]
    said = r"every chunk of the array in a.zarr must be there, but 2 of 4 are not and .* as 0"
    with pytest.raises(DataError, match=said):
        open_array(tmp_path / "a.zarr", None, "dataset.x_train").read()
    np.save(tmp_path / "t.npy", T)
    with pytest.raises(DataError, match=said):
        import_files(Request([tmp_path / "a.zarr"], tmp_path / "rig", tmp_path / "t.npy"))
    assert not (tmp_path / "rig").exists()


@pytest.mark.parametrize(
    ("fill", "attributes"),
    [(np.nan, {}), (-99.0, {"_FillValue": -99.0}), (0.0, {"missing_value": 0})],
)
def test_chunks_that_count_as_missing_may_be_absent(tmp_path, fill, attributes):
    shape = {"shape": (40, 24), "chunks": (10, 24), "dtype": "f4"}
    array = zarr.create_array(tmp_path / "a.zarr", **shape, fill_value=fill)
    array.attrs.update(attributes)
    array[:20] = X[:20, 0]
    found = open_array(tmp_path / "a.zarr", None, "dataset.x_train").read()
    np.testing.assert_array_equal(found[:20], X[:20, 0])
    assert np.isnan(found[20:]).all()


def test_an_array_beside_without_a_fill_value_harms_nothing(tmp_path):
    root = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    root.create_array("x", data=X)
    root.create_array("time", data=np.arange(40), fill_value=None)
    for name, known in (("x", X), ("time", np.arange(40))):
        source = open_array(tmp_path / "a.zarr", name, "dataset.x_train")
        np.testing.assert_array_equal(source.read(), known)


def test_two_chunks_that_change_places_are_noticed(store):
    first, second, *_ = sorted(
        p for p in (store / "run/x").rglob("*") if p.name[0].isdigit() and p.is_file()
    )
    os.utime(second, ns=(0, 0))  # whatever the clock of the disk tells apart
    before = open_array(store, "run.x", "dataset.x_train").stamp()
    first.rename(store / "aside")
    second.rename(first)
    (store / "aside").rename(second)
    assert open_array(store, "run.x", "dataset.x_train").stamp() != before


def test_what_is_no_store_is_one_sentence(store, tmp_path):
    with pytest.raises(DataError, match=r"x_key must name one of .* run.t \(40, 2\)"):
        open_array(store, "run.y", "dataset.x_train")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(DataError, match=r"a .zarr folder must be whole, got empty.zarr"):
        open_array(tmp_path / "empty.zarr", None, "dataset.x_train")
    chunk = next(
        path for path in (store / "run/x").rglob("*") if path.name[-1].isdigit() and path.is_file()
    )
    chunk.write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"rig.zarr must be whole, but: "):
        open_array(store, "run.x", "dataset.x_train").read()
    shutil.rmtree(store / "run")
    with pytest.raises(DataError, match="must hold numbers, got rig.zarr without any"):
        read_arrays(store)


def test_the_fill_value_of_xarray_in_format_2_is_a_gap(tmp_path):
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    told = {"_ARRAY_DIMENSIONS": ["n", "w"], "scale_factor": 0.5}
    for name, attributes in (("x", told), ("plain", {"scale_factor": 0.5})):
        root.create_array(
            name, data=np.array([[2, -9]], dtype=np.int16), fill_value=-9, attributes=attributes
        )
    found = read_arrays(tmp_path / "a.zarr")
    np.testing.assert_array_equal(found["x"], [[1.0, np.nan]])
    np.testing.assert_array_equal(found["plain"], [[1.0, -4.5]])
