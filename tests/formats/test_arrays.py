"""Files of other libraries' writers than our readers, where there are any."""

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.io import netcdf_file, savemat

from hpo_utils.base.errors import DataError
from hpo_utils.formats.arrays import choose_array, read_arrays

X = np.random.default_rng(0).normal(size=(10, 3, 50))


def write_v73(path, arrays):
    """Write arrays as MATLAB 7.3 does: an HDF5 file with a text before it, axes turned round."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            data = file.create_dataset(name, data=np.asarray(array).T)
            data.attrs["MATLAB_class"] = np.bytes_("double")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


@pytest.mark.parametrize("write", [lambda path, a: savemat(path, a), write_v73])
def test_both_kinds_of_matlab_files_keep_the_axes_of_matlab(tmp_path, write):
    write(tmp_path / "data.mat", {"x": X, "t": np.arange(10.0)[:, None]})
    found = read_arrays(tmp_path / "data.mat")
    np.testing.assert_array_equal(found["x"], X)
    assert found["t"].shape == (10,)


def test_fields_of_a_struct_have_dotted_names(tmp_path):
    savemat(tmp_path / "data.mat", {"run": {"flow": X[:, 0], "rate": 50.0, "who": "A. Name"}})
    found = read_arrays(tmp_path / "data.mat")
    assert set(found) == {"run.flow", "run.rate"}
    np.testing.assert_array_equal(found["run.flow"], X[:, 0])


def dataset_object(values, include, **of_columns):
    """Return a DataSet Object of PLS_Toolbox as MATLAB writes it; fields are cells (axis, set)."""
    cells = {name: np.empty((2, 2), dtype=object) for name in ("include", "axisscale", "label")}
    for name, cell in cells.items():
        for place in np.ndindex(2, 2):
            cell[place] = np.array(include[place[0]] if name == "include" else [])
    for name, told in of_columns.items():
        cells[name][1, 0] = told
    return {"name": "a", "data": values, "date": np.arange(6.0), **cells}


def test_a_dataset_object_brings_axis_and_labels_and_leaves_out_what_it_excludes(tmp_path):
    values = np.arange(20.0).reshape(4, 5)
    spectra = dataset_object(values, [[1, 2, 4], [1, 2, 3, 5]], axisscale=np.arange(1100.0, 1105.0))
    labels = np.array(["fat    ", "protein"])
    contents = dataset_object(values[:, :2], [[1, 2, 3, 4], [1, 2]], label=labels)
    savemat(tmp_path / "data.mat", {"spectra": spectra, "contents": contents})
    found = read_arrays(tmp_path / "data.mat", with_text=True)
    expected = values[:, [0, 1, 2, 4]]
    expected[2] = np.nan
    np.testing.assert_array_equal(found["spectra"], expected)
    assert found["spectra.axisscale"].tolist() == [1100, 1101, 1102, 1104]
    np.testing.assert_array_equal(found["contents"], values[:, :2])
    assert found["contents.label"].tolist() == ["fat", "protein"]
    assert set(read_arrays(tmp_path / "data.mat")) == {"spectra", "spectra.axisscale", "contents"}


def test_an_object_of_matlab_is_refused_by_name(tmp_path):
    reference = np.array([0xDD000000, 2, 1, 1, 1, 1], dtype=np.uint32)
    savemat(tmp_path / "data.mat", {"x": X, "when": reference})
    with pytest.raises(DataError, match="object .table, datetime or string. at 'when'"):
        read_arrays(tmp_path / "data.mat")


def test_groups_of_hdf5_have_dotted_names_and_packed_values_come_in_units(tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["rig/x"] = X
        packed = file.create_dataset("t", data=np.array([10, -32768, 30], dtype=np.int16))
        packed.attrs.update(scale_factor=0.1, add_offset=1.0, _FillValue=np.int16(-32768))
        file["note"] = "text"
    found = read_arrays(tmp_path / "data.h5")
    assert set(found) == {"rig.x", "t"}
    np.testing.assert_allclose(found["t"], [2.0, np.nan, 4.0])


def test_a_classic_netcdf_file_comes_in_units(tmp_path):
    with netcdf_file(tmp_path / "data.nc", "w") as file:
        file.createDimension("n", 3)
        variable = file.createVariable("t", "i2", ("n",))
        variable[:] = [10, -32768, 30]
        variable.scale_factor, variable.missing_value = 0.5, np.int16(-32768)
    found = read_arrays(tmp_path / "data.nc")
    np.testing.assert_allclose(found["t"], [5.0, np.nan, 15.0])
    assert found["t"].dtype.isnative


def test_several_arrays_need_a_key(tmp_path):
    np.savez(tmp_path / "data.npz", a=X, b=X[:, 0])
    path = tmp_path / "data.npz"
    arrays = read_arrays(path)
    with pytest.raises(DataError, match=r"--key must say which .* a \(10, 3, 50\), b \(10, 50\)"):
        choose_array(arrays, None, "--key", path)
    with pytest.raises(DataError, match="got 'c'"):
        choose_array(arrays, "c", "--key", path)
    assert choose_array(arrays, "b", "--key", path).shape == (10, 50)


@pytest.mark.parametrize("name", ["x.mat", "x.h5", "x.nc", "x.npy", "x.npz", "x.tif"])
@pytest.mark.parametrize("content", [b"", b"CDF", b"\x89HDF\r\n\x1a\n cut", b"PK\x03\x04 cut"])
def test_a_damaged_file_is_refused_in_a_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="must be whole"):
        read_arrays(tmp_path / name)


def test_a_stack_of_images_is_read_whole_however_it_was_written(tmp_path):
    images = (255 * np.random.default_rng(0).uniform(size=(4, 6, 8))).astype(np.uint8)
    first, *others = map(Image.fromarray, images)
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.tif")[""], images)
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        for image in images:
            file.write(image)
    np.testing.assert_array_equal(read_arrays(tmp_path / "b.tif")[""], images)
