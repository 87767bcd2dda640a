"""The Optuna objective: sample a configuration, train it, save its files, return its score."""

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
    SCATTER_FILE,
    correct_state,
    create_trial_output_dir,
)
from hpo_utils.training.stopping import Stop
from hpo_utils.training.timing import Effort
from hpo_utils.training.train import OnEpoch, train_trial
from hpo_utils.trials.earlier import CutShort, Ended, Twin, find_earlier
from hpo_utils.trials.score_folds import mean_over_folds
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

    This function suggests the configuration and creates its directory; ``training.train_trial``,
    which also serves training by hand, does the rest. An interrupted trial already has both and
    resumes.

    Parameters
    ----------
    trial
        The trial that suggests the values; the score of each epoch is reported to it.
    base_cfg
        The base configuration; settings that are not searched keep its values.
    space
        The search space.
    data
        The study's prepared data, even if their source files have changed since.
    stop
        The conditions under which the search stops.

    Returns
    -------
    float
        The value of ``evaluation.score`` on the validation part at the best epoch, or its mean
        over the folds of ``evaluation.score_folds``: comparable between all trials, whatever loss
        they were trained with.

    Raises
    ------
    optuna.TrialPruned
        If the pruner stops the trial, if its loss diverges, or if its twin was pruned or failed.
    InfeasibleError
        If the training does not fit into memory.
    StopRequest
        If a condition of ``stop`` holds.
    """
    effort = Effort()
    with effort.spend("search"):
        cfg = suggest_hyperparameters(trial, base_cfg, space)
    root = resolve(base_cfg.paths.outputs_root)
    earlier = find_earlier(trial, cfg, root)
    if isinstance(earlier, Twin):
        return repeat(trial, earlier.trial, root)
    if isinstance(earlier, Ended):
        return _take_over(trial, cfg, data, earlier, stop)
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
            _draw_figures(output_dir, metrics, base_cfg)
        score = mean_over_folds(
            trial, cfg, output_dir, data.used_by(cfg), metrics["score"], effort, stop
        )
    except DivergenceError as error:
        raise _pruned_by(trial, error) from error
    finally:
        _note_effort(trial, effort.summary(), round(sum(effort.seconds.values()), 3), cfg)
    _attach_figures(trial, output_dir, of_test=not cfg.evaluation.strict_test)
    _note_metrics(trial, metrics)
    return score


def _attach_figures(trial: optuna.Trial, output_dir: Path, of_test: bool) -> None:
    """Attach the trial's figures to it, so that optuna-dashboard shows them beside its score.

    Predictions of the test part are left out, because nobody should select trials by them. The
    figures are attached before the trial ends, since Optuna accepts no attachments afterwards.
    """
    store = artifact_store(output_dir.parents[1])
    figures = set(output_dir.rglob("*.png")) - ({output_dir / SCATTER_FILE} if of_test else set())
    for figure in sorted(figures):
        upload_artifact(
            artifact_store=store, file_path=str(figure), study_or_trial=trial,
            mimetype="image/png",
        )  # fmt: skip


def _reporter(trial: optuna.Trial, n_warmup_steps: int) -> OnEpoch:
    """Return a callback that reports an epoch's score and asks whether to prune the trial.

    Epochs reported before an interruption are not reported again. We cannot tell whether the pruner
    saw the last reported epoch, so the callback asks it again.
    """
    reported = set(stored_trial(trial.study, trial.number).intermediate_values)
    # no pruner acts during the warm-up, and asking it costs more than reporting
    first_asked = max([n_warmup_steps, *reported])

    def report(epoch: int, score: float) -> None:
        if epoch not in reported:
            trial.report(score, step=epoch)
        if epoch >= first_asked and trial.should_prune():
            raise optuna.TrialPruned(f"pruned at epoch {epoch}: worse than the median trial")

    return report


def _note_effort(trial: optuna.Trial, summary: dict[str, Any], seconds: float, cfg: Config) -> None:
    """Store in the trial how its time was spent, including the time of interrupted runs."""
    effort = {**summary, "seconds": seconds, "epochs_planned": cfg.training.epochs}
    trial.set_user_attr("effort", effort)


def _draw_figures(output_dir: Path, metrics: dict[str, Any], cfg: Config) -> None:
    if not cfg.study.trial_figures:
        return
    # Matplotlib takes half a second to import, which a process that leaves trials to others saves
    from hpo_utils.trials.figures import draw_figures

    draw_figures(output_dir, metrics)


def _pruned_by(trial: optuna.Trial, error: DivergenceError) -> optuna.TrialPruned:
    """Note in the trial why it diverged; return what prunes it."""
    trial.set_user_attr("failure", f"DivergenceError: {error}")
    return optuna.TrialPruned(str(error))


def _take_over(
    trial: optuna.Trial, cfg: Config, data: PreparedData, ended: Ended, stop: Stop | None
) -> float:
    """Return the outcome of a trial whose process died before it could tell the study."""
    effort, spent = Effort(), ended.info["effort"]
    try:
        if ended.metrics is None:
            raise optuna.TrialPruned(ended.info["reason"])
        _draw_figures(ended.output_dir, ended.metrics, cfg)
        score = mean_over_folds(
            trial, cfg, ended.output_dir, data.used_by(cfg), ended.metrics["score"], effort, stop
        )
    except DivergenceError as error:
        raise _pruned_by(trial, error) from error
    finally:
        phases = {phase: spent[phase] + seconds for phase, seconds in effort.seconds.items()}
        seconds = ended.info["seconds"] + sum(effort.seconds.values())
        _note_effort(trial, {**spent, **phases}, round(seconds, 3), cfg)
    _note_metrics(trial, ended.metrics)
    return score


def _note_metrics(trial: optuna.Trial, metrics: dict[str, Any]) -> None:
    """Store the best epoch and the validation R² in the trial."""
    trial.set_user_attr("best_epoch", metrics["best_epoch"])
    val_r2 = {name: values["r2"] for name, values in metrics["val_targets"].items()}
    trial.set_user_attr("val_r2", val_r2)


def _new_directory(trial: optuna.Trial, root: Path) -> Path:
    """Create the trial's directory and store its path in the trial."""
    output_dir = create_trial_output_dir(root)
    trial.set_user_attr("output_dir", str(output_dir.relative_to(root)))
    return output_dir


def repeat(trial: optuna.Trial, twin: FrozenTrial, root: Path) -> float:
    """Give the trial the outcome and the directory of its twin, without training again.

    The directory that an interrupted trial already has below ``root`` stays on disk.
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
