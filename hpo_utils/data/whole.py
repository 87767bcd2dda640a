"""Whether arrays that were written earlier are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.formats.sources import sha256


def is_whole(directory: Path, manifest: dict[str, Any]) -> bool:
    """Return whether all arrays of prepared data exist and are complete and unchanged."""
    shape, n_targets = manifest["sample_shape"], len(manifest["target_names"])
    by_sample = {"t": (n_targets,), "index": (), "group": (), "weight": ()}
    digests = manifest.get("digests", {})
    kinds = ["x", "t", "index"] + ["group"] * (manifest["n_groups"] is not None)
    kinds += ["weight"] * bool(manifest.get("weighted"))
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
            is_number = kind in ("x", "t", "weight")
            if array.shape != wanted or array.dtype.kind != ("f" if is_number else "i"):
                return False
    return True


def opens(directory: Path) -> bool:
    """Return whether the simulated arrays exist and are complete."""
    return all(_mapped(directory / name) is not None for name in ("x_train.npy", "t_train.npy"))


def _mapped(file: Path) -> NDArray[Any] | None:
    """Return a memory-mapped array; None if the file is missing, truncated or has no header."""
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError):
        return None
    return array
