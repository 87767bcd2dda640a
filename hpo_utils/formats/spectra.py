"""Spectra of instruments, one file each: JCAMP-DX, Galactic SPC, OPUS (extra ``formats``)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.endings import JCAMP, SPC, ending

UNITS = {
    "XWAVEN": "1/cm",
    "XNMETR": "nm",
    "XUMETR": "µm",
    "YABSRB": "absorbance",
    "YTRANS": "transmittance",
    "YREFLEC": "reflectance",
    "YKMUNK": "Kubelka-Munk",
}  # what SPC calls them
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
Curve = tuple[NDArray[np.float64], NDArray[np.float64], str, str]  # x, y, units of both


def read_curve(path: Path) -> Curve:
    """Return axis (length,) in rising order, values (length,), and the units of both.

    Raises
    ------
    DataError
        If the package that reads the file is missing, or the file cannot be read.
    """
    package, read = "brukeropus", _of_opus
    if ending(path) in JCAMP:
        package, read = "jcamp", _of_jcamp
    elif ending(path) in SPC:
        package, read = "spc_io", _of_spc
    try:
        x, y, x_unit, y_unit = read(path)
    except ImportError:
        raise DataError(
            f"{path.suffix} files need the package {package}, to read {path.name}:"
            " pip install 'hpo_utils[formats]'"
        ) from None
    except Exception as error:  # a damaged file raises anything
        raise DataError(
            f"a spectrum must be whole, got {path.name}: {type(error).__name__}: {error}"
        ) from None
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2:
        raise DataError(f"a spectrum must be one curve, got {y.shape} values in {path.name}")
    if x[0] > x[-1]:
        x, y = x[::-1], y[::-1]
    return x, y, x_unit, y_unit


def _of_jcamp(path: Path) -> Curve:
    import jcamp

    found = jcamp.readfile(str(path))
    x, y = (np.asarray(found[key], dtype=np.float64) for key in "xy")
    return x, y, str(found.get("xunits", "")).lower(), str(found.get("yunits", "")).lower()


def _of_opus(path: Path) -> Curve:
    from brukeropus import read_opus

    found = read_opus(str(path))
    kinds = [key for key in OPUS_KINDS if key in found.data_keys]
    if not kinds:
        raise ValueError(f"it holds no spectrum, but {', '.join(found.data_keys) or 'nothing'}")
    curve = getattr(found, kinds[0])
    x, y = (np.asarray(values, dtype=np.float64) for values in (curve.x, curve.y))
    return x, y, OPUS_UNITS.get(curve.dxu, ""), OPUS_KINDS[kinds[0]]


def _of_spc(path: Path) -> Curve:
    import spc_io

    logging.getLogger("spc_io").setLevel(logging.ERROR)  # it warns of dates that nobody set
    with path.open("rb") as file:
        found = spc_io.SPC.from_bytes_io(file)
    if len(found) != 1:
        raise ValueError(f"it holds {len(found)} curves")
    curve: Any = found[0]
    x, y = (np.asarray(values, dtype=np.float64) for values in (curve.xarray, curve.yarray))
    return x, y, UNITS.get(found.xtype, ""), UNITS.get(found.ytype, "")
