"""Time all four notebooks of this build and of an earlier one, in turns, on the same machine.

The earlier build is a clone of this repository at another commit; both run in this environment. The
results go to benchmarks/results/against_before_<name>.json.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import record

from hpo_utils.base.paths import project_root


def seconds_of(build: Path, given: list[str], outputs: str) -> float:
    """Return the seconds that ``python -m hpo_utils run`` of a build takes, from its start."""
    overrides = f"paths.outputs_root={outputs}"
    if "--overrides" in given:
        place = given.index("--overrides") + 1
        given = [*given[:place], f"{given[place]} {overrides}", *given[place + 1 :]]
    else:
        given = [*given, "--overrides", overrides]
    command = [sys.executable, "-m", "hpo_utils", "run", *given]
    began = time.monotonic()
    subprocess.run(
        command, cwd=build, env={**os.environ, "PYTHONPATH": str(build)}, check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return time.monotonic() - began


def main() -> None:
    """Print one row a pair, and their medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="a clone at an earlier commit")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--name", default="demo", help="ends the name of the file of results")
    options, given = parser.parse_known_args()
    builds = {"before": options.before.absolute(), "now": project_root()}
    rows = []
    print("| pair | before (s) | now (s) | ratio |\n|---|---|---|---|")
    for pair in range(options.pairs):
        took = {}
        for name in list(builds)[:: 1 if pair % 2 == 0 else -1]:
            with tempfile.TemporaryDirectory() as outputs:
                took[name] = seconds_of(builds[name], given, outputs)
        rows.append(
            {
                "before_s": took["before"],
                "now_s": took["now"],
                "ratio": took["before"] / took["now"],
            }
        )
        print(f"| {pair + 1} | {_cells(rows[-1].values())} |", flush=True)
    print(f"| median | {_cells(median(row[key] for row in rows) for key in rows[0])} |")
    record.keep(f"against_before_{options.name}", rows)


def _cells(values: Iterable[float]) -> str:
    return " | ".join(f"{value:.3g}" for value in values)


if __name__ == "__main__":
    main()
