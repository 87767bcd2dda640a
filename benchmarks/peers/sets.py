"""The data sets of the comparison: public ones, the demo, and two simulated ones of known truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.config import Config, load_config
from hpo_utils.base.paths import project_root

PUBLIC = project_root().parent / "shared" / "data"
Arrays = dict[str, NDArray[np.generic]]


def scatter() -> Arrays:
    """Spectra of three bands whose heights are the targets, under light scatter that varies."""
    rng = np.random.default_rng(0)
    axis = np.linspace(0, 1, 150)
    t = rng.uniform(0, 1, size=(300, 3))
    bands = np.exp(-(((axis - np.array([[0.25], [0.45], [0.6]])) / [[0.08], [0.1], [0.06]]) ** 2))
    gain, level, slope = rng.normal(1, 0.2, (300, 1)), *rng.normal(0, 0.3, (2, 300, 1))
    x = gain * (t @ bands) + level + slope * axis + 0.005 * rng.normal(size=(300, 150))
    return {"x": x[:, None], "t": t}


def chirp() -> Arrays:
    """Chirps that begin at any time, in noise; the targets are start frequency and sweep rate."""
    rng = np.random.default_rng(1)
    time = np.arange(256) / 256
    start, rate = rng.uniform(5, 30, (600, 1)), rng.uniform(-15, 40, (600, 1))
    delay, phase = rng.uniform(0, 0.4, (600, 1)), rng.uniform(0, 2 * np.pi, (600, 1))
    local = np.maximum(time - delay, 0.0)
    wave = np.sin(2 * np.pi * (start * local + rate * local**2 / 2) + phase) * (time > delay)
    return {"x": (wave + 0.3 * rng.normal(size=wave.shape))[:, None], "t": np.hstack([start, rate])}


def public(name: str, groups: str | None = None, split: str | None = None) -> Arrays:
    """Return a public data set's arrays."""
    names = {"x": "x", "t": "t", "groups": groups, "split": split}
    return {key: np.load(PUBLIC / name / f"{n}.npy") for key, n in names.items() if n is not None}


SETS = {
    "tecator": lambda: public("tecator_meat", "groups"),
    "riser": lambda: public("cranfield_mff", "blocks"),
    "beijing": lambda: public("beijing_air", split="split"),
    "scatter": scatter,
    "chirp": chirp,
    "demo": None,
}
WHAT = {
    "tecator": "near-infrared spectra of meat, 3 contents",
    "riser": "8 sensors of a flow in a riser, by blocks of an experiment, 4 targets",
    "beijing": "9 series of a day, 2 kinds of particles the next day, the given split",
    "scatter": "simulated spectra under scatter, 3 heights of bands",
    "chirp": "simulated chirps in noise, frequency and rate",
    "demo": "simulated Doppler images of a flow of three phases, 6 targets",
}


def settings(name: str, directory: Path) -> Config:
    """Write a data set's arrays below ``directory``; return the product's default settings."""
    root = {"paths.outputs_root": str(directory / "runs")}
    make = SETS[name]
    if make is None:
        return load_config("params/demo.yaml", **root)
    arrays = make()
    directory.mkdir(parents=True, exist_ok=True)
    for key, array in arrays.items():
        np.save(directory / f"{key}.npy", array.astype("f4") if array.dtype.kind == "f" else array)
    given = {"dataset.x_train": "x", "dataset.t_train": "t", "dataset.groups": "groups",
             "dataset.split": "split"}  # fmt: skip
    files = {k: str(directory / f"{v}.npy") for k, v in given.items() if v in arrays}
    n_channels, n_targets = arrays["x"].shape[1], arrays["t"].shape[1]
    meant = [f"channel {i}" for i in range(n_channels)] + [f"target {i}" for i in range(n_targets)]
    return load_config(
        "params/signals.yaml", **root, **files,
        **{"dataset.name": name, "study.name": name, "dataset.accept_outliers": meant},
    )  # fmt: skip
