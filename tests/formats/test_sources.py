import hashlib

import h5py
import numpy as np
import pytest

from hpo_utils.base.errors import DataError
from hpo_utils.formats import sources
from hpo_utils.formats.arrays import read_arrays
from hpo_utils.formats.opening import open_array
from hpo_utils.formats.sources import sha256

ARRAY = np.arange(60, dtype=np.float32).reshape(5, 3, 4)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2"])
@pytest.mark.parametrize("chunk_bytes", [1, 100, 10**6])
def test_npy_is_read_in_pieces_that_make_up_the_array(
    tmp_path, monkeypatch, order, dtype, chunk_bytes
):
    monkeypatch.setattr(sources, "CHUNK_BYTES", chunk_bytes)
    np.save(tmp_path / "x.npy", np.array(ARRAY, dtype=dtype, order=order))
    source = open_array(tmp_path / "x.npy", None, "dataset.x_train")
    assert source.shape == (5, 3, 4)
    pieces = list(source.chunks())
    assert [start for start, _ in pieces] == list(np.cumsum([0, *map(len, dict(pieces).values())]))[
        :-1
    ]
    np.testing.assert_array_equal(source.read(), ARRAY)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_needs_a_key_only_if_it_holds_several(tmp_path, save, order):
    save(tmp_path / "one.npz", a=np.array(ARRAY, order=order))
    save(tmp_path / "two.npz", a=ARRAY, b=2 * ARRAY)
    one = open_array(tmp_path / "one.npz", None, "dataset.x_train")
    np.testing.assert_array_equal(one.read(), ARRAY)
    two = open_array(tmp_path / "two.npz", "b", "dataset.x_train")
    np.testing.assert_array_equal(two.read(), 2 * ARRAY)
    for key in (None, "c"):
        with pytest.raises(DataError, match=f"dataset.x_key must name one of .* a, b .* got {key}"):
            open_array(tmp_path / "two.npz", key, "dataset.x_train")


def test_an_empty_array_reads_as_empty(tmp_path):
    np.save(tmp_path / "x.npy", np.empty((0, 3)))
    assert open_array(tmp_path / "x.npy", None, "x").read().shape == (0, 3)


def test_what_is_no_array_of_numbers_is_said(tmp_path):
    np.save(tmp_path / "object.npy", np.array([{}, None]), allow_pickle=True)
    np.save(tmp_path / "complex.npy", np.ones(3, dtype=complex))
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    (tmp_path / "words.npy").write_text("these are words\n")
    (tmp_path / "empty.npy").touch()
    (tmp_path / "folder.npy").mkdir()
    cases = {
        "object": "real numbers, got dtype object",
        "complex": "real numbers, got dtype complex128",
        "text": "real numbers, got dtype <U1",
        "words": "saved by numpy.save",
        "empty": "saved by numpy.save",
        "folder": "must name an existing file",
        "missing": "must name an existing file",
    }
    for name, message in cases.items():
        with pytest.raises(DataError, match=message) as caught:
            open_array(tmp_path / f"{name}.npy", None, "dataset.x_train")
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith("dataset.x_train must")


def test_a_truncated_file_is_said(tmp_path):
    np.save(tmp_path / "x.npy", ARRAY)
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(whole[:-50])
    source = open_array(tmp_path / "x.npy", None, "dataset.x_train")
    with pytest.raises(DataError, match=r"x.npy must hold 5 samples .* ends within sample 3"):
        source.read()


def test_the_digest_is_that_of_the_bytes(tmp_path):
    (tmp_path / "f").write_bytes(b"abc" * 10**6)
    assert sha256(tmp_path / "f") == hashlib.sha256(b"abc" * 10**6).hexdigest()


@pytest.mark.parametrize("chunk_bytes", [1, 100, 10**6])
@pytest.mark.parametrize("storage", [{}, {"chunks": (2, 3, 4), "compression": "gzip"}])
def test_hdf5_is_read_in_pieces_that_make_up_the_array(tmp_path, monkeypatch, chunk_bytes, storage):
    monkeypatch.setattr(sources, "CHUNK_BYTES", chunk_bytes)
    with h5py.File(tmp_path / "x.h5", "w") as content:
        content.create_dataset("run 1/flow.x", data=ARRAY, **storage)
    source = open_array(tmp_path / "x.h5", None, "dataset.x_train")
    assert (source.shape, source.dtype) == ((5, 3, 4), ARRAY.dtype)
    assert len(list(source.chunks())) == {1: 5, 100: 3, 10**6: 1}[chunk_bytes]
    np.testing.assert_array_equal(source.read(), ARRAY)
    np.testing.assert_array_equal(source.rows(np.array([1, 4])), ARRAY[[1, 4]])


def test_axes_that_matlab_turned_are_turned_back_and_packed_values_are_in_units(tmp_path):
    with h5py.File(tmp_path / "x.mat", "w", userblock_size=512) as content:  # as MATLAB does
        content["x"] = ARRAY.T
        content["x"].attrs["MATLAB_class"] = np.bytes_("single")
        content["t"] = np.array([[1, 2, 3, 4, -9]], dtype=np.int16)
        content["t"].attrs.update({"scale_factor": 0.5, "_FillValue": np.int16(-9)})
        content["t"].attrs["MATLAB_class"] = np.bytes_("int16")
    np.testing.assert_array_equal(open_array(tmp_path / "x.mat", "x", "x").read(), ARRAY)
    t = open_array(tmp_path / "x.mat", "t", "t")
    assert (t.shape, t.dtype) == ((5, 1), np.float64)
    np.testing.assert_array_equal(t.read()[:, 0], [0.5, 1, 1.5, 2, np.nan])


def test_an_array_of_an_hdf5_file_is_named_with_dots(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as content:
        content["run/x"], content["run/t"], content["run/name"] = ARRAY, ARRAY[:, 0, 0], "a"
    assert open_array(tmp_path / "x.h5", "run.x", "dataset.x_train").shape == (5, 3, 4)
    assert open_array(tmp_path / "x.h5", "run/t", "dataset.t_train").shape == (5,)
    for key in (None, "run.y"):
        with pytest.raises(DataError, match=r"dataset.x_key must name .* run.t \(5,\), run.x \(5,"):
            open_array(tmp_path / "x.h5", key, "dataset.x_train")


def test_a_damaged_hdf5_file_is_one_sentence(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as content:
        content["x"] = np.zeros((100, 1000))
    whole = (tmp_path / "x.h5").read_bytes()
    (tmp_path / "x.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"dataset.x_train must be a whole file, got x.h5"):
        open_array(tmp_path / "x.h5", None, "dataset.x_train")


def test_a_vector_of_matlab_has_one_axis_or_is_a_column_of_targets(tmp_path):
    with h5py.File(tmp_path / "x.mat", "w", userblock_size=512) as content:
        for name, values in (("row", np.arange(5.0)[None]), ("column", np.arange(5.0)[:, None])):
            content[name] = values
            content[name].attrs["MATLAB_class"] = np.bytes_("double")
    for name in ("row", "column"):
        assert open_array(tmp_path / "x.mat", name, "dataset.groups").shape == (5,)
        t = open_array(tmp_path / "x.mat", name, "dataset.t_train")
        assert t.read().tolist() == [[0.0], [1.0], [2.0], [3.0], [4.0]]


def test_words_in_hdf5_may_be_groups(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as content:
        content["run"], content["x"] = ["a", "b", "ä"], np.zeros((3, 4))
    found = open_array(tmp_path / "x.h5", "run", "dataset.groups", kinds="iufbUS")
    assert found.read().tolist() == ["a", "b", "ä"]
    with pytest.raises(DataError, match="must name one of the arrays of numbers"):
        open_array(tmp_path / "x.h5", "run", "dataset.x_train")


def test_an_axis_of_netcdf_without_coordinates_is_no_array(tmp_path):
    with h5py.File(tmp_path / "x.nc", "w") as content:
        content["spectra"], content["sample"] = np.ones((3, 4)), np.zeros(3)
        name = b"This is a netCDF dimension but not a netCDF variable.         3"
        content["sample"].attrs["NAME"] = np.bytes_(name)
    assert open_array(tmp_path / "x.nc", None, "dataset.x_train").key == "spectra"
    assert list(read_arrays(tmp_path / "x.nc")) == ["spectra"]


def test_integers_are_unsigned_where_an_attribute_says_so(tmp_path):
    with h5py.File(tmp_path / "x.nc", "w") as content:
        content["x"] = np.array([[0, 100, -56, -1]], dtype=np.int8)
        content["x"].attrs.update({"_Unsigned": "true", "_FillValue": np.int8(-1)})
    expected = [[0.0, 100.0, 200.0, np.nan]]
    np.testing.assert_array_equal(read_arrays(tmp_path / "x.nc")["x"], expected)
    np.testing.assert_array_equal(open_array(tmp_path / "x.nc", "x", "x").read(), expected)


def test_a_code_of_another_type_is_no_measurement_of_this_one():
    values = np.array([0, 1, 2], dtype=np.uint8)
    assert sources.in_units(values, {"missing_value": 256}).tolist() == [0, 1, 2]


def test_a_scale_for_each_channel_is_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as content:
        content["x"] = np.ones((3, 2, 4), dtype=np.int16)
        content["x"].attrs["scale_factor"] = [0.1, 10.0]
    with pytest.raises(DataError, match=r"scale_factor must be one number, got \[0.1, 10.0\]"):
        read_arrays(tmp_path / "x.h5")
