"""Race a study against the plain script, in turns on one machine, and print the ratios.

    python benchmarks/against_plain.py to-quality [--seeds 5] [--without-base] [--shorter 10]
    python benchmarks/against_plain.py same-configurations [--repeats 3] [--shorter 10]

``to-quality``: the plain script runs its 20 trials; how much sooner does ours have a finished trial
as good as its best? Ours runs until then, at most as long as the plain one.
``same-configurations``: both train the same 20 configurations for the same epochs, without pruning
or early stopping. ``--shorter 10`` divides all epochs by ten, of base, search space and pruning.
Both sides are processes of their own, timed from their start, imports included; the arrays lie on
disk before.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from record import keep

HERE = Path(__file__).parent
PARAMS = "params/demo.yaml"
SIDES = {
    "plain": [str(HERE / "plain_reference.py")],
    "ours": [str(HERE / "against_plain.py"), "ours"],
    "ray": [str(HERE / "against_ray.py"), "ray"],
}
MANY = 1000  # trials, more than there is time for
Trials = list[dict[str, Any]]

# the plain script knows no views and leaves rows out
PLAIN = "model.linear_start=false model.use_views=false dataset.thinning=pick"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["to-quality", "same-configurations", "ours"])
    parser.add_argument("settings", nargs="?", help="of 'ours', which is one study of our side")
    parser.add_argument("--seeds", type=int, default=5, help="of study and training, in to-quality")
    parser.add_argument("--first-seed", type=int, default=0, help="for races that last hours")
    parser.add_argument("--repeats", type=int, default=3, help="of same-configurations")
    parser.add_argument("--shorter", type=int, default=1, help="divides epochs, as above")
    parser.add_argument("--n-trials", type=int, default=20)
    parser.add_argument("--params-file", default=PARAMS)
    parser.add_argument("--overrides", default="", help="for both sides")
    parser.add_argument("--ours", default="", help="overrides for our side alone")
    parser.add_argument(
        "--without-base", action="store_true", help="ours does not try the base settings first"
    )
    options = parser.parse_args()
    if options.what == "same-configurations":
        options.overrides += f" {PLAIN}"
    if options.what == "ours":
        run_ours(json.loads(Path(options.settings).read_text()))
        return
    with tempfile.TemporaryDirectory() as scratch:
        race = to_quality if options.what == "to-quality" else same_configurations
        if options.shorter > 1:
            options.overrides += shorten(options, Path(scratch))
        race(options, Path(scratch))


def to_quality(options: argparse.Namespace, scratch: Path) -> None:
    ratios, runs = [], []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        settings = prepare(options, scratch, seed)
        # a training's luck with its seed is worth as much as the sampler's: both change
        settings["overrides"] = [*settings["overrides"], f"training.seed={42 + seed}"]
        plain = run("plain", {**settings, "prune": True}, scratch)
        target, total = best(plain), plain[-1]["seconds"]
        until = {"prune": True, "n_trials": MANY, "timeout": total, "target": target}
        ours = run("ours", {**settings, **until}, scratch)
        reached = [t["seconds"] for t in ours if t["state"] == "COMPLETE" and t["score"] <= target]
        needed = min(reached, default=float("inf"))
        ratios.append(total / needed)
        runs.append(
            {
                "seed": seed, "plain_best": target, "plain_s": total, "ours_best": best(ours),
                "ours_s": needed if reached else None, "ours_trials": len(ours),
            }
        )  # fmt: skip
        when = f"as good in {needed:.1f} s" if reached else "not as good in that time"
        print(
            f"seed {seed}: plain {target:.4f} in {total:.0f} s; ours {best(ours):.4f}, {when},"
            f" of {len(ours)} trials; ratio {ratios[-1]:.1f}",
            flush=True,
        )
    show("time to the plain script's quality", ratios)
    keep(f"to_quality_{label(options)}", runs)


def same_configurations(options: argparse.Namespace, scratch: Path) -> None:
    ratios, runs = [], []
    settings = prepare(options, scratch, 0)
    settings |= {"prune": False, "configurations": draw(options, settings)}
    for repeat in range(options.repeats):
        plain = run("plain", settings, scratch)
        ours = run("ours", settings, scratch)
        ratios.append(plain[-1]["seconds"] / ours[-1]["seconds"])
        scores = {name: [t["score"] for t in side] for name, side in (("p", plain), ("o", ours))}
        runs.append(
            {
                "plain_s": plain[-1]["seconds"], "ours_s": ours[-1]["seconds"],
                "plain_scores": scores["p"], "ours_scores": scores["o"],
            }
        )  # fmt: skip
        print(
            f"repeat {repeat}: plain {plain[-1]['seconds']:.0f} s, ours {ours[-1]['seconds']:.0f} s"
            f" ratio {ratios[-1]:.2f}; median score {np.median(scores['p']):.4f} and"
            f" {np.median(scores['o']):.4f}, best {best(plain):.4f} and {best(ours):.4f}",
            flush=True,
        )
    show("wall time of the same configurations", ratios)
    keep(f"same_configurations_{label(options)}", runs)


def label(options: argparse.Namespace) -> str:
    """Return what tells the races apart: space, length, and whether ours begins at its base."""
    shorter = f"_shorter_{options.shorter}" if options.shorter > 1 else ""
    return Path(options.params_file).stem + shorter + "_without_base" * options.without_base


def shorten(options: argparse.Namespace, scratch: Path) -> str:
    """Return overrides that divide all epochs: of base configuration, search space and pruning."""
    from hpo_utils.base.config import load_config

    cfg = load_config(options.params_file, options.overrides.split())
    space = yaml.safe_load(Path(cfg.study.search_space).read_text())
    epochs = space["training.epochs"]
    epochs |= {bound: epochs[bound] // options.shorter for bound in ("low", "high", "step")}
    file = scratch / "search_space.yaml"
    file.write_text(yaml.safe_dump(space))
    return (
        f" study.search_space={file} training.epochs={cfg.training.epochs // options.shorter}"
        f" study.n_warmup_steps={cfg.study.n_warmup_steps // options.shorter}"
    )


def show(what: str, ratios: list[float]) -> None:
    low, middle, high = np.min(ratios), np.median(ratios), np.max(ratios)
    print(f"{what}: {middle:.2f} times faster (median; {low:.2f} to {high:.2f})")


def best(trials: Trials) -> float:
    return min(t["score"] for t in trials if t["state"] == "COMPLETE")


def prepare(options: argparse.Namespace, scratch: Path, seed: int) -> dict[str, Any]:
    """Have the arrays on disk, and return what both sides must know."""
    from hpo_utils.base.config import load_config
    from hpo_utils.data.preparation import prepare_data, with_source

    overrides = [*options.overrides.split(), f"paths.outputs_root={scratch / 'data'}"]
    cfg = with_source(load_config(options.params_file, overrides))
    data = prepare_data(cfg)
    parts = ("train", "val", "test")
    return {
        "params_file": options.params_file,
        "overrides": options.overrides.split(),
        "ours": options.ours.split(),
        "x_train": cfg.dataset.x_train,
        "t_train": cfg.dataset.t_train,
        "channels": data.manifest["channels"],
        "split": {part: data.sample_numbers(part).tolist() for part in parts},
        "data": str(scratch / "data" / "data"),
        "seed": seed,
        "n_trials": options.n_trials,
        "configurations": [],
        "without_base": options.without_base,
    }


def draw(options: argparse.Namespace, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the base configuration and random others from the search space."""
    import optuna

    from hpo_utils.base.config import load_config, with_target_weights
    from hpo_utils.trials.search_space import load_search_space, suggest_hyperparameters

    n_targets = np.load(settings["t_train"], mmap_mode="r").shape[1]
    base = with_target_weights(load_config(options.params_file, settings["overrides"]), n_targets)
    space = load_search_space(base, n_targets)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [space.values_in(base)]
    while len(drawn) < options.n_trials:
        trial = study.ask()
        suggest_hyperparameters(trial, base, space)
        drawn.append(trial.params)
    return drawn


def run(side: str, settings: dict[str, Any], scratch: Path) -> Trials:
    """Run one side to its end and return its trials in the order in which they ended."""
    root = Path(tempfile.mkdtemp(dir=scratch)) / side
    file = root.with_suffix(".json")
    file.write_text(json.dumps({**settings, "outputs_root": str(root)}))
    command = [sys.executable, *SIDES[side], str(file)]
    started = time.time()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    trials: Trials = json.loads((root / "trials.json").read_text())
    for trial in trials:
        trial["seconds"] -= started
    return sorted(trials, key=lambda trial: trial["seconds"])


def run_ours(settings: dict[str, Any]) -> None:
    """Be our side: search as notebook 03 does, and write down when each trial ended."""
    from hpo_utils.base.config import load_config, with_target_weights
    from hpo_utils.base.errors import StopRequest
    from hpo_utils.workers.server import start_server

    root = Path(settings["outputs_root"])
    root.mkdir(parents=True)
    (root / "data").symlink_to(settings["data"])
    overrides = [f"paths.outputs_root={root}", f"study.n_trials={settings['n_trials']}"]
    overrides += [f"study.seed={settings['seed']}", *settings["overrides"]]
    if not settings["prune"]:
        overrides += ["study.pruner=none", "training.patience=null"]
    if "target" in settings:
        overrides += [f"study.timeout={settings['timeout']}"]
    if settings["without_base"]:
        overrides += ["study.try_base=false"]
    cfg = load_config(settings["params_file"], [*overrides, *settings["ours"]])
    start_server(cfg)

    from hpo_utils.data.preparation import prepare_data, with_source
    from hpo_utils.study.search import load_existing_study, open_study, run_study
    from hpo_utils.trials.search_space import load_search_space

    cfg = with_source(cfg)
    if settings["configurations"]:
        data = prepare_data(cfg)
        weighted = with_target_weights(cfg, data.n_targets)
        study = open_study(weighted, load_search_space(weighted, data.n_targets), data)
        for configuration in settings["configurations"][1:]:  # the first waits already
            study.enqueue_trial(configuration)
    if "target" in settings:
        threading.Thread(target=stop_at, args=(settings["target"], root), daemon=True).start()
    with suppress(StopRequest):
        run_study(cfg)

    study = load_existing_study(cfg)
    from plain_reference import write_trials  # not before: its imports are not ours to be timed

    write_trials(study, root)


def stop_at(target: float, root: Path) -> None:
    """Stop our study, as a person may, when one of its trials is as good as ``target``."""
    while True:
        time.sleep(1.0)
        scores = (json.loads(file.read_text())["score"] for file in root.glob("*/*/metrics.json"))
        if any(score is not None and score <= target for score in scores):
            (root / "optuna" / "STOP").touch()
            return


if __name__ == "__main__":
    main()
