"""Helpers of the notebooks that tune CNN regressors on measured signals."""

__version__ = "0.1.0"
