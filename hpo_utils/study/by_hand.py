"""Training by hand: one configuration in, one model out; an interrupted training resumes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpo_utils.base.config import (
    Config,
    as_dict,
    config_from_dict,
    load_config,
    read_saved_settings,
    with_target_weights,
)
from hpo_utils.base.errors import ConfigError, ParameterError
from hpo_utils.base.parameters import as_int, as_text, load_notebook_config, split_overrides
from hpo_utils.base.paths import relative_to_root, resolve
from hpo_utils.data.preparation import prepare_data
from hpo_utils.network.devices import select_device
from hpo_utils.network.memory import release_memory
from hpo_utils.study.search import differs_from, load_existing_study
from hpo_utils.training.directory import (
    CHECKPOINT_FILE,
    create_trial_output_dir,
    find_trial_output_dir,
    read_trial_info,
)
from hpo_utils.training.record import with_saved_compute
from hpo_utils.training.train import train_trial
from hpo_utils.trials.figures import draw_figures
from hpo_utils.trials.ownership import current_owner, owner_is_alive
from hpo_utils.trials.sample_scale import fitted_to_data

COMPARED = ("dataset", "data_split", "model", "training", "augmentation", "evaluation")  # sections


def load_training_config(
    params_file: object,
    overrides: object,
    *,
    trial_number: object = None,
    config_path: object = None,
) -> Config:
    """Return the configuration that the parameters of ``02_train`` ask for.

    Parameters
    ----------
    params_file, overrides
        As for ``load_notebook_config``; they also select the study of ``trial_number``.
    trial_number
        Number of a trial of the study to train again.
    config_path
        Path of a saved ``config.yaml`` to train again.

    Returns
    -------
    Config
        The saved configuration with the overrides on top, or the one from the params file.

    Raises
    ------
    ParameterError
        If a parameter is unknown or has the wrong type, or if both ``trial_number`` and
        ``config_path`` are given.
    StudyError
        If the study or trial does not exist.
    """
    cfg = load_notebook_config(
        params_file, overrides, trial_number=trial_number, config_path=config_path
    )
    number, path = as_int("trial_number", trial_number), as_text("config_path", config_path)
    if number is not None and path is not None:
        raise ParameterError(
            f"only one of trial_number and config_path must be given, got {number} and {path!r}"
        )
    if number is not None:
        study = load_existing_study(cfg)
        if sentence := differs_from(study, cfg):
            print(sentence.replace("*", "").replace("`", ""))
        path = str(find_trial_output_dir(study, number, cfg.paths.outputs_root) / "config.yaml")
    return cfg if path is None else load_config(path, split_overrides(overrides))


def train_by_hand(cfg: Config) -> tuple[Path, dict[str, Any]]:
    """Prepare the data if necessary, train once, and return the directory and the metrics.

    Data and device are checked before a directory is created. An interrupted or killed training of
    the same configuration resumes from its checkpoint.
    """
    given = prepare_data(cfg)
    cfg = fitted_to_data(cfg, given.source_shape)
    data = given.used_by(cfg)
    device = select_device(cfg.training.device)
    interrupted = find_interrupted(with_target_weights(cfg, data.n_targets), data.dataset_id)
    if interrupted is None:
        output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    else:
        output_dir, cfg = interrupted
        print(f"going on with the training in {relative_to_root(output_dir)}")
    try:
        metrics = train_trial(cfg, output_dir, data, identity={"owner": current_owner()})
        draw_figures(output_dir, metrics)
        return output_dir, metrics
    finally:
        release_memory(device)


def find_interrupted(cfg: Config, dataset_id: str) -> tuple[Path, Config] | None:
    """Return the newest interrupted training by hand that matches ``cfg``, with its configuration.

    The saved configuration names the thread count and the precision that the training used.
    """
    for file in sorted(resolve(cfg.paths.outputs_root).glob(f"20*/*/{CHECKPOINT_FILE}"))[::-1]:
        info = read_trial_info(file.parent)
        theirs = "trial_number" in info or info.get("dataset_id") != dataset_id
        if theirs or not _was_cut_short(info):
            continue
        with suppress(ConfigError, KeyError):  # damaged files: not usable
            saved, wanted = (
                read_saved_settings(file.parent),
                as_dict(with_saved_compute(cfg, file.parent)),
            )
            if all(saved[section] == wanted[section] for section in COMPARED):
                return file.parent, config_from_dict(saved)
    return None


def _was_cut_short(info: Mapping[str, Any]) -> bool:
    """Return whether a training waits to be resumed, or its process is gone."""
    if info.get("state") == "RUNNING":
        return bool(info.get("owner")) and not owner_is_alive(info["owner"])
    return bool(info.get("state") == "WAITING")
