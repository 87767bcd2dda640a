"""The files of a study: summary, best trial's information, link to the best trial."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.base.errors import StudyError
from hpo_utils.base.paths import atomic_path, read_mapping, write_json, write_text, write_yaml
from hpo_utils.training.directory import has_directory, read_metrics
from hpo_utils.trials.storage import best_of, trial_seconds

BEST_LINK = "optuna_best"


def write_study_files(study: optuna.Study, outputs_root: Path) -> None:
    """Write the summary, the best trial's information and the link, as the study stands now.

    Parameters
    ----------
    study
        The study, finished or not.
    outputs_root
        The folder for ``optuna/``, ``optuna_study_summary.json`` and ``optuna_best``.
    """
    (outputs_root / "optuna").mkdir(parents=True, exist_ok=True)
    summary = generate_study_summary(study)
    write_json(outputs_root / "optuna" / "study_summary.json", summary)
    write_json(outputs_root / "optuna_study_summary.json", summary)
    best = summary["best_trial"]
    info, link = outputs_root / "optuna" / "best_trial_info.yaml", outputs_root / BEST_LINK
    if best is None:  # existing files belong to another study
        info.unlink(missing_ok=True)
        link.unlink(missing_ok=True)
        return
    write_yaml(info, {"study_name": study.study_name, **best})
    if best["output_dir"] is not None:
        link_best(link, best["output_dir"])


def draw_best(study: optuna.Study, outputs_root: Path) -> None:
    """Draw the figures of the best trial into its directory, unless they exist."""
    # Matplotlib takes half a second to import
    from hpo_utils.trials.figures import draw_figures

    best = best_of(study.get_trials(deepcopy=False))
    if best is not None and has_directory(best, outputs_root):
        directory = outputs_root / best.user_attrs["output_dir"]
        with suppress(StudyError):  # damaged files are said where they are needed
            draw_figures(directory, read_metrics(directory))


def generate_study_summary(study: optuna.Study) -> dict[str, Any]:
    """Return a summary of a study and all its trials, ready for JSON.

    Returns
    -------
    dict
        ``study_name``, ``n_trials``, ``counts`` by state, ``best_trial`` (None as long as no trial
        is complete) and ``trials``, each with number, state, value, params, directory and times.
    """
    trials = study.get_trials(deepcopy=False)
    best = best_of(trials)
    return {
        "study_name": study.study_name,
        "score": study.user_attrs.get("signature", {}).get("score"),
        "dataset_id": study.user_attrs.get("signature", {}).get("dataset_id"),
        "n_trials": len(trials),
        "counts": {
            state.name: sum(trial.state == state for trial in trials)
            for state in TrialState
            if any(trial.state == state for trial in trials)
        },
        "best_trial": None if best is None else _describe(best),
        "trials": [_describe(trial) for trial in trials],
    }


def last_searched(outputs_root: Path) -> str | None:
    """Return the name of the study that the summary file describes; None if there is no file."""
    summary = read_mapping(outputs_root / "optuna" / "study_summary.json") or {}
    name = summary.get("study_name")
    return None if name is None else str(name)


def link_best(link: Path, output_dir: str) -> None:
    """Point ``link`` at a trial's directory: a symbolic link, or a text file with its path.

    ``output_dir`` is relative to the directory of the link.
    """
    try:
        with atomic_path(link) as temporary:
            os.symlink(output_dir, temporary)
    except OSError:  # a file system or account without symbolic links
        write_text(link, output_dir + "\n")


def _describe(trial: FrozenTrial) -> dict[str, Any]:
    seconds = trial_seconds(trial)
    return {
        "number": trial.number,
        "state": trial.state.name,
        "value": trial.value,
        "params": trial.params,
        "output_dir": trial.user_attrs.get("output_dir"),
        "started": None if trial.datetime_start is None else trial.datetime_start.isoformat(),
        "seconds": None if seconds is None else round(seconds, 3),
        "epochs": len(trial.intermediate_values),
        "best_epoch": trial.user_attrs.get("best_epoch"),
        "val_r2": trial.user_attrs.get("val_r2", {}),
        "effort": trial.user_attrs.get("effort"),
    }
