import asammdf
import numpy as np
import pytest
from nptdms import ChannelObject, RootObject, TdmsWriter
from scipy.io import wavfile

from hpo_utils.base.errors import DataError
from hpo_utils.formats.recordings import Axis, read_recording

RNG = np.random.default_rng(0)


def tdms(path, *channels):
    with TdmsWriter(path) as writer:
        writer.write_segment([RootObject({}), *channels])


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (np.array([0, 1, -32768, 32767], dtype=np.int16), 2**15),
        (np.array([0, 2**30, -(2**31), 5], dtype=np.int32), 2**31),
        (np.array([0.5, -1.5, 3.0, 0.0], dtype=np.float32), 1),
    ],
)
def test_a_wav_file_counts_in_shares_of_the_full_scale(tmp_path, values, scale):
    wavfile.write(tmp_path / "a.wav", 8000, values)
    found = read_recording(tmp_path / "a.wav")
    assert found.rate == 8000
    np.testing.assert_array_equal(found.values, values[None].astype(float) / scale)


def test_24_bits_are_read_by_hand_checked_bytes(tmp_path):
    data = b"\x01\x00\x00" + b"\xff\xff\xff" + b"\x00\x00\x40"  # 1, -1 and 2^22
    fmt = b"fmt \x10\x00\x00\x00\x01\x00\x01\x00" + (1000).to_bytes(4, "little")
    fmt += (3000).to_bytes(4, "little") + b"\x03\x00\x18\x00"
    chunk = b"data" + len(data).to_bytes(4, "little") + data + b"\x00"
    body = b"WAVE" + fmt + chunk
    (tmp_path / "a.wav").write_bytes(b"RIFF" + len(body).to_bytes(4, "little") + body)
    np.testing.assert_array_equal(
        read_recording(tmp_path / "a.wav").values, [[2.0**-23, -(2.0**-23), 0.5]]
    )


def test_a_tdms_file_is_scaled_and_tells_units_and_rate(tmp_path):
    scaling = {
        "NI_Number_Of_Scales": 1, "NI_Scale[0]_Scale_Type": "Linear",
        "NI_Scaling_Status": "unscaled",
        "NI_Scale[0]_Linear_Slope": 0.5, "NI_Scale[0]_Linear_Y_Intercept": 10.0,
        "NI_Scale[0]_Linear_Input_Source": 0xFFFFFFFF, "unit_string": "kPa", "wf_increment": 0.002,
    }  # fmt: skip
    tdms(
        tmp_path / "a.tdms",
        ChannelObject("g", "pressure", np.array([4, 6], dtype=np.int16), scaling),
        ChannelObject("g", "flow", np.array([1.5, 2.5]), {"wf_increment": 0.002}),
    )
    found = read_recording(tmp_path / "a.tdms")
    np.testing.assert_allclose(found.values, [[12.0, 13.0], [1.5, 2.5]])
    assert (found.channels, found.units) == (["pressure", "flow"], ["kPa", "-"])
    assert found.rate == pytest.approx(500.0)


def test_channels_of_unequal_length_are_refused(tmp_path):
    tdms(
        tmp_path / "a.tdms",
        ChannelObject("g", "p", np.ones(5)),
        ChannelObject("g", "q", np.ones(3)),
    )
    with pytest.raises(DataError, match=r"equally long, got \{'p': 5, 'q': 3\}"):
        read_recording(tmp_path / "a.tdms")


def test_a_table_gives_its_rate_by_its_times(tmp_path):
    lines = "\n".join(f"{2 * k};{k},5;{k}" for k in range(5))
    (tmp_path / "a.csv").write_text(f"time [ms];p [kPa];q\n{lines}\n")
    found = read_recording(tmp_path / "a.csv")
    assert found.rate == pytest.approx(500.0)
    assert (found.channels, found.units) == (["p", "q"], ["kPa", "-"])
    np.testing.assert_array_equal(found.values[0], np.arange(5) + 0.5)


@pytest.mark.parametrize(
    ("times", "said"), [("0 1 3", "even steps, got steps from 1 to 2"), ("2 1 0", "must rise")]
)
def test_uneven_times_are_refused(tmp_path, times, said):
    lines = "\n".join(f"{t},1" for t in times.split())
    (tmp_path / "a.csv").write_text(f"t,p\n{lines}\n")
    with pytest.raises(DataError, match=said):
        read_recording(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        (
            "wavelength,counts,dark\n300.1,1,5\n300.4,2,6\n300.9,3,7\n",
            Axis("wavelength", 300.1, 300.9),
        ),
        (
            "Wave [nm];counts;dark\n300,1;1;5\n300,4;2;6\n300,9;3;7\n",
            Axis("Wave [nm]", 300.1, 300.9),
        ),
        (
            "Raman shift [1/cm],counts,dark\n9,3,7\n7,2,6\n4,1,5\n",
            Axis("Raman shift [1/cm]", 4.0, 9.0),
        ),
        ("300.1\t1\t5\n300.4\t2\t6\n300.9\t3\t7\n", Axis("axis", 300.1, 300.9)),
        ("level,counts,dark\n1,1,5\n2,2,6\n3,3,7\n", None),
        ("wavelength,counts,dark\n1,1,5\n3,2,6\n2,3,7\n", None),
    ],
)
def test_the_places_of_a_spectrum_are_its_axis_and_no_channel(tmp_path, text, axis):
    """A column that does not rise, or is called otherwise, was measured."""
    (tmp_path / "a.txt").write_text(text)
    found = read_recording(tmp_path / "a.txt")
    assert found.axis == axis
    np.testing.assert_array_equal(found.values[-2:], [[1, 2, 3], [5, 6, 7]])
    assert len(found.values) == (3 if axis is None else 2)


def test_the_longer_axis_of_an_array_is_time(tmp_path):
    values = RNG.normal(size=(100, 3))
    np.save(tmp_path / "a.npy", values)
    np.testing.assert_array_equal(read_recording(tmp_path / "a.npy").values, values.T)


@pytest.mark.parametrize("name", ["a.wav", "a.tdms", "a.csv", "a.mat", "a.abc"])
def test_what_is_no_recording_is_refused_in_a_sentence(tmp_path, name):
    (tmp_path / name).write_bytes(b"RIFF")
    with pytest.raises(DataError):
        read_recording(tmp_path / name)


LVM = """LabVIEW Measurement\t
Separator\tTab
Decimal_Separator\t,
X_Columns\t{columns}
***End_of_Header***\t

Channels\t2\t\t\t
Samples\t3\t3\t\t
Y_Unit_Label\tV\tbar\t\t
X0\t0,0\t0,0\t\t
Delta_X\t0,001\t0,001\t\t
***End_of_Header***\t\t\t\t
X_Value\tpressure\tflow\tComment
{rows}
"""


@pytest.mark.parametrize("columns", ["One", "No"])
def test_a_labview_text_file_tells_names_units_and_rate(tmp_path, columns):
    times = ["0,000", "0,001", "0,002"] if columns == "One" else [""] * 3
    rows = [
        f"{t}\t{p}\t{q}"
        for t, p, q in zip(times, ("1,5", "1,6", "1,7"), ("2", "", "3"), strict=True)
    ]
    (tmp_path / "a.lvm").write_text(LVM.format(columns=columns, rows="\n".join(rows)))
    found = read_recording(tmp_path / "a.lvm")
    np.testing.assert_array_equal(found.values, [[1.5, 1.6, 1.7], [2.0, np.nan, 3.0]])
    assert (found.channels, found.units) == (["pressure", "flow"], ["V", "bar"])
    assert found.rate == pytest.approx(1000.0)
    assert [file.name for file in tmp_path.iterdir()] == ["a.lvm"]  # nothing beside the original


def mdf(path, *groups):
    with asammdf.MDF() as file:
        for signals in groups:
            file.append(list(signals))
        file.save(path)


def test_a_measurement_data_file_keeps_invalid_samples_as_gaps(tmp_path):
    times = np.arange(4) / 500
    invalid = np.array([False, True, False, False])
    pressure = asammdf.Signal(np.array([1, 2, 3, 4], np.int16), times, name="p", unit="bar")
    flow = asammdf.Signal(
        np.array([0.5, 1.5, 2.5, 3.5]), times, name="q", unit="L/min", invalidation_bits=invalid
    )
    mdf(tmp_path / "a.mf4", [pressure, flow])
    found = read_recording(tmp_path / "a.mf4")
    np.testing.assert_array_equal(found.values, [[1, 2, 3, 4], [0.5, np.nan, 2.5, 3.5]])
    assert (found.channels, found.units) == (["p", "q"], ["bar", "L/min"])
    assert found.rate == pytest.approx(500.0)
    slow = asammdf.Signal(np.arange(2.0), times[:2] * 2, name="slow")
    mdf(tmp_path / "b.mf4", [pressure], [slow])
    with pytest.raises(DataError, match=r"share their times, got {'p': 4, 'slow': 2} in b.mf4"):
        read_recording(tmp_path / "b.mf4")


@pytest.mark.parametrize("name", ["a.lvm", "a.mf4", "a.tdms"])
@pytest.mark.parametrize("content", [b"", b"no measurement", bytes(600)])
def test_a_damaged_file_of_a_logger_is_refused_in_a_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"(a file must be whole|must be equally long, got none)"):
        read_recording(tmp_path / name)


MULTI = """LabVIEW Measurement\t
Separator\tTab
X_Columns\tMulti
***End_of_Header***\t

Channels\t2\t\t\t
Samples\t2\t\t2\t
Y_Unit_Label\tVolts\t\tAmps\t
Delta_X\t0.001\t\t0.001\t
***End_of_Header***\t\t\t\t
X_Value\tU\tX_Value\tI\tComment
0.000\t1\t0.000\t10
0.001\t2\t0.001\t20
"""


def test_channels_of_labview_with_times_of_their_own_keep_their_units(tmp_path):
    (tmp_path / "a.lvm").write_text(MULTI)
    found = read_recording(tmp_path / "a.lvm")
    assert (found.channels, found.units) == (["U", "I"], ["Volts", "Amps"])
    assert (found.values.tolist(), found.rate) == ([[1.0, 2.0], [10.0, 20.0]], 1000.0)
