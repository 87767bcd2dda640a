"""What a benchmark found, kept as JSON: every run, the machine, the versions, the command."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

DIRECTORY = Path(os.environ.get("BENCHMARK_RESULTS", Path(__file__).parent / "results"))


def keep(name: str, runs: list[dict[str, Any]], **settings: Any) -> Path:
    """Write ``results/<name>.json`` and return its path; numbers are kept to four digits."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = DIRECTORY / f"{name}.json"
    script = Path(sys.argv[0]).name
    found = {
        "command": shlex.join(["python", f"benchmarks/{script}", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "machine": machine(),
        "versions": {each: version(each) for each in ("hpo_utils", "torch", "optuna", "numpy")},
        **settings,
        "runs": runs,
    }
    path.write_text(json.dumps(_rounded(found), indent=1) + "\n", encoding="utf-8")
    return path


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, cores, memory, Python."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "python": platform.python_version(),
    }


def _rounded(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _rounded(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [_rounded(value) for value in found]
    return float(f"{found:.4g}") if isinstance(found, float) else found


def peak() -> int:
    """Return the largest resident size of this process in bytes, on Linux.

    ``ru_maxrss`` would count its parent's, too.
    """
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if "VmHWM" in line).split()[1])
