"""Time and peak memory of importing a folder of recordings, against reading its files alone.

    python benchmarks/many_recordings.py [--recordings 2000] [--length 50000] [--cold]

Without ``--cold`` both find the files in memory; with it, which needs Linux and root, both read
them from the disk.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.io import wavfile

RATE = 10_000  # Hz


def write_recordings(folder: Path, n_recordings: int, length: int) -> None:
    """Write WAV files of float32, and a table with a flow for each."""
    rng = np.random.default_rng(0)
    (folder / "runs").mkdir()
    rows = ["file,flow"]
    for number in range(n_recordings):
        name = f"run_{number:05}.wav"
        wavfile.write(folder / "runs" / name, RATE, rng.normal(size=length).astype(np.float32))
        rows.append(f"{name},{rng.uniform():.6f}")
    (folder / "flows.csv").write_text("\n".join(rows))


def forget_files() -> None:
    """Have Linux drop what it keeps of files in memory."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("1")


def read_alone(folder: Path, cold: bool) -> float:
    """Return the seconds that reading all files takes."""
    if cold:
        forget_files()
    started = time.perf_counter()
    for file in sorted((folder / "runs").iterdir()):
        wavfile.read(file)
    return time.perf_counter() - started


def import_all(folder: Path, out: Path, cold: bool) -> tuple[float, float]:
    """Return seconds and peak memory in MB of ``python -m hpo_utils import``."""
    if cold:
        forget_files()
    command = [
        *(sys.executable, "-m", "hpo_utils", "import", str(folder / "runs")),
        *("--targets", str(folder / "flows.csv"), "--out", str(out), "--window", "5000"),
    ]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3


def main() -> None:
    """Measure in turns, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=2000)
    parser.add_argument("--length", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_recordings(folder, options.recordings, options.length)
        read_alone(folder, cold=False)  # afterwards both find the files in memory
        pairs = [
            (
                read_alone(folder, options.cold),
                *import_all(folder, folder / f"out_{number}", options.cold),
            )
            for number in range(options.repeats)
        ]
    alone, imported, memory = (float(np.median(each)) for each in zip(*pairs, strict=True))
    print(f"reading {alone:.1f} s, importing {imported:.1f} s, {imported / alone:.1f} times")
    print(f"peak memory {memory:.0f} MB")


if __name__ == "__main__":
    main()
