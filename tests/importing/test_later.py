from pathlib import Path

import numpy as np
import openpyxl
import pytest
import tifffile
from scipy.io import savemat, wavfile

from hpo_utils.base.errors import DataError
from hpo_utils.formats.axes import Axis
from hpo_utils.importing.later import Trained, _order, read_inputs, read_measured

RNG = np.random.default_rng(0)


@pytest.fixture
def table(tmp_path):
    """A table of three spectra with ids and a target, and their values."""
    x = RNG.normal(size=(3, 10)).round(6)
    header = ["sample", *map(str, range(10)), "fat [%]"]
    rows = [[f"s{k}", *map(str, x[k]), str(k)] for k in range(3)]
    path = tmp_path / "new.csv"
    path.write_text("\n".join(",".join(row) for row in [header, *rows]))
    return path, x


def test_inputs_come_from_a_table_with_their_ids(table):
    path, x = table
    values, ids = read_inputs(path, None, (1, 10))
    np.testing.assert_array_equal(values[:, 0], x)
    assert ids == ["s0", "s1", "s2"]


def test_inputs_come_from_arrays_and_recordings(tmp_path):
    x = RNG.normal(size=(5, 2, 8))
    savemat(tmp_path / "x.mat", {"x": x, "other": x})
    np.testing.assert_array_equal(read_inputs(tmp_path / "x.mat", "x", (2, 8))[0], x)
    wavfile.write(tmp_path / "x.wav", 8, x[0].T.astype(np.float32))
    np.testing.assert_allclose(read_inputs(tmp_path / "x.wav", None, (2, 8))[0], x[:1], rtol=1e-6)
    np.save(tmp_path / "x.npy", x)
    assert read_inputs(tmp_path / "x.npy", None, (2, 8)) == (tmp_path / "x.npy", None)


def test_a_recording_is_cut_into_windows_as_long_as_a_sample(tmp_path):
    lines = "\n".join(f"{k / 100},{k},{-k}" for k in range(25))
    (tmp_path / "run_7.csv").write_text(f"time [s],p [kPa],q\n{lines}\n")
    values, ids = read_inputs(tmp_path / "run_7.csv", None, (2, 10))
    assert ids == ["run_7:0", "run_7:10"]
    np.testing.assert_array_equal(values[1, 0], np.arange(10, 20))
    with pytest.raises(DataError, match="as long as a sample, 30 values, got 25 in run_7.csv"):
        read_inputs(tmp_path / "run_7.csv", None, (2, 30))
    (tmp_path / "gap.csv").write_text("time [s],p,q\n" + lines.replace(",12,", ",,"))
    with pytest.raises(DataError, match="must have no gaps"):
        read_inputs(tmp_path / "gap.csv", None, (2, 10))


def test_another_shape_is_refused(table):
    with pytest.raises(DataError, match=r"of shape \(1, 12\).* got \(10,\) in new.csv"):
        read_inputs(table[0], None, (1, 12))


def test_measured_targets_are_joined_by_id_in_the_order_of_their_names(tmp_path, table):
    book = openpyxl.Workbook()
    for row in (["sample", "water", "fat [%]"], ["s2", 0.2, 2.5], ["s0", 0, 0.5], ["s1", 0.1, 1.5]):
        book.active.append(row)
    book.save(tmp_path / "lab.xlsx")
    found = read_measured(tmp_path / "lab.xlsx", None, ["fat", "water"], ["s0", "s1", "s2"])
    np.testing.assert_allclose(found, [[0.5, 0.0], [1.5, 0.1], [2.5, 0.2]])
    with pytest.raises(DataError, match="must be one of sample, water, fat"):
        read_measured(tmp_path / "lab.xlsx", None, ["protein"], None)
    with pytest.raises(DataError, match="lacks s3"):
        read_measured(tmp_path / "lab.xlsx", None, ["fat"], ["s3"])
    assert read_measured(table[0], None, ["fat"], None).tolist() == [[0.0], [1.0], [2.0]]


def test_windows_have_the_targets_of_their_recording(tmp_path):
    (tmp_path / "lab.csv").write_text("file,flow\nrun_6.csv,1.5\nrun_7.csv,2.5\n")
    found = read_measured(tmp_path / "lab.csv", None, ["flow"], ["run_7:0", "run_7:64"])
    assert found.tolist() == [[2.5], [2.5]]
    (tmp_path / "clock.csv").write_text("when,flow\n10:30,1.5\n10:45,2.5\n")
    found = read_measured(tmp_path / "clock.csv", None, ["flow"], ["10:45", "10:30"])
    assert found.tolist() == [[2.5], [1.5]]


def test_repeats_of_one_table_keep_their_order(tmp_path):
    names = ",".join(map(str, range(850, 860)))
    rows = "\n".join(f"s{k // 2},{k}" + f",{k}.5" * 10 for k in range(6))
    (tmp_path / "a.csv").write_text(f"sample,fat,{names}\n{rows}\n")
    x, ids = read_inputs(tmp_path / "a.csv", None, (1, 10))
    t = read_measured(tmp_path / "a.csv", None, ["fat"], ids)
    assert x[:, 0, 0].tolist() == [k + 0.5 for k in range(6)]
    assert t[:, 0].tolist() == list(range(6))


@pytest.mark.parametrize(("turned", "beside"), [(False, False), (True, False), (False, True)])
def test_a_matlab_recording_is_cut_into_windows_too(tmp_path, turned, beside):
    values = np.arange(300.0).reshape(3, 100)
    others = {"z": np.zeros((3, 3))} if beside else {}
    savemat(tmp_path / "r0.mat", {"x": values.T if turned else values, **others})
    x, ids = read_inputs(tmp_path / "r0.mat", "x" if beside else None, (3, 50))
    np.testing.assert_array_equal(x, [values[:, :50], values[:, 50:]])
    assert ids == ["r0:0", "r0:50"]


def test_inputs_are_read_whatever_stands_among_the_targets(tmp_path):
    names = ",".join([*(f"t{k}" for k in range(8)), *map(str, range(850, 860))])
    rows = "\n".join(f"s{k},{'<0.1' if k == 2 else k / 2}" + ",1.5" * 18 for k in range(6))
    (tmp_path / "a.csv").write_text(f"sample,fat,{names}\n{rows}\n")
    x, ids = read_inputs(tmp_path / "a.csv", None, (1, 10))
    assert (x.shape, ids) == ((6, 1, 10), [f"s{k}" for k in range(6)])


def test_a_vector_is_a_recording_of_one_channel_and_a_matrix_holds_samples(tmp_path):
    savemat(tmp_path / "r0.mat", {"x": np.arange(200.0)})
    assert read_inputs(tmp_path / "r0.mat", None, (1, 50))[0].shape == (4, 1, 50)
    savemat(tmp_path / "s.mat", {"x": np.ones((7, 50))})
    assert read_inputs(tmp_path / "s.mat", None, (1, 50))[0].shape == (7, 1, 50)


def two_channels(path, columns, header, step=0.001):
    times = np.arange(256) * step
    np.savetxt(path, np.c_[times, *columns], header=header, delimiter=",", comments="", fmt="%.6f")
    return path


TRAINED = Trained(["p [bar]", "T [degC]"], Axis("time [s]", 0.0, 0.063))
P, T = np.sin(np.arange(256) / 5), 50 + np.arange(256) / 100


def test_channels_are_put_into_the_order_of_the_training(tmp_path):
    same = two_channels(tmp_path / "a.csv", (P, T), "time [s],p [bar],T [degC]")
    swapped = two_channels(tmp_path / "b.csv", (T, P), "time [s],T [degC],p [bar]")
    a, b = (read_inputs(file, None, (2, 64), None, TRAINED)[0] for file in (same, swapped))
    np.testing.assert_array_equal(a, b)
    assert a.shape == (4, 2, 64)


@pytest.mark.parametrize(
    ("header", "step", "said"),
    [
        ("time [s],p [mbar],T [degC]", 0.001, "must have the units of the training"),
        ("time [s],foo,T [degC]", 0.001, "must have the channels of the training"),
        ("time [s],foo [A],bar [V]", 0.001, "must have the units of the training"),
        ("time [s],p [bar],T [degC]", 0.0005, "rate of the training, 1000 Hz, got 2000 Hz"),
    ],
)
def test_recordings_unlike_those_of_the_training_are_refused(tmp_path, header, step, said):
    file = two_channels(tmp_path / "a.csv", (P, T), header, step)
    with pytest.raises(DataError, match=said):
        read_inputs(file, None, (2, 64), None, TRAINED)
    assert len(read_inputs(file, None, (2, 64))[0]) == 4  # a bundle that does not know


@pytest.mark.parametrize(
    ("names", "trained", "order"),
    [
        (["a [V]", "a [V]"], ["a [V]", "a [V]"], [0, 1]),
        (["b", "a [V]"], ["a", "b [V]"], [1, 0]),
        (["p1", "p2"], ["pressure", "flow"], [0, 1]),  # named by the params file
        (["channel 0", "channel 1"], ["a", "b"], []),
    ],
)
def test_the_order_of_channels(names, trained, order):
    assert _order(names, trained, Path("a.csv")) == order


def test_the_rate_of_the_training_has_a_unit_and_a_first_place(tmp_path):
    file = two_channels(tmp_path / "a.csv", (P, T), "time [s],p [bar],T [degC]")
    axis = Axis("time [ms]", 5.0, 68.0)
    assert len(read_inputs(file, None, (2, 64), None, Trained(TRAINED.channels, axis))[0]) == 4


def test_spectra_are_read_along_the_axis_of_the_training(tmp_path):
    x, places = np.tile(np.arange(40.0), (5, 1)), np.linspace(900, 1680, 40)
    known = Trained(["signal"], Axis("axis [nm]", 900.0, 1680.0))
    savemat(tmp_path / "falls.mat", {"X": x[:, ::-1], "wavelength": places[::-1]})
    found, _ = read_inputs(tmp_path / "falls.mat", None, (1, 40), None, known)
    np.testing.assert_array_equal(found[:, 0], x)
    savemat(tmp_path / "other.mat", {"X": x, "wavelength": places + 100})
    with pytest.raises(DataError, match="axis of the training, 900 to 1680, got 1000 to 1780"):
        read_inputs(tmp_path / "other.mat", None, (1, 40), None, known)
    falling = Trained(["signal"], Axis("wavelength", 1680.0, 900.0))  # as it was trained
    found, _ = read_inputs(tmp_path / "falls.mat", None, (1, 40), None, falling)
    np.testing.assert_array_equal(found[:, 0], x[:, ::-1])


def test_a_target_in_another_unit_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("sample,fat [mg/g]\ns0,1\ns1,2\n")
    with pytest.raises(DataError, match="fat must be in %, as in the training, got mg/g"):
        read_measured(tmp_path / "t.csv", None, ["fat"], ["s1"], units=["%"])
    found = read_measured(tmp_path / "t.csv", None, ["fat"], ["s1"], units=["-"])
    assert found.tolist() == [[2.0]]


def test_images_may_stand_one_in_a_file(tmp_path):
    images = RNG.integers(0, 255, (3, 8, 6)).astype(np.uint8)
    for name, image in zip("abc", images, strict=True):
        tifffile.imwrite(tmp_path / f"{name}.tif", image)
    found, ids = read_inputs(tmp_path, None, (1, 8, 6))
    np.testing.assert_array_equal(found[:, 0], images)
    assert ids == ["a.tif", "b.tif", "c.tif"]
    one, ids = read_inputs(tmp_path / "b.tif", None, (1, 8, 6))
    np.testing.assert_array_equal(one[0, 0], images[1])
    tifffile.imwrite(tmp_path / "stack.tif", images, photometric="minisblack")
    assert read_inputs(tmp_path / "stack.tif", None, (1, 8, 6))[0].shape == (3, 1, 8, 6)
    with pytest.raises(DataError, match="of one shape"):
        read_inputs(tmp_path, None, (1, 8, 6))
