"""The files of a study: summary, best trial's information, link to the best trial."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.paths import atomic_path, write_json, write_text, write_yaml

BEST_LINK = "optuna_best"


def write_study_files(study: optuna.Study, outputs_root: Path) -> None:
    """Write summary, best trial's information and link, as the study stands now.

    Parameters
    ----------
    study
        The study, finished or not.
    outputs_root
        Where ``optuna/``, ``optuna_study_summary.json`` and ``optuna_best`` go.
    """
    summary = generate_study_summary(study)
    write_json(outputs_root / "optuna" / "study_summary.json", summary)
    write_json(outputs_root / "optuna_study_summary.json", summary)
    best = summary["best_trial"]
    if best is not None:
        write_yaml(
            outputs_root / "optuna" / "best_trial_info.yaml",
            {"study_name": study.study_name, **best},
        )
        if best["output_dir"] is not None:
            link_best(outputs_root, best["output_dir"])


def generate_study_summary(study: optuna.Study) -> dict[str, Any]:
    """Return what is known of a study and all its trials, ready for JSON.

    Returns
    -------
    dict
        ``study_name``, ``n_trials``, ``counts`` by state, ``best_trial`` (None as long as no trial
        is complete) and ``trials``, each with number, state, value, params, directory and times.
    """
    trials = study.get_trials(deepcopy=False)
    best = best_trial(study)
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


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """Return the complete trial with the lowest score, None if there is none yet."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return min(complete, key=lambda trial: trial.value or 0.0, default=None)


def link_best(outputs_root: Path, output_dir: str) -> None:
    """Point ``optuna_best`` at a trial's directory: a symbolic link, or a text file with its path.

    ``output_dir`` is relative to ``outputs_root``.
    """
    link = outputs_root / BEST_LINK
    try:
        with atomic_path(link) as temporary:
            os.symlink(output_dir, temporary)
    except OSError:  # a file system or account without symbolic links
        write_text(link, output_dir + "\n")


def _describe(trial: FrozenTrial) -> dict[str, Any]:
    duration = trial.duration
    return {
        "number": trial.number,
        "state": trial.state.name,
        "value": trial.value,
        "params": trial.params,
        "output_dir": trial.user_attrs.get("output_dir"),
        "started": None if trial.datetime_start is None else trial.datetime_start.isoformat(),
        "seconds": None if duration is None else round(duration.total_seconds(), 3),
        "epochs": len(trial.intermediate_values),
        "best_epoch": trial.user_attrs.get("best_epoch"),
        "val_r2": {
            name.removeprefix("val_r2 "): value
            for name, value in trial.user_attrs.items()
            if name.startswith("val_r2 ")
        },
    }
