"""Run product and peers on the same splits of the same data, and write docs/peers.md.

python benchmarks/peers/run.py [--seconds 60] [--sets NAME …] [--peers NAME …]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import sets
import torch
from numpy.typing import NDArray

from hpo_utils.base.paths import project_root
from hpo_utils.baselines.views import TREE, views
from hpo_utils.data.preparation import prepare_data, with_source
from hpo_utils.data.split import PARTS
from hpo_utils.scores.intervals import ratio_interval

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "peers.json"
SUMMARY = project_root() / "docs" / "peers.md"
OURS = {
    "product": "product.py",
    "script": "peer_script.py",
    "ridge": "peer_ridge.py",
}  # in this environment
PEERS = {
    "product": "this project", "script": "a plain script: PyTorch, Optuna",
    "ridge": "ridge regression on this project's views",
    "aeon": "aeon 1.6.0", "autogluon-flat": "AutoGluon 1.6.3, flat signals",
    "autogluon-features": "AutoGluon 1.6.3, this project's features", "nirs4all": "nirs4all 1.4.10",
}  # fmt: skip
OVERTIME = 3.0  # times the seconds, after which a peer is ended
CONFIDENCE = 0.95
NOTES = {  # on results, by set and seconds: why this project is not first
    ("chirp", "60"): [
        "",
        "The base configuration starts where ridge regression ends, which chirps defeat: its trial"
        " is the longest and among the",
        "worst, and a minute has time for few others.",
    ],
}


def export(name: str, directory: Path) -> tuple[Path, dict[str, NDArray[Any]]]:
    """Write the parts of a data set; return the file, and what only this process may see."""
    cfg = with_source(sets.settings(name, directory / name))
    data = prepare_data(cfg)
    raw, t = (np.load(source["path"]) for source in data.manifest["sources"][:2])
    used = raw[:, data.manifest["channels"]]
    arrays = {"raw_test": raw[data.sample_numbers("test")]}
    for part in PARTS:
        rows = data.sample_numbers(part)
        arrays[f"x_{part}"] = used[rows].astype(np.float32)
        pieces = torch.from_numpy(np.array(data.inputs(part))).split(256)
        found = [views(piece, TREE)[0].float().numpy() for piece in pieces]
        arrays[f"f_{part}"] = np.concatenate(found)
        if part != "test":
            arrays[f"t_{part}"] = t[rows].reshape(len(rows), -1).astype(np.float32)
    file = directory / f"{name}.npz"
    np.savez(file, **arrays)
    units = data.independent_units("test")
    hidden = {"t": data.targets("test"), "std": data.target_scaler.std}
    return file, hidden if units is None else {**hidden, "units": units}


def interpreter(peer: str) -> Path:
    """Return the Python of a peer's environment, which is made if it is not there."""
    if peer in OURS:
        return Path(sys.executable)
    name = peer.partition("-")[0]
    python = HERE / ".venvs" / name / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
        needed = HERE / "requirements" / f"{name}.txt"
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", needed], check=True)
    return python


def run(peer: str, file: Path, out: Path, seconds: float) -> dict[str, Any]:
    """Run a peer; return its wall time, peak memory and what it says."""
    program = HERE / OURS.get(peer, f"peer_{peer.partition('-')[0]}.py")
    out.mkdir(parents=True)
    path = os.pathsep.join([str(project_root()), str(HERE)]) if peer in OURS else ""
    log = out / "log.txt"
    began, peak, ended = time.monotonic(), 0, False
    with log.open("w") as written:
        process = psutil.Popen(
            [interpreter(peer), program, file, out, f"{seconds:g}"], cwd=out, stdout=written,
            stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        while process.poll() is None:
            family = [process, *process.children(recursive=True)]
            peak = max(peak, sum(map(memory, family)))
            if ended := time.monotonic() - began > OVERTIME * seconds:
                for each in family:
                    with suppress(psutil.Error):  # it may just have ended
                        each.kill()
            time.sleep(0.2)
    wall = time.monotonic() - began
    found: dict[str, Any] = {"wall_s": round(wall, 1), "peak_mb": round(peak / 2**20)}
    if not (out / "predictions.npz").is_file():
        lines = log.read_text(errors="replace").strip().splitlines() or ["nothing was said"]
        if ended:
            lines = [f"ended after {wall:.0f} s without a prediction"]
        return {**found, "refused": " ".join(lines[-2:])[-160:]}
    kept = (out / "model").rglob("*")
    size = sum(each.stat().st_size for each in kept if each.is_file())
    said = str(np.load(out / "predictions.npz")["said"])
    return {**found, "model_mb": round(size / 2**20, 1), "said": said}


def memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def judge(rows: dict[str, dict[str, Any]], hidden: dict[str, NDArray[Any]], root: Path) -> None:
    """Add RMSE and R² of each peer, and its error over the product's with an interval."""
    squares = {}
    for peer, row in rows.items():
        if "refused" in row:
            continue
        y = np.load(root / peer / "predictions.npz")["y"]
        error = (y - hidden["t"]) ** 2
        variance = hidden["t"].var(axis=0)
        row["rmse"] = np.sqrt(error.mean(axis=0)).round(4).tolist()
        row["r2"] = float(np.mean(1 - error.mean(axis=0) / variance).round(4))
        squares[peer] = (error / variance).mean(axis=1)[:, None]
    if "product" not in squares:
        return
    for peer, each in squares.items():
        if peer != "product":
            ours, units = squares["product"], hidden.get("units")
            ((low, high),) = ratio_interval(each, ours, units, CONFIDENCE)
            rows[peer]["over_product"] = float(each.mean() / squares["product"].mean())
            rows[peer]["interval"] = [low, high]


def summary(results: dict[str, Any]) -> str:
    """Return docs/peers.md."""
    lines = [
        "# Side by side with the peers",
        "",
        f"`python benchmarks/peers/run.py --seconds N` on {results['machine']}. Every peer had the"
        " same arrays, parts, cores and time; what it is and how it was set up stands in",
        "`benchmarks/peers/peer_*.py`. One run each, this project with its defaults and"
        " `study.budget`. *Error* is the mean over targets of the",
        "squared error over the target's variance, divided by this project's: above one, this"
        " project errs less. The",
        f"{CONFIDENCE:.0%} intervals are by samples, or groups. Time beyond the given one is"
        " that of starting, and of what a peer does after its search.",
        "",
        "| data | seconds | highest R² | this project |",
        "|---|---|---|---|",
    ]
    for name in sets.WHAT:
        for seconds, found in sorted(results["sets"].get(name, {}).items(), key=by_seconds):
            first = max(found, key=lambda peer: found[peer].get("r2", -9e9))
            lines.append(f"| {name} | {seconds} | {PEERS[first]} | {standing(first, found)} |")
    for name, what in sets.WHAT.items():
        for seconds, found in sorted(results["sets"].get(name, {}).items(), key=by_seconds):
            lines += ["", f"## {name}, {seconds} s: {what}", "", *table(found), ""]
            said = (f"- {PEERS[p]}: {row['said']}" for p, row in found.items() if "said" in row)
            lines += [*said, *NOTES.get((name, seconds), [])]
    return "\n".join(lines) + "\n"


def standing(first: str, rows: dict[str, dict[str, Any]]) -> str:
    """Return how this project stands beside the peer that is first."""
    if first == "product":
        return "first"
    low, high = rows[first]["interval"]
    return (
        "behind" if high is not None and high < 1 else f"not told apart ({low:.2f} to {high:.2f})"
    )


def by_seconds(item: tuple[str, Any]) -> float:
    return float(item[0])


def table(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Return the lines of a table with one row a peer, the best first."""
    lines = [
        "| peer | mean R² | RMSE of each target | error | interval | time | memory | model |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for peer, row in sorted(rows.items(), key=lambda item: -item[1].get("r2", -9e9)):
        cost = f"{row['wall_s']:.0f} s | {row['peak_mb'] / 1024:.1f} GB"
        if "refused" in row:
            lines.append(f"| {PEERS[peer]} | refused: {row['refused']} | | | | {cost} | |")
            continue
        low, high = row.get("interval", (None, None))
        between = "" if low is None or high is None else f"{low:.2f} to {high:.2f}"
        unknown = "1" if peer == "product" else ""
        over = f"{row['over_product']:.2f}" if "over_product" in row else unknown
        rmse = ", ".join(f"{value:.3g}" for value in row["rmse"])
        lines.append(
            f"| {PEERS[peer]} | {row['r2']:.3f} | {rmse} | {over} | {between} | {cost} |"
            f" {row['model_mb']:g} MB |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--sets", nargs="+", default=list(sets.SETS), choices=list(sets.SETS))
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS))
    options = parser.parse_args()
    machine = f"{os.cpu_count()} cores ({platform.machine()}), no graphics card"
    results: dict[str, Any] = {"machine": machine, "sets": {}}
    if RESULTS.is_file():
        results["sets"] = json.loads(RESULTS.read_text())["sets"]
    for peer in options.peers:
        interpreter(peer)  # installs it: not within its time
    for name in options.sets:
        root = Path(tempfile.mkdtemp(prefix="peers-"))
        file, hidden = export(name, root)
        rows = {}
        for peer in options.peers:
            rows[peer] = run(peer, file, root / "out" / peer, options.seconds)
            print(name, peer, rows[peer], flush=True)
        judge(rows, hidden, root / "out")
        results["sets"].setdefault(name, {})[f"{options.seconds:g}"] = rows
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        SUMMARY.write_text(summary(results), encoding="utf-8")
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
