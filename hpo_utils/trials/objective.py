"""The objective: one trial from its sampled configuration to its score and its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from optuna.artifacts import upload_artifact
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.base.config import Config
from hpo_utils.base.errors import DivergenceError
from hpo_utils.base.paths import resolve
from hpo_utils.data.prepared import PreparedData
from hpo_utils.training.directory import (
    correct_state,
    create_trial_output_dir,
)
from hpo_utils.training.stopping import Stop
from hpo_utils.training.timing import Effort
from hpo_utils.training.train import OnEpoch, train_trial
from hpo_utils.trials.earlier import CutShort, Ended, Twin, find_earlier
from hpo_utils.trials.figures import SCATTER_FILE, draw_figures
from hpo_utils.trials.search_space import SearchSpace, suggest_hyperparameters
from hpo_utils.trials.storage import (
    artifact_store,
    score_of,
    stored_trial,
)


def objective(
    trial: optuna.Trial,
    base_cfg: Config,
    space: SearchSpace,
    data: PreparedData,
    stop: Stop | None = None,
) -> float:
    """Sample a configuration, train it, and return its score.

    Here a configuration is suggested and gets its directory; ``training.train_trial``, which also
    trains by hand, does the rest. A trial that was interrupted has both already, and goes on.

    Parameters
    ----------
    trial
        The trial that suggests; the score of each epoch is reported to it.
    base_cfg
        Settings that are not searched keep their value here.
    space
        What is searched.
    data
        The study's prepared data, whatever has become of their sources since.
    stop
        When the search is to stop.

    Returns
    -------
    float
        What ``evaluation.score`` says of the validation part at the best epoch: comparable between
        all trials, whatever loss they were trained with.

    Raises
    ------
    optuna.TrialPruned
        If the pruner gives the trial up, if its loss diverges, or if its twin ended so.
    InfeasibleError
        If it does not fit into the memory.
    StopRequest
        If ``stop`` says so.
    """
    effort = Effort()
    with effort.spend("search"):
        cfg = suggest_hyperparameters(trial, base_cfg, space)
    root = resolve(base_cfg.paths.outputs_root)
    earlier = find_earlier(trial, cfg, root)
    if isinstance(earlier, Twin):
        return repeat(trial, earlier.trial, root)
    if isinstance(earlier, Ended):
        return _take_over(trial, cfg, earlier)
    if isinstance(earlier, CutShort):
        cfg, output_dir = earlier.cfg, earlier.output_dir
    else:
        output_dir = earlier or _new_directory(trial, root)
    identity = {
        "trial_number": trial.number,
        "study_name": trial.study.study_name,
        "params": trial.params,
    }
    try:
        report = _reporter(trial, base_cfg.study.n_warmup_steps)
        metrics = train_trial(cfg, output_dir, data.used_by(cfg), report, identity, effort, stop)
        with effort.spend("files"):
            draw_figures(output_dir, metrics)
    except DivergenceError as error:
        trial.set_user_attr("failure", f"DivergenceError: {error}")
        raise optuna.TrialPruned(str(error)) from error
    finally:
        _note_effort(trial, effort.summary(), round(sum(effort.seconds.values()), 3), cfg)
    _attach_figures(trial, output_dir, of_test=not cfg.evaluation.strict_test)
    return _note_metrics(trial, metrics)


def _attach_figures(trial: optuna.Trial, output_dir: Path, of_test: bool) -> None:
    """Attach the trial's figures to it, so that optuna-dashboard shows them beside its score.

    But not the predictions if they are of the test part, by which nobody is to choose. Optuna takes
    nothing more of a trial that has ended.
    """
    store = artifact_store(output_dir.parents[1])
    figures = set(output_dir.rglob("*.png")) - ({output_dir / SCATTER_FILE} if of_test else set())
    for figure in sorted(figures):
        upload_artifact(
            artifact_store=store, file_path=str(figure), study_or_trial=trial,
            mimetype="image/png",
        )  # fmt: skip


def _reporter(trial: optuna.Trial, n_warmup_steps: int) -> OnEpoch:
    """Return what reports an epoch's score to the trial and asks whether to prune it.

    An epoch that was reported before an interruption is not reported again; only after the last of
    them it is not known whether the pruner was asked.
    """
    reported = set(stored_trial(trial.study, trial.number).intermediate_values)
    # no pruner acts during the warm-up, and to ask it costs more than to report
    first_asked = max([n_warmup_steps, *reported])

    def report(epoch: int, score: float) -> None:
        if epoch not in reported:
            trial.report(score, step=epoch)
        if epoch >= first_asked and trial.should_prune():
            raise optuna.TrialPruned(f"pruned at epoch {epoch}: worse than the median trial")

    return report


def _note_effort(trial: optuna.Trial, summary: dict[str, Any], seconds: float, cfg: Config) -> None:
    """Have the trial say what its time went into, interrupted legs included."""
    effort = {**summary, "seconds": seconds, "epochs_planned": cfg.training.epochs}
    trial.set_user_attr("effort", effort)


def _take_over(trial: optuna.Trial, cfg: Config, ended: Ended) -> float:
    """Return the outcome of a trial whose process died before it could tell the study."""
    _note_effort(trial, ended.info["effort"], ended.info["seconds"], cfg)
    if ended.metrics is None:
        raise optuna.TrialPruned(ended.info["reason"])
    draw_figures(ended.output_dir, ended.metrics)
    return _note_metrics(trial, ended.metrics)


def _note_metrics(trial: optuna.Trial, metrics: dict[str, Any]) -> float:
    """Have the trial say what is worth knowing without its directory; return its score."""
    trial.set_user_attr("best_epoch", metrics["best_epoch"])
    val_r2 = {name: values["r2"] for name, values in metrics["val_targets"].items()}
    trial.set_user_attr("val_r2", val_r2)
    return float(metrics["score"])


def _new_directory(trial: optuna.Trial, root: Path) -> Path:
    """Make the trial's directory, and have the study remember it."""
    output_dir = create_trial_output_dir(root)
    trial.set_user_attr("output_dir", str(output_dir.relative_to(root)))
    return output_dir


def repeat(trial: optuna.Trial, twin: FrozenTrial, root: Path) -> float:
    """Give the trial the outcome and the directory of its twin, without training again.

    A trial that was interrupted has a directory below ``root`` of its own, which remains.
    """
    if "output_dir" in trial.user_attrs:
        correct_state(
            root / trial.user_attrs["output_dir"], "PRUNED", f"the same as trial {twin.number}"
        )
    for name in ("output_dir", "best_epoch", "val_r2"):
        if name in twin.user_attrs:
            trial.set_user_attr(name, twin.user_attrs[name])
    trial.set_user_attr("same_as", twin.number)
    if twin.state == TrialState.FAIL:
        raise optuna.TrialPruned(f"the same as trial {twin.number}, which failed")
    if twin.state == TrialState.PRUNED:
        if twin.value is not None:
            trial.report(twin.value, step=max(twin.intermediate_values))
        raise optuna.TrialPruned(f"the same as trial {twin.number}, which was pruned")
    return score_of(twin)
