"""Race a study against Ray Tune on the same training function, and print the ratios.

    pip install 'ray[tune]'
    python benchmarks/against_ray.py race [--seeds 3]

Ray Tune searches the same space with its OptunaSearch (TPE, the base configuration first) and gives
trials up by its median rule or by ASHA; each of its trials is one call of ``training.train_trial``
on one core, two at a time, and leaves the same files as ours. Both sides are processes of their
own, timed from their start. Two figures: the time for all trials, and the time until a finished
trial is as good as the worse of the two sides' best.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from functools import cache, partial
from pathlib import Path
from typing import Any

from against_plain import Trials, best, prepare, run, show
from record import keep

CORES = 2
DEMO = {"params_file": "params/demo.yaml", "overrides": "", "ours": "study.n_workers=2"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["race", "ray"])
    parser.add_argument("settings", nargs="?", help="of 'ray', which is one run of that side")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n-trials", type=int, default=20)
    parser.add_argument("--scheduler", choices=["median", "asha"], default="median")
    options = parser.parse_args()
    if options.what == "ray":
        run_ray(json.loads(Path(options.settings).read_text()))
        return
    whole, reached, runs = [], [], []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(options.seeds):
            common = argparse.Namespace(**DEMO, n_trials=options.n_trials, without_base=False)
            settings = prepare(common, Path(scratch), seed) | {"scheduler": options.scheduler}
            theirs, ours = (
                run(side, {**settings, "prune": True}, Path(scratch)) for side in ("ray", "ours")
            )
            target = max(best(theirs), best(ours))
            whole.append(theirs[-1]["seconds"] / ours[-1]["seconds"])
            reached.append(time_to(theirs, target) / time_to(ours, target))
            for name, side in (("ray", theirs), ("ours", ours)):
                runs.append(
                    {
                        "seed": seed, "side": name, "trials": len(side), "best": best(side),
                        "seconds": side[-1]["seconds"],
                        "to_common_quality_s": time_to(side, target),
                    }
                )  # fmt: skip
                print(
                    f"seed {seed}, {name}: {len(side)} trials in {side[-1]['seconds']:.0f} s, best"
                    f" {best(side):.4f}, {target:.4f} after {time_to(side, target):.1f} s",
                    flush=True,
                )
    show(f"time for {options.n_trials} trials", whole)
    show("time to the quality that both reach", reached)
    keep(f"against_ray_{options.scheduler}", runs)


def time_to(trials: Trials, target: float) -> float:
    """Return when the first complete trial was as good as ``target``."""
    return float(
        min(t["seconds"] for t in trials if t["state"] == "COMPLETE" and t["score"] <= target)
    )


def train(params: dict[str, Any], config: dict[str, Any], data: Any) -> None:
    """Be one trial of Ray Tune: train with ``params`` and report the score of each epoch."""
    import torch
    from ray import tune

    from hpo_utils.base.config import config_from_dict, updated
    from hpo_utils.training.directory import create_trial_output_dir
    from hpo_utils.training.train import train_trial

    torch.set_num_threads(1)
    cfg = updated(config_from_dict(config), params)
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    train_trial(cfg, output_dir, data, lambda _, score: tune.report({"score": score}))


@cache
def configuration(content: str) -> Any:
    """Return the base configuration; Ray pickles its arguments, and a Config cannot be."""
    from hpo_utils.base.config import config_from_dict

    return config_from_dict(json.loads(content))


def suggest(trial: Any, content: str, space: Any) -> None:
    """Sample as our studies do."""
    from hpo_utils.trials.search_space import suggest_hyperparameters

    suggest_hyperparameters(trial, configuration(content), space)


def run_ray(settings: dict[str, Any]) -> None:
    """Be Ray's side: tune, and write down when each trial ended."""
    import ray

    from hpo_utils.base.config import load_config, with_target_weights
    from hpo_utils.data.preparation import prepare_data, with_source
    from hpo_utils.trials.search_space import load_search_space

    root = Path(settings["outputs_root"])
    root.mkdir(parents=True)
    (root / "data").symlink_to(settings["data"])
    overrides = [f"paths.outputs_root={root}", *settings["overrides"]]
    cfg = with_source(load_config(settings["params_file"], overrides))
    data = prepare_data(cfg)
    cfg = with_target_weights(cfg, data.n_targets)
    space = load_search_space(cfg, data.n_targets)
    ray.init(num_cpus=CORES, include_dashboard=False, logging_level="error")
    trials = []
    for result, ended in tune_with_ray(cfg, space, data, settings, root):
        scores = result.metrics_dataframe["score"]
        planned = result.config.get("training.epochs", cfg.training.epochs)
        trials.append(
            {
                "seconds": ended,
                "score": float(scores.min()),
                "state": "COMPLETE" if len(scores) >= planned else "PRUNED",
                "params": result.config,
                "epochs": len(scores),
            }
        )
    (root / "trials.json").write_text(json.dumps(trials))


def tune_with_ray(
    cfg: Any, space: Any, data: Any, settings: dict[str, Any], root: Path
) -> list[tuple[Any, float]]:
    """Tune as Ray's documentation shows; return the results and when each trial ended."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule
    from ray.tune.search.optuna import OptunaSearch

    from hpo_utils.base.config import as_dict

    class Clock(tune.Callback):  # type: ignore[misc]
        """Notes when a trial ended."""

        def __init__(self) -> None:
            self.ended: dict[str, float] = {}

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            self.ended[trial.trial_id] = time.time()

    warm_up, clock = cfg.study.n_warmup_steps, Clock()
    scheduler: Any = MedianStoppingRule(
        grace_period=warm_up, min_samples_required=cfg.study.n_startup_trials
    )
    if settings["scheduler"] == "asha":
        longest = getattr(space.distributions["training.epochs"], "high", cfg.training.epochs)
        scheduler = ASHAScheduler(grace_period=warm_up, max_t=longest)
    search = OptunaSearch(
        space=partial(suggest, content=json.dumps(as_dict(cfg)), space=space),
        metric="score",
        mode="min",
        seed=settings["seed"],
        points_to_evaluate=[space.values_in(cfg)],
    )
    trainable = tune.with_parameters(train, config=as_dict(cfg), data=data)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=search, scheduler=scheduler, metric="score", mode="min", reuse_actors=True,
            num_samples=settings["n_trials"], max_concurrent_trials=CORES,
        ),
        run_config=tune.RunConfig(storage_path=str(root), verbose=1, callbacks=[clock]),
    )  # fmt: skip
    return [(result, clock.ended[result.metrics["trial_id"]]) for result in tuner.fit()]


if __name__ == "__main__":
    sys.exit(main())
