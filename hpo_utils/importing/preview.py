"""First values of what was imported, to be compared with the files by eye."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hpo_utils.base.formatting import with_units
from hpo_utils.importing.importing import Imported

N_FIRST = 8


def first_samples(imported: Imported) -> pd.DataFrame:
    """Return the first values of the first sample, a row for each channel (and row of an image)."""
    x = np.load(imported.directory / "x_train.npy", mmap_mode="r")
    first = np.asarray(x[0]).reshape(len(imported.channels), -1)[:, :N_FIRST]
    return pd.DataFrame(first, index=imported.channels)


def first_targets(imported: Imported) -> pd.DataFrame:
    """Return the targets of the first samples."""
    t = np.load(imported.directory / "t_train.npy", mmap_mode="r")
    names = with_units(imported.target_names, imported.target_units)
    return pd.DataFrame(np.asarray(t[:N_FIRST]), columns=names)
