"""Are prepared arrays there, and as they were written?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.sources import sha256


def is_whole(directory: Path, manifest: dict[str, Any]) -> bool:
    """Return whether all arrays of prepared data are there, and none of them was cut."""
    shape, n_targets = manifest["sample_shape"], len(manifest["target_names"])
    by_sample = {"t": (n_targets,), "index": (), "group": ()}
    digests = manifest.get("digests", {})
    kinds = ["x", "t", "index"] + ["group"] * (manifest["n_groups"] is not None)
    for part, n_samples in manifest["n_samples"].items():
        for kind in kinds:
            wanted = (n_samples, *by_sample.get(kind, shape))
            file = directory / f"{kind}_{part}.npy"
            array = _mapped(file)
            if array is None:
                return False
            digest = digests.get(file.name)
            if digest is not None and digest != sha256(file):
                return False
            if array.shape != wanted or array.dtype.kind not in ("f" if kind in "xt" else "i"):
                return False
    return True


def opens(directory: Path) -> bool:
    """Return whether simulated arrays are there and whole."""
    return all(_mapped(directory / name) is not None for name in ("x_train.npy", "t_train.npy"))


def _mapped(file: Path) -> NDArray[Any] | None:
    """Return an array, memory-mapped; None if it is missing, cut or has no header."""
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError):
        return None
    return array
