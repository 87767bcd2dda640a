"""Spectra of instruments: JCAMP-DX, SPC, OPUS, OMNIC, spectroradiometers (extra ``formats``)."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.endings import ASD, JCAMP, OMNIC, OPUS, SPC, SVC, ending
from hpo_utils.formats.sources import in_one_line
from hpo_utils.formats.tables import PLACES, numbers_in

UNITS = {
    "XWAVEN": "1/cm",
    "XNMETR": "nm",
    "XUMETR": "µm",
    "XRAMANS": "1/cm",
    "YABSRB": "absorbance",
    "YTRANS": "transmittance",
    "YREFLEC": "reflectance",
    "YKMONK": "Kubelka-Munk",
    "YLOGDR": "log(1/R)",
    "YPERCNT": "%",
    "YCOUNT": "counts",
    "YINTENS": "intensity",
}  # what spc_io calls them
# what brukeropus calls spectra, the results before what was measured for them
OPUS_KINDS = {
    "a": "absorbance",
    "t": "transmittance",
    "r": "reflectance",
    "km": "Kubelka-Munk",
    "atr": "ATR",
    "logr": "log(1/R)",
    "ra": "Raman",
    "e": "emission",
    "pas": "photoacoustic",
    "sm": "intensity",
}
OPUS_UNITS = {"WN": "1/cm", "MI": "µm"}
Curves = tuple[NDArray[np.float64], NDArray[np.float64], str, str]  # x, y, units of both
ASD_HEAD, TRANSMITTANCE = 484, 6  # bytes before the values, and a kind of measurement
TOLERANCE = 0.01  # of the range by which values may differ from what a header says of them


def read_curve(path: Path) -> Curves:
    """Return axis (length,) in rising order, values (length,), and the units of both.

    Raises
    ------
    DataError
        If the package that reads the file is missing, the file cannot be read, or it holds several
        curves.
    """
    x, y, x_unit, y_unit = read_curves(path)
    if len(y) != 1:
        raise DataError(
            f"a spectrum must be one curve, got {len(y)} in {path.name}: import this file alone, as"
            " samples, or save its curves one by one"
        )
    return x, y[0], x_unit, y_unit


def read_curves(path: Path) -> Curves:
    """Return axis (length,) in rising order, values (n_curves, length), and the units of both.

    Raises
    ------
    DataError
        As ``read_curve``, or if the curves have several axes.
    """
    kind = ending(path)
    package, read = next((package, read) for kinds, package, read in _readers() if kind in kinds)
    try:
        x, y, x_unit, y_unit = read(path)
    except ImportError:
        raise DataError(
            f"{path.suffix} files need the package {package}, to read {path.name}:"
            " pip install 'hpo_utils[formats]'"
        ) from None
    except Exception as error:  # a damaged file raises anything
        raise DataError(
            f"a spectrum must be whole, got {path.name}: {in_one_line(error)}"
        ) from None
    y = np.atleast_2d(y)
    if x.shape != y.shape[1:] or len(x) < 2:
        raise DataError(f"a spectrum must be a curve, got {y.shape[1:]} values in {path.name}")
    if x[0] > x[-1]:
        x, y = x[::-1], y[:, ::-1]
    return x, y, x_unit, y_unit


def _readers() -> list[tuple[tuple[str, ...], str, Callable[[Path], Curves]]]:
    """Return endings, the package that is needed, and the function that reads such files."""
    return [
        (JCAMP, "jcamp", _of_jcamp),
        (SPC, "spc_io", _of_spc),
        (OPUS, "brukeropus", _of_opus),
        (OMNIC, "spectrochempy-omnic", _of_omnic),
        (ASD, "", _of_asd),
        (SVC, "", _of_svc),
    ]


def _of_jcamp(path: Path) -> Curves:
    """Read a curve, the only one if the file is a folder of blocks.

    jcamp prints what it finds wrong and goes on; so the values are compared with the header.
    """
    import jcamp

    with redirect_stdout(StringIO()):
        found = jcamp.readfile(str(path))
    blocks = [each for each in (found, *found.get("children", [])) if len(each.get("x", []))]
    if len(blocks) != 1:
        raise ValueError(f"it holds {len(blocks) or 'no'} curves of values along an axis")
    (block,) = blocks
    x, y = (np.asarray(block[key], dtype=np.float64) for key in "xy")
    for told, own in (("firsty", y[0]), ("maxy", y.max()), ("miny", y.min())):
        if told in block and abs(float(block[told]) - own) > TOLERANCE * max(np.ptp(y), abs(own)):
            raise ValueError(f"its header says {told.upper()} {block[told]:g}, its values {own:g}")
    return x, y, str(block.get("xunits", "")).lower(), str(block.get("yunits", "")).lower()


def _of_opus(path: Path) -> Curves:
    from brukeropus import read_opus

    found = read_opus(str(path))
    kinds = [key for key in OPUS_KINDS if key in found.data_keys]
    if not kinds:
        raise ValueError(f"it holds no spectrum, but {', '.join(found.data_keys) or 'nothing'}")
    curve = getattr(found, kinds[0])
    x, y = (np.asarray(values, dtype=np.float64) for values in (curve.x, curve.y))
    return x, y, OPUS_UNITS.get(curve.dxu, ""), OPUS_KINDS[kinds[0]]


def _of_spc(path: Path) -> Curves:
    import spc_io
    from spc_io.low_level import SpcRaw

    logging.getLogger("spc_io").setLevel(logging.ERROR)  # it warns of dates that nobody set
    with path.open("rb") as file:
        raw = SpcRaw.from_bytes_io(file)
    # a line of the log with two equals signs would end the reading
    raw.log_book = SimpleNamespace(
        disk_as_bytes=bytearray, binary_as_bytes=bytearray, txt_as_dict=dict
    )
    found = spc_io.SPC.from_spc_raw(raw)
    axes: list[Any] = [curve.xarray for curve in found]
    if any(not np.array_equal(axis, axes[0]) for axis in axes):
        raise ValueError(f"it holds {len(axes)} curves, each with an axis of its own")
    x = np.asarray(axes[0], dtype=np.float64)
    y = np.stack([np.asarray(curve.yarray, dtype=np.float64) for curve in found])
    return x, y, UNITS.get(found.xtype, ""), UNITS.get(found.ytype, "")


def _of_omnic(path: Path) -> Curves:
    from spectrochempy_omnic import OMNICReader

    found = OMNICReader({path.name.lower(): path.read_bytes()})
    unit = str(found.x_units or "").replace("cm^-1", "1/cm").replace("um", "µm")
    return found.x, np.asarray(found.data, dtype=np.float64), unit, str(found.title).lower()


def _of_asd(path: Path) -> Curves:
    """Read what the white reference gives, else the counts of the detector.

    Integration time and gain are those of both spectra, so that their ratio is the reflectance.
    Layout: ASD File Format, version 8, revision B, sections 1 to 3.
    """
    content = path.read_bytes()
    if content[:3] not in (b"ASD", b"as2", b"as3", b"as4", b"as5", b"as6", b"as7", b"as8"):
        raise ValueError("it does not begin as a file of ASD does")
    first, step, code = struct.unpack_from("<ffB", content, 191)
    (length,) = struct.unpack_from("<H", content, 204)
    kind = np.dtype({0: "<f4", 1: "<i4", 2: "<f8"}[code])
    counts = np.frombuffer(content, kind, length, ASD_HEAD).astype(np.float64)
    x = first + step * np.arange(length)
    at = ASD_HEAD + length * kind.itemsize
    if len(content) < at + 2 and content[:3] != b"ASD":  # the first version ends here
        raise ValueError("it ends before the white reference")
    if content[at : at + 2] != b"\xff\xff":  # true
        return x, counts, "nm", "counts"
    (n_described,) = struct.unpack_from("<h", content, at + 18)  # after two times
    white = np.frombuffer(content, kind, length, at + 20 + n_described).astype(np.float64)
    ratio = np.divide(counts, white, out=np.full(length, np.nan), where=white > 0)
    return x, ratio, "nm", "transmittance" if content[186] == TRANSMITTANCE else "reflectance"


def _of_svc(path: Path) -> Curves:
    """Read text of Spectra Vista (.sig) or Spectral Evolution (.sed): the last column.

    It is the reflectance, if the file has one. Detectors that overlap stay one after the other. A
    comma separates decimals.
    """
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines()]
    start = next((i for i, line in enumerate(lines) if line.lower() in ("data:", "data=")), None)
    if start is None:
        raise ValueError("no line 'data' stands above its values")
    body = [line for line in lines[start + 1 :] if line]
    names = ["wavelength", "reflectance [%]"]
    if body and numbers_in(body[0].split()) is None:
        names, body = body[0].split("\t"), body[1:]
    values = np.loadtxt([line.replace(",", ".") for line in body], ndmin=2)
    told = next((line for line in lines[:start] if line.startswith("Channels:")), "")
    if told and int(told.split(":")[1]) != len(values):
        raise ValueError(f"its header says {told}, but it holds {len(values)}")
    place = next((k for k, name in enumerate(names) if PLACES.match(name)), 0)  # not Chan.#
    return values[:, place], values[:, -1], "nm", names[-1]
