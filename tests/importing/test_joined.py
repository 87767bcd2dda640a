"""Samples and recordings joined with their targets: names, ids, rates, and what is refused."""

import unicodedata

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from nptdms import ChannelObject, TdmsWriter
from scipy.io import savemat

from hpo_utils.base.errors import DataError
from hpo_utils.formats.recordings import read_recording
from hpo_utils.importing.importing import import_files
from hpo_utils.importing.request import Request

RNG = np.random.default_rng(0)
X, IDS = RNG.normal(size=(30, 20)), [f"S{k:02d}" for k in range(30)]


def run(tmp_path, *files, **options):
    given = {"targets": tmp_path / "t.csv", "out": tmp_path / "o", **options}
    return import_files(Request(files=list(files), **given))


def write(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def signals(tmp_path, *names, folder="rec", length=50):
    for number, name in enumerate(names):
        write(tmp_path / folder / f"{name}.csv", "p\n" + f"{number}\n" * length)
    return tmp_path / folder


def in_hdf5(path, fixed):
    with h5py.File(path, "w") as file:
        file["spectra"] = X
        file["sample"] = np.array(IDS, dtype="S3") if fixed else IDS


def in_zarr(path, version):
    root = zarr.open_group(path, mode="w", zarr_format=version)
    root.create_array("spectra", data=X)
    root.create_array("sample", shape=30, dtype=str)[:] = np.array(IDS)


WRITERS = {
    "a.h5": lambda path: in_hdf5(path, fixed=False),
    "b.h5": lambda path: in_hdf5(path, fixed=True),
    "c.mat": lambda path: savemat(path, {"spectra": X, "sample": np.array(IDS, dtype=object)}),
    "d.mat": lambda path: savemat(path, {"spectra": X, "sample": IDS}),
    "e.npz": lambda path: np.savez(path, spectra=X, sample=np.array(IDS, dtype="S3")),
    "f.zarr": lambda path: in_zarr(path, 3),
}


@pytest.mark.parametrize("name", WRITERS)
def test_samples_that_a_file_of_arrays_names_are_joined_by_their_names(tmp_path, name):
    WRITERS[name](tmp_path / name)
    rows = [f"S{k:02d},{k}" for k in reversed(range(30))]
    write(tmp_path / "t.csv", "\n".join(["sample,protein", *rows]))
    run(tmp_path, tmp_path / name, id_column="sample")
    assert np.load(tmp_path / "o/t_train.npy").ravel().tolist() == list(range(30))
    np.testing.assert_allclose(np.load(tmp_path / "o/x_train.npy")[:, 0], X, rtol=1e-6)


def test_that_the_order_of_rows_counts_is_said(tmp_path):
    savemat(tmp_path / "x.mat", {"spectra": X})
    write(tmp_path / "t.csv", "\n".join(["sample,fat", *(f"{i},{k}" for k, i in enumerate(IDS))]))
    assert "rows joined by their order" in " ".join(run(tmp_path, tmp_path / "x.mat").remarks)
    found = run(tmp_path, tmp_path / "x.mat", id_column="sample", out=tmp_path / "o2")
    assert "rows joined by their order" in " ".join(found.remarks)


def test_files_of_one_name_in_two_folders_are_refused(tmp_path):
    folders = [signals(tmp_path, "run1", "run2", folder=day) for day in ("day1", "day2")]
    write(tmp_path / "t.csv", "file,flow\nrun1,1\nrun2,2\n")
    with pytest.raises(DataError, match="different names, got run1.csv, run2.csv"):
        run(tmp_path, *folders)


def test_decimals_of_a_name_are_no_number_of_opus(tmp_path):
    folder = signals(tmp_path, "run_1", "run_1.5", "run_2")
    write(tmp_path / "t.csv", "file,flow\nrun_1,1\nrun_2,2\nrun_1_5,1.5\n")
    with pytest.raises(DataError, match=r"in column file .* lacks run_1\.5\.csv \(1 in all\)"):
        run(tmp_path, folder)


def test_an_umlaut_is_the_same_however_it_is_written(tmp_path):
    folder = signals(tmp_path, *(unicodedata.normalize("NFD", name) for name in ("Öl 1", "Öl 2")))
    write(tmp_path / "t.csv", "file,flow\nÖl 2,2\nÖl 1,1\n")
    run(tmp_path, folder)
    assert np.load(tmp_path / "o/t_train.npy").ravel().tolist() == [1.0, 2.0]


def test_rows_without_a_recording_are_named_and_lock_files_are_none(tmp_path):
    folder = signals(tmp_path, "a", "b")
    write(folder / "~$b.csv", "")
    write(folder / "._a.csv", "\x00")
    write(tmp_path / "t.csv", "file,flow\na,1\nb,2\nc,3\n")
    found = run(tmp_path, folder)
    assert found.n_samples == 2
    assert "1 rows of t.csv name no recording: c" in found.remarks


def test_recordings_shorter_than_the_window_are_the_cause(tmp_path):
    folder = signals(tmp_path, "a", "b")
    write(tmp_path / "t.csv", "file,flow\na,1\nb,2\n")
    with pytest.raises(DataError, match="as long as --window, 100, got shorter ones"):
        run(tmp_path, folder, window=100)


@pytest.mark.parametrize(
    ("options", "said"), [({"rate": 0.0}, "--rate"), ({"rate": np.nan}, "--rate"),
                          ({"step": 5}, "without --window")],
)  # fmt: skip
def test_options_that_mean_nothing_are_refused(options, said):
    with pytest.raises(DataError, match=said):
        Request(files=[], out=None, **options)


def test_a_photograph_beside_recordings_is_none(tmp_path):
    folder = signals(tmp_path, "a", "b")
    tifffile.imwrite(folder / "rig.tif", np.zeros((5, 4), np.uint8))
    write(tmp_path / "t.csv", "file,flow\na,1\nb,2\n")
    assert run(tmp_path, folder).n_samples == 2


def test_a_stack_in_each_file_is_no_image(tmp_path):
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tif", np.zeros((5, 20, 24), np.uint8))
    write(tmp_path / "t.csv", "file,flow\na,1\nb,2\n")
    with pytest.raises(DataError, match=r"\(H, W, colours\) and of one shape, got \(5, 20, 24\)"):
        run(tmp_path, tmp_path)


def test_an_image_a_sample(tmp_path):
    images = RNG.integers(0, 60000, (3, 8, 6)).astype(np.uint16)
    for name, image in zip("abc", images, strict=True):
        tifffile.imwrite(tmp_path / f"{name}.tif", image)
    write(tmp_path / "t.csv", "file,flow\nc,3\na,1\nb,2\n")
    run(tmp_path, tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "o/x_train.npy")[:, 0], images)
    assert np.load(tmp_path / "o/t_train.npy").ravel().tolist() == [1.0, 2.0, 3.0]
    tifffile.imwrite(tmp_path / "d.tif", images[0, :4])
    with pytest.raises(DataError, match=r"of one shape, got \(8, 6\) in a.tif and \(4, 6\)"):
        run(tmp_path, tmp_path, out=tmp_path / "o2")


def test_a_target_that_is_called_as_an_axis_does_not_turn_the_signals(tmp_path):
    x = RNG.normal(size=(50, 200))
    beside = {"frequency": np.linspace(10, 100, 50), "amplitude": RNG.normal(size=50)}
    np.savez(tmp_path / "a.npz", signals=x, time=np.arange(200) / 1e3, **beside)
    found = run(tmp_path, tmp_path / "a.npz", targets=None)
    assert (found.sample_shape, found.target_names) == ((1, 200), ["frequency", "amplitude"])
    np.savez(tmp_path / "b.npz", signals=x, **beside)
    with pytest.raises(DataError, match="which axis of .* got frequency, amplitude along the fir"):
        run(tmp_path, tmp_path / "b.npz", targets=None, out=tmp_path / "o2")
    found = run(
        tmp_path, tmp_path / "b.npz", targets=None, key="signals", target_key="frequency",
        out=tmp_path / "o3",
    )  # fmt: skip
    assert found.sample_shape == (1, 200)


def test_sorted_targets_called_t_do_not_turn_the_signals(tmp_path):
    savemat(tmp_path / "a.mat", {"X": RNG.normal(size=(60, 200)), "t": np.linspace(0, 5, 60)})
    found = run(tmp_path, tmp_path / "a.mat", targets=None)
    assert (found.n_samples, found.sample_shape, found.target_names) == (60, (1, 200), ["t"])


def test_signals_in_columns_beside_a_value_for_each_are_turned(tmp_path):
    savemat(tmp_path / "a.mat", {"X": X.T, "y": RNG.normal(size=30)})
    run(tmp_path, tmp_path / "a.mat", targets=None)
    np.testing.assert_allclose(np.load(tmp_path / "o/x_train.npy")[:, 0], X, rtol=1e-6)


def test_arrays_tell_the_rate_of_a_recording(tmp_path):
    folder = tmp_path / "rec"
    folder.mkdir()
    write(tmp_path / "t.csv", "file,flow\na,1\nb,2\n")
    for name, rate in (("a", 1000.0), ("b", 2000.0)):
        savemat(folder / f"{name}.mat", {"signal": RNG.normal(size=(200, 1)), "fs": rate})
    with pytest.raises(DataError, match="same rate, got 1000.0 in a.mat and 2000.0 in b.mat"):
        run(tmp_path, folder)
    assert run(tmp_path, folder, rate=500.0, window=20).axis.last == pytest.approx(19 / 500)


def test_vectors_of_one_length_are_channels_and_one_of_times_their_rate(tmp_path):
    folder = tmp_path / "rec"
    folder.mkdir()
    write(tmp_path / "t.csv", "file,flow\na,1\nb,2\n")
    for name in "ab":
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["t"], file["p"], file["T"] = np.arange(200) / 1000, X.ravel()[:200], np.ones(200)
            file["p"].attrs["sampling_rate"] = 1000
    found = run(tmp_path, folder)
    assert (sorted(found.channels), found.sample_shape) == (["T", "p"], (2, 200))
    assert found.axis.last == pytest.approx(0.199)


def test_a_vector_of_wavelengths_is_the_axis_of_a_spectrum(tmp_path):
    folder = tmp_path / "rec"
    folder.mkdir()
    write(tmp_path / "t.csv", "file,flow\na,1\nb,2\n")
    places = np.linspace(900, 400, 50)
    for name in "ab":
        savemat(folder / f"{name}.mat", {"absorbance": places / 100, "wavelength": places})
    found = run(tmp_path, folder)
    assert (found.channels, found.axis.first, found.axis.last) == (["channel 0"], 400.0, 900.0)
    assert np.load(tmp_path / "o/x_train.npy")[0, 0, 0] == 4.0


@pytest.mark.parametrize(
    ("unit", "rate"), [("milliseconds since 2024-01-01", 1000.0), ("s", 1.0), ("days", None)]
)
def test_times_of_netcdf_have_their_unit(tmp_path, unit, rate):
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file["time"], file["p"] = np.arange(100.0), X.ravel()[:100]
        file["time"].attrs["units"] = unit
        file["crs"] = np.int32(-1)
        file["crs"].attrs["_FillValue"] = np.int32(-1)
    found = read_recording(tmp_path / "a.nc", None if rate else "p")
    assert found.rate == rate


def test_two_rates_in_a_file_tell_none(tmp_path):
    content = {
        "accel": {"data": np.zeros(100), "fs": 1000.0},
        "temp": {"data": np.zeros(9), "fs": 1},
    }
    savemat(tmp_path / "a.mat", content)
    assert read_recording(tmp_path / "a.mat", "accel.data").rate is None


def test_a_channel_of_times_is_the_rate_of_the_others(tmp_path):
    (tmp_path / "rec").mkdir()
    write(tmp_path / "t.csv", "file,flow\na,1\nb,2\n")
    for name in "ab":
        times = ChannelObject("g", "Time", np.arange(100) * 0.002, {"unit_string": "s"})
        with TdmsWriter(tmp_path / f"rec/{name}.tdms") as writer:
            writer.write_segment([times, ChannelObject("g", "p", X.ravel()[:100])])
    found = run(tmp_path, tmp_path / "rec")
    assert (found.channels, found.axis.last) == (["p"], pytest.approx(0.198))


def test_spectra_with_other_places_between_the_same_ends_are_refused(tmp_path):
    write(tmp_path / "t.csv", "file,flow\na,1\nb,2\n")
    for name, places in (
        ("a", np.linspace(400, 1000, 50)), ("b", 1 / np.linspace(1 / 400, 1 / 1000, 50)),
    ):  # fmt: skip
        lines = [f"{place:.6f},{place}" for place in places]
        write(tmp_path / f"rec/{name}.csv", "\n".join(["wavelength,I", *lines]))
    with pytest.raises(DataError, match="must have the same axis"):
        run(tmp_path, tmp_path / "rec")
