"""The objective: one trial from its sampled configuration to its score and its files."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.config import Config
from hpo_utils.data import PreparedData
from hpo_utils.errors import DivergenceError
from hpo_utils.paths import resolve
from hpo_utils.search_space import SearchSpace, suggest_hyperparameters
from hpo_utils.storage import FINISHED, score_of
from hpo_utils.timing import Effort
from hpo_utils.training import train_trial
from hpo_utils.trial_files import create_trial_output_dir


def objective(
    trial: optuna.Trial, base_cfg: Config, space: SearchSpace, data: PreparedData
) -> float:
    """Sample a configuration, train it, and return its score.

    Here a configuration is suggested and gets its directory; everything from the seeds to the
    release of the GPU's memory happens in ``training.train_trial``, which also trains by hand.

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

    Returns
    -------
    float
        What ``evaluation.score`` says of the validation part at the best epoch: comparable between
        all trials, whatever loss they were trained with.

    Raises
    ------
    optuna.TrialPruned
        If the pruner gives the trial up, or its loss diverges, or those of its twin were.
    """
    effort = Effort()
    with effort.spend("search"):
        cfg = suggest_hyperparameters(trial, base_cfg, space)
    twin = find_twin(trial)
    if twin is not None:
        return repeat(trial, twin)
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    trial.set_user_attr("output_dir", str(output_dir.relative_to(resolve(cfg.paths.outputs_root))))

    def report(epoch: int, score: float) -> None:
        trial.report(score, step=epoch)
        # before, no pruner of ours would; asking costs more than reporting
        if epoch >= base_cfg.study.n_warmup_steps and trial.should_prune():
            raise optuna.TrialPruned(f"pruned at epoch {epoch}: worse than the median trial")

    identity = {
        "trial_number": trial.number,
        "study_name": trial.study.study_name,
        "params": trial.params,
    }
    try:
        metrics = train_trial(cfg, output_dir, data, report, identity, effort)
    except DivergenceError as error:
        raise optuna.TrialPruned(str(error)) from error
    finally:
        trial.set_user_attr("effort", {**effort.summary(), "epochs_planned": cfg.training.epochs})
    trial.set_user_attr("best_epoch", metrics["best_epoch"])
    val_r2 = {name: values["r2"] for name, values in metrics["val_targets"].items()}
    trial.set_user_attr("val_r2", val_r2)
    return float(metrics["score"])


def find_twin(trial: optuna.Trial) -> FrozenTrial | None:
    """Return the first finished trial with the same parameters: it would be the same training."""
    finished = trial.study.get_trials(deepcopy=False, states=FINISHED)
    return next((other for other in finished if other.params == trial.params), None)


def repeat(trial: optuna.Trial, twin: FrozenTrial) -> float:
    """Give the trial the outcome and the directory of its twin, without training again."""
    for name in ("output_dir", "best_epoch", "val_r2"):
        if name in twin.user_attrs:
            trial.set_user_attr(name, twin.user_attrs[name])
    trial.set_user_attr("same_as", twin.number)
    if twin.state == TrialState.PRUNED:
        if twin.value is not None:
            trial.report(twin.value, step=max(twin.intermediate_values))
        raise optuna.TrialPruned(f"the same as trial {twin.number}, which was pruned")
    return score_of(twin)
