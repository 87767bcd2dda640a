"""Spectra of instruments, from files written by hand."""

import struct

import numpy as np
import pytest

from hpo_utils.base.errors import DataError
from hpo_utils.formats.recordings import Axis, read_recording
from hpo_utils.importing.importing import import_files
from hpo_utils.importing.later import read_inputs
from hpo_utils.importing.request import Request

Y = [0.1, 0.2, 0.3, 0.4, 0.5]
JDX = """##TITLE=a
##JCAMP-DX=4.24
##DATA TYPE=INFRARED SPECTRUM
##XUNITS=1/CM
##YUNITS=ABSORBANCE
##XFACTOR=1
##YFACTOR=0.001
##FIRSTX=4000
##LASTX=3996
##DELTAX=-1
##NPOINTS=5
##XYDATA=(X++(Y..Y))
4000 {}
##END=
"""


def write_jcamp(path, y=Y):
    path.write_text(JDX.format(" ".join(str(round(1000 * each)) for each in y)))


def write_spc(path, y=Y):
    """Curves of float32 over an even axis: a header of 512 bytes; for each 32, then its values."""
    curves = np.atleast_2d(y)
    kind = 4 if len(curves) > 1 else 0  # several curves
    header = struct.pack(
        "<BBBBiddi", kind, 0x4B, 0, 0x80, curves.shape[1], 4000.0, 3996.0, len(curves)
    )
    header += struct.pack("<BBBBi", 1, 2, 0, 0, 0)  # wavenumbers, absorbance, no date
    body = b"".join(bytes(32) + np.asarray(curve, "<f4").tobytes() for curve in curves)
    text = b"W=Modified User=me\r\n\0"  # as GRAMS writes its log
    header = header.ljust(248, b"\0") + struct.pack("<i", 512 + len(body))
    log = struct.pack("<5i", 64 + len(text), 4096, 64, 0, 0).ljust(64, b"\0") + text
    path.write_bytes(header.ljust(512, b"\0") + body + log)


def write_opus(path, y=Y):
    """A data block of float32 in half units, and the block that tells its axis and its scale."""
    parameters = {"DPF": 1, "NPT": len(y), "FXV": 4000.0, "LXV": 3996.0, "CSF": 2.0, "DXU": "WN"}
    status = b""
    for name, value in parameters.items():
        kind, content = (
            (0, struct.pack("<i", value)) if isinstance(value, int)
            else (1, struct.pack("<d", value)) if isinstance(value, float)
            else (3, value.encode().ljust(4, b"\0"))
        )  # fmt: skip
        status += name.encode() + b"\0" + struct.pack("<hh", kind, len(content) // 2) + content
    blocks = [status + b"END\0" + bytes(4), (np.asarray(y, "<f4") / 2).tobytes()]
    # absorbance (4) of a ratio (3), real (3), the first with the parameters of data (1)
    kinds = [3 | 3 << 2 | 1 << 4 | 4 << 10, 3 | 3 << 2 | 4 << 10]
    header = b"\n\n\xfe\xfe" + struct.pack("<diii", 920622.0, 24, 2, 2)
    start = len(header) + 12 * len(blocks)
    for kind, block in zip(kinds, blocks, strict=True):
        header += struct.pack("<iii", kind, len(block) // 4, start)
        start += len(block)
    path.write_bytes(header + b"".join(blocks))


def write_omnic(path, y=Y):
    """A table of two blocks: what was measured, and the values as float32."""
    head, values = 400, np.asarray(y, "<f4").tobytes()
    content = bytearray(1000) + values
    content[:18] = b"Spectral Data File"
    struct.pack_into("<Hi", content, 304, 2, head)
    struct.pack_into("<Hii", content, 320, 3, 1000, len(values))
    struct.pack_into("<4i2f", content, head, 0, len(y), 1, 17, 4000.0, 3996.0)  # 1/cm, absorbance
    path.write_bytes(content)


def write_asd(path, y=Y, white=None, kind="<f8"):
    """A header of 484 bytes, counts, and those of the white reference."""
    head = bytearray(484)
    head[:3] = b"as2"
    struct.pack_into("<9h", head, 160, 0, 0, 0, 1, 0, 109, 0, 0, 0)  # 1 January 2009
    struct.pack_into("<ffb", head, 191, 350.0, 1.0, {"<f4": 0, "<f8": 2}[kind])
    struct.pack_into("<H", head, 204, len(y))
    struct.pack_into("<L", head, 390, 17)  # milliseconds
    flag = b"\0\0" if white is None else b"\xff\xff"
    described = bytes(16) + struct.pack("<h", 5) + b"white"
    tail = flag + described + np.asarray(white or [], kind).tobytes()
    path.write_bytes(head + np.asarray(y, kind).tobytes() + tail)


SED = """Comment:
Measurement: REFLECTANCE
Channels: 5
Columns [4]:
Data:
Wvl\tNorm. DN (Ref.)\tNorm. DN (Target)\tReflect. [1.0]
"""
SIG = "/*** Spectra Vista SIG Data ***/\nunits= Radiance, Radiance\ndata=\n"


def write_svc(path, y=Y, head=SIG):
    rows = [f" {350 + k}.0  2.0E+000 {2 * value}  {value}" for k, value in enumerate(y)]
    path.write_text(head + "\n".join(rows) + "\n")


WRITERS = [
    ("a.jdx", write_jcamp), ("a.spc", write_spc), ("a.0", write_opus), ("a.17", write_opus),
    ("a.SPA", write_omnic),
]  # fmt: skip


@pytest.mark.parametrize(("name", "write"), WRITERS)
def test_an_axis_that_falls_is_turned_round(tmp_path, name, write):
    write(tmp_path / name)
    found = read_recording(tmp_path / name)
    np.testing.assert_allclose(found.values, [Y[::-1]], rtol=1e-6)
    assert found.axis == Axis("axis [1/cm]", 3996.0, 4000.0)
    assert (found.channels, found.rate) == (["absorbance"], None)


def test_a_folder_of_spectra_is_joined_with_its_table(tmp_path):
    (tmp_path / "spectra").mkdir()
    for k in range(6):
        write_jcamp(tmp_path / f"spectra/s{k}.jdx", [0.1 * k, *Y[1:]])
    rows = "\n".join(f"s{k},{k}" for k in range(6))
    (tmp_path / "lab.csv").write_text(f"sample,fat [%]\n{rows}\n")
    asked = Request([tmp_path / "spectra"], tmp_path / "meat", tmp_path / "lab.csv")
    found = import_files(asked)
    x, t = np.load(tmp_path / "meat/x_train.npy"), np.load(tmp_path / "meat/t_train.npy")
    np.testing.assert_allclose(x[:, 0, -1], 0.1 * t[:, 0], atol=1e-6)
    assert (found.axis.first, found.axis.last) == (3996.0, 4000.0)
    assert not (tmp_path / "meat/groups.npy").exists()


def test_spectra_of_one_specimen_that_opus_numbered_stay_together(tmp_path):
    (tmp_path / "spectra").mkdir()
    for k in range(6):
        for repeat in range(2):
            write_opus(tmp_path / f"spectra/s{k}.{repeat}", [0.1 * k, *Y[1:]])
    rows = "\n".join(f"s{k},{k}" for k in range(6))
    (tmp_path / "lab.csv").write_text(f"sample,fat [%]\n{rows}\n")
    import_files(Request([tmp_path / "spectra"], tmp_path / "meat", tmp_path / "lab.csv"))
    x, t = np.load(tmp_path / "meat/x_train.npy"), np.load(tmp_path / "meat/t_train.npy")
    np.testing.assert_allclose(x[:, 0, -1], 0.1 * t[:, 0], atol=1e-6)
    np.testing.assert_array_equal(np.load(tmp_path / "meat/groups.npy"), 2 * t[:, 0])


def test_curves_of_one_file_are_samples(tmp_path):
    y = np.arange(60.0).reshape(12, 5)
    write_spc(tmp_path / "a.spc", y)
    (tmp_path / "lab.csv").write_text("fat\n" + "\n".join(map(str, range(12))))
    asked = Request([tmp_path / "a.spc"], tmp_path / "meat", tmp_path / "lab.csv")
    found = import_files(asked)
    np.testing.assert_array_equal(np.load(tmp_path / "meat/x_train.npy")[:, 0], y[:, ::-1])
    assert (found.channels, found.axis) == (["absorbance"], Axis("axis [1/cm]", 3996.0, 4000.0))
    raw, _ = read_inputs(tmp_path / "a.spc", None, (1, 5))
    np.testing.assert_array_equal(raw[:, 0], y[:, ::-1])
    with pytest.raises(DataError, match="must be one curve, got 12 in a.spc: import this file"):
        read_recording(tmp_path / "a.spc")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("##NPOINTS", "##MAXY=0.6\n##NPOINTS", "its header says MAXY 0.6, its values 0.5"),
        (
            "##XYDATA=(X++(Y..Y))\n4000 100 200 300 400 500",
            "##PEAK TABLE=(XY..XY)\n4000,1",
            "spectrum must be",
        ),
    ],
)
def test_a_jcamp_file_that_is_read_otherwise_than_its_header_says_is_refused(
    tmp_path, old, new, said
):
    write_jcamp(tmp_path / "a.jdx")
    text = (tmp_path / "a.jdx").read_text()
    assert old in text
    (tmp_path / "a.jdx").write_text(text.replace(old, new))
    with pytest.raises(DataError, match=said):
        read_recording(tmp_path / "a.jdx")


def test_counts_of_a_spectroradiometer_are_seen_against_its_white_reference(tmp_path):
    path = tmp_path / "leaf.asd"
    write_asd(path, white=[1.0, 2.0, 0.0, 4.0, 5.0])
    found = read_recording(path)
    np.testing.assert_allclose(found.values, [[0.1, 0.1, np.nan, 0.1, 0.1]])
    assert (found.channels, found.axis) == (["reflectance"], Axis("axis [nm]", 350.0, 354.0))
    write_asd(path)
    found = read_recording(path)
    np.testing.assert_array_equal(found.values, [Y])
    assert found.channels == ["counts"]
    write_asd(path, white=[1.0])
    for length in (-10, 484 + 5 * 8):  # within the white reference, and before it
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(DataError, match=r"must be whole, got leaf\.asd"):
            read_recording(path)
    write_asd(path, white=[2.0] * 5, kind="<f4")
    np.testing.assert_allclose(read_recording(path).values, [np.array(Y) / 2], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "head", "channel"),
    [("leaf.sed", SED, "Reflect. [1.0]"), ("leaf.sig", SIG, "reflectance [%]")],
)
def test_text_of_a_spectroradiometer(tmp_path, name, head, channel):
    path = tmp_path / name
    write_svc(path, head=head)
    found = read_recording(path)
    np.testing.assert_array_equal(found.values, [Y])
    assert (found.channels, found.axis) == ([channel], Axis("axis [nm]", 350.0, 354.0))
    path.write_text(path.read_text()[:-14])  # within the last row
    with pytest.raises(DataError, match=rf"must be whole, got {name}"):
        read_recording(path)


def test_a_column_of_channels_is_no_axis_and_a_comma_separates_decimals(tmp_path):
    head = "Data:\nChan.#\tWvl\tReflect. %\n"
    (tmp_path / "a.sed").write_text(head + "0\t350,0\t1,5\n1\t351,0\t2,5\n")
    found = read_recording(tmp_path / "a.sed")
    assert (found.axis.first, found.axis.last) == (350.0, 351.0)
    np.testing.assert_array_equal(found.values, [[1.5, 2.5]])


def test_a_text_of_a_spectroradiometer_that_lacks_rows(tmp_path):
    write_svc(tmp_path / "leaf.sed", Y[:4], SED)
    with pytest.raises(DataError, match="its header says Channels: 5, but it holds 4"):
        read_recording(tmp_path / "leaf.sed")


@pytest.mark.parametrize(
    "name", ["a.jdx", "a.spc", "a.0", "a.spa", "a.spg", "a.asd", "a.sed", "a.sig"]
)
@pytest.mark.parametrize("content", [b"", b"##TITLE=a\n", bytes(600)])
def test_a_damaged_spectrum_is_refused_in_a_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="spectrum must be"):
        read_recording(tmp_path / name)
