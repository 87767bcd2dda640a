"""The objective: one trial from its sampled configuration to its score and its files."""

from __future__ import annotations

import optuna

from hpo_utils.config import Config
from hpo_utils.data import PreparedData
from hpo_utils.errors import DivergenceError
from hpo_utils.paths import resolve
from hpo_utils.search_space import SearchSpace, suggest_hyperparameters
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
        If the pruner gives the trial up, or its loss diverges.
    """
    cfg = suggest_hyperparameters(trial, base_cfg, space)
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    trial.set_user_attr("output_dir", str(output_dir.relative_to(resolve(cfg.paths.outputs_root))))

    def report(epoch: int, score: float) -> None:
        trial.report(score, step=epoch)
        if trial.should_prune():
            raise optuna.TrialPruned(f"pruned at epoch {epoch}: worse than the median trial")

    identity = {
        "trial_number": trial.number,
        "study_name": trial.study.study_name,
        "params": trial.params,
    }
    try:
        metrics = train_trial(cfg, output_dir, data, report, identity)
    except DivergenceError as error:
        raise optuna.TrialPruned(str(error)) from error
    trial.set_user_attr("best_epoch", metrics["best_epoch"])
    for name, values in metrics["val_targets"].items():
        trial.set_user_attr(f"val_r2 {name}", values["r2"])
    return float(metrics["score"])
