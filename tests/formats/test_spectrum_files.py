"""Spectra of instruments, from files written by hand."""

import struct

import numpy as np
import pytest

from hpo_utils.base.errors import DataError
from hpo_utils.formats.importing import import_files
from hpo_utils.formats.recordings import Axis, read_recording
from hpo_utils.formats.request import Request

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
    """One curve of float32 over an even axis: header of 512 bytes, then 32, then the values."""
    header = struct.pack("<BBBBiddi", 0, 0x4B, 0, 0x80, len(y), 4000.0, 3996.0, 1)
    header += struct.pack("<BBBBi", 1, 2, 0, 0, 0)  # wavenumbers, absorbance, no date
    path.write_bytes(header.ljust(512, b"\0") + bytes(32) + np.asarray(y, "<f4").tobytes())


@pytest.mark.parametrize(("name", "write"), [("a.jdx", write_jcamp), ("a.spc", write_spc)])
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


@pytest.mark.parametrize("name", ["a.jdx", "a.spc"])
@pytest.mark.parametrize("content", [b"", b"##TITLE=a\n", bytes(600)])
def test_a_damaged_spectrum_is_refused_in_a_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="spectrum must be"):
        read_recording(tmp_path / name)
