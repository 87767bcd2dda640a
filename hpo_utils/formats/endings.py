"""Endings of files, by what they hold."""

from __future__ import annotations

from pathlib import PurePath

TEXTS, SHEETS, PARQUET, R = (
    (".csv", ".tsv", ".txt", ".dat", ".asc", ".prn", ".xy", ".dpt"),
    (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods"),
    (".parquet",),
    (".rds", ".rda", ".rdata"),
)
GZIP = ".gz"
TABLES = (*TEXTS, *SHEETS, *PARQUET, *R)
NUMPY, MATLAB, TIFF = (".npy", ".npz"), (".mat",), (".tif", ".tiff")
HDF5 = (".h5", ".hdf5", ".hdf", ".nc", ".nc4", ".cdf")  # and NetCDF
ZARR = (".zarr",)
ARRAYS = (*NUMPY, *MATLAB, *HDF5, *ZARR, *TIFF)
CASES = (".ts",)  # of aeon and sktime
WAV, TDMS, LVM, MDF = (".wav",), (".tdms",), (".lvm",), (".mf4", ".mdf")
JCAMP, SPC, OMNIC, OPUS = (".jdx", ".dx", ".jcm"), (".spc",), (".spa", ".spg"), (".0",)
ASD, SVC = (".asd",), (".sed", ".sig")  # of spectroradiometers
CURVES = (*SPC, *OMNIC)  # of which a file may hold several
SPECTRA = (*JCAMP, *CURVES, *OPUS, *ASD, *SVC)
RECORDINGS = (*WAV, *TDMS, *LVM, *MDF, *SPECTRA, *TABLES, *NUMPY, *MATLAB, *HDF5, *ZARR)


def ending(path: PurePath) -> str:
    """Return a file's ending in small letters; OPUS numbers its files: all count as ``.0``.

    Tables of text may be packed: ``.csv.gz`` counts as ``.csv``.
    """
    suffix = path.suffix.lower()
    if suffix == GZIP and (inner := path.with_suffix("").suffix.lower()) in TEXTS:
        return inner
    return OPUS[0] if suffix[1:].isdigit() else suffix
