"""Open or create a study, recover its trials, run the missing ones and write its files."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.base.config import Config, with_target_weights
from hpo_utils.base.errors import ConfigError, HpoError, StopRequest, StudyError
from hpo_utils.base.language import _
from hpo_utils.base.parameters import as_text, is_called
from hpo_utils.base.paths import resolve, writable_directory
from hpo_utils.data.checks import check_downsampling
from hpo_utils.data.preparation import Header, find_prepared, prepare_data, read_header
from hpo_utils.data.prepared import PreparedData
from hpo_utils.network.devices import select_device
from hpo_utils.scores.yardstick import check_target, create_yardstick
from hpo_utils.study.carry_over import carry_over
from hpo_utils.study.companions import MARK, companions_of, names_beside, own_names
from hpo_utils.study.progress import WANTED, StudyProgress, why_none_completed
from hpo_utils.study.summary import draw_best, last_searched, write_study_files
from hpo_utils.training.stopping import create_stop
from hpo_utils.trials import budget
from hpo_utils.trials.first_trials import first_trials
from hpo_utils.trials.ownership import recover_interrupted
from hpo_utils.trials.sample_scale import fitted_to_data
from hpo_utils.trials.sampler import create_sampler
from hpo_utils.trials.search_space import SearchSpace, load_search_space
from hpo_utils.trials.storage import (
    count_finished,
    create_pruner,
    default_database,
    enqueue,
    enqueued_params,
    open_storage,
    read_signature,
)
from hpo_utils.workers.executors import check_executor, run_workers
from hpo_utils.workers.server import start_server
from hpo_utils.workers.worker import Search, needing_storage

FILES_INTERVAL = 10.0  # seconds between two updates of the study's files while it runs
FILES_SHARE = 0.01  # share of the time that writing the files may take
DOWNSAMPLING = "dataset.downsample_factor"
SIGNING_S = 5.0  # seconds within which a process signs the study that it creates


def run_study(cfg: Config, companion_of: str | None = None) -> optuna.Study:
    """Search until the study has the trials that ``cfg`` asks for, and write its files.

    Running again finishes the work rather than adding to it: interrupted trials resume from their
    checkpoints. The files are written during the search and at its end, also after an interrupt, so
    that a killed search leaves them nearly up to date. ``companion_of`` names the study whose
    winner this search helps to settle; a companion is never started over on its own.

    Returns
    -------
    optuna.Study
        The study, which may be a new one: see ``open_study``. It has fewer trials if
        ``study.timeout`` or its share of ``study.budget`` has passed.

    Raises
    ------
    HpoError
        If data, search space or storage cannot be used, too many trials fail in a row, or the disk
        is full.
    StopRequest
        If somebody created the file ``optuna/STOP`` below ``outputs_root``.
    """
    started = time.time()
    cfg, space, header = check_study(cfg)
    with needing_storage():
        start_server(cfg)
        data = prepare_data(cfg, header)
        study = open_study(cfg, space, data, companion_of)
        budget.begin(study, cfg, started)
        search(study, cfg, space, data)
    return study


def search(study: optuna.Study, cfg: Config, space: SearchSpace, data: PreparedData) -> None:
    """Run the remaining trials of the study, show progress and keep its files up to date."""
    remaining = count_remaining(study, cfg)
    if remaining == 0:
        print(f"study {study.study_name!r} has its {count_finished(study)} trials: nothing to do")
        if sentence := why_none_completed(study):
            print(sentence)
    study.set_user_attr(WANTED, count_finished(study) + remaining)
    progress = StudyProgress(study, remaining)
    root = resolve(cfg.paths.outputs_root)
    due = 0.0

    def note(trial: FrozenTrial) -> None:
        nonlocal due
        progress.trial_finished(trial)
        if (started := time.monotonic()) > due:
            write_study_files(study, root)
            ended = time.monotonic()
            due = ended + max(FILES_INTERVAL, (ended - started) / FILES_SHARE)

    stop = create_stop(cfg)
    try:
        run_workers(study, Search(cfg, space, data, stop), remaining, note)
    finally:
        write_study_files(study, root)
        progress.close()
    if not cfg.study.trial_figures:
        draw_best(study, root)
    shared = cfg.study.n_more is None  # other processes may have run some of the trials
    left = count_remaining(study, cfg) if shared else remaining - progress.n_done
    reason = stop.reason()
    asked = reason is not None and not stop.overdue()  # by the stop file
    if left > 0 and reason is None and not budget.has_time_for_another(study, cfg, data.n_train):
        reason = "the rest of study.budget is for its winner"
    if left > 0 and reason:
        sentence = f"the search stops because {reason}: {left} trials are left, run again to go on"
        if asked:
            raise StopRequest(sentence)
        print(sentence)


def check_study(cfg: Config) -> tuple[Config, SearchSpace, Header]:
    """Check all settings of a study against the headers of its arrays, before it is created.

    Returns
    -------
    Config, SearchSpace, Header
        The configuration, with a weight for each target; the search space; the arrays' headers.

    Raises
    ------
    HpoError
        If a setting does not fit.
    """
    select_device(cfg.training.device)
    check_executor(cfg)
    header = read_header(cfg)
    names = header.target_names
    check_target(cfg, names)
    cfg = fitted_to_data(with_target_weights(cfg, len(names)), header.shape)
    space = load_search_space(cfg, len(names), header.n_rows)
    first_trials(cfg, space)
    check_downsampling(header.n_rows, space.largest().get(DOWNSAMPLING, 1))
    if cfg.study.storage is not None:
        open_storage(cfg)
    writable_directory(cfg.paths.outputs_root, "paths.outputs_root")
    return cfg, space, header


def open_study(
    cfg: Config, space: SearchSpace, data: PreparedData, companion_of: str | None = None
) -> optuna.Study:
    """Open the study that fits the configuration, or create it.

    All trials of a study share one search space, one set of other settings, one data set and one
    score. If the stored study of this name differs in one of them, a new study with a time stamp in
    its name is created, and the finished trials that could have been sampled from the new space on
    the same data are carried over. Opening again finds the new study.

    ``study.delete_study`` or ``OPTUNA_DELETE_STUDY=true`` in the environment starts over.
    """
    storage = open_storage(cfg)
    wished = os.environ.get("OPTUNA_DELETE_STUDY", "").lower() == "true"
    if companion_of is None and (cfg.study.delete_study or wished):
        _delete_stored(storage, cfg)
    _check_folds(cfg, data)
    signature, first = signature_of(cfg, space, data), first_trials(cfg, space)
    while True:
        try:
            study = _fitting_or_new(storage, cfg, space, signature, companion_of)
            break
        except DuplicatedStudyError:  # just created by another process, or in this same second
            time.sleep(1.0)
    study.set_user_attr("target_names", data.target_names)
    _enqueue_first(study, cfg, first)
    study.sampler = create_sampler(cfg)
    study.pruner = create_pruner(cfg)
    return study


def _check_folds(cfg: Config, data: PreparedData) -> None:
    """Raise ConfigError unless the scored targets can be scored on each part that validates."""
    data.used_by(cfg)  # the one that is named, if it is
    for number, fold in enumerate(data.race_folds(cfg)):  # those of the search among them
        try:
            create_yardstick(cfg, data.target_names, fold.targets("val"))
        except ConfigError as error:
            if number == 0:
                raise
            raise ConfigError(
                f"{error}; the validation part meant is number {number} of those that"
                " evaluation.score_folds or race_folds has validate in turn"
            ) from None


def signature_of(cfg: Config, space: SearchSpace, data: PreparedData) -> dict[str, Any]:
    """Return what all trials of a study share."""
    return {
        "search_space": space.digest,
        "held": space.held_in(cfg),
        "dataset_id": data.dataset_id,
        "score": create_yardstick(cfg, data.target_names, data.targets("val")).name,
        "score_folds": len(data.val_folds(cfg)),
        "physics": {key: data.manifest[key] for key in ("fractions", "non_negative")},
    }


def _fitting_or_new(
    storage: optuna.storages.BaseStorage,
    cfg: Config,
    space: SearchSpace,
    signature: dict[str, Any],
    companion_of: str | None,
) -> optuna.Study:
    root, name = resolve(cfg.paths.outputs_root), cfg.study.name
    if companion_of is None:
        names = own_names(storage, name, root)
    else:
        names = names_beside(storage, name, companion_of, root)
    stored = [optuna.load_study(study_name=each, storage=storage) for each in names]
    _wait_for_signatures(stored, signature)
    for study in stored:
        if read_signature(study) == signature:
            recover_interrupted(study, root, cfg.study.silent_after_s)
            return study
    taken = name in optuna.get_all_study_names(storage)  # by a study with other settings
    stamp = f"-{datetime.now():%Y%m%d-%H%M%S}" if taken else ""
    study = optuna.create_study(
        study_name=cfg.study.name + stamp, storage=storage, direction="minimize"
    )
    study.set_user_attr(MARK, companion_of)
    study.set_user_attr("signature", signature)
    if stored:
        carried, dropped = carry_over(stored[0], study, space, cfg)
        print(
            f"study {stored[0].study_name!r} was made with another search space, settings,"
            f" data or score: going on in the new study {study.study_name!r} with"
            f" {carried} of its trials"
        )
        for reason, count in dropped.most_common():
            print(f"  left behind, {count}: {reason}")
    return study


def _wait_for_signatures(studies: list[optuna.Study], signature: dict[str, Any]) -> None:
    """Wait until concurrently created studies are signed; sign one whose creator died."""
    until = time.monotonic() + SIGNING_S
    for study in studies:
        while "signature" not in study.user_attrs and not study.get_trials(deepcopy=False):
            if time.monotonic() > until:
                study.set_user_attr("signature", signature)
            else:
                time.sleep(0.1)


def with_those_after(study: optuna.Study, outputs_root: Path) -> dict[str, optuna.Study]:
    """Return the study and its existing companions, by the titles that users see."""
    storage = study._storage
    after = {
        title: optuna.load_study(study_name=name, storage=storage)
        for name, title in companions_of(storage, study.study_name, outputs_root).items()
    }
    return {f"study {study.study_name}": study, **after}


def load_existing_study(cfg: Config, study_name: object = None) -> optuna.Study:
    """Return a stored study.

    Parameters
    ----------
    cfg
        The configuration. Among the studies called ``study.name``, with or without a time stamp, it
        selects the one with these settings and data; otherwise the one that was last searched, or
        else the newest: ``differs_from`` says how it differs.
    study_name
        The exact name of another study, or the number that papermill made of its digits.

    Raises
    ------
    StudyError
        If there is no such study.
    """
    wanted = as_text("study_name", study_name)
    names: list[str] = []
    if cfg.study.storage is not None or default_database(cfg).is_file():
        storage, root = open_storage(cfg), resolve(cfg.paths.outputs_root)
        if wanted is not None:
            names = [n for n in optuna.get_all_study_names(storage) if is_called(n, study_name)]
            names = [wanted] if wanted in names else names
        else:
            names = own_names(storage, cfg.study.name, root)
            names = _as_wished(storage, names, _wished(cfg)) or names
            names = [last for last in [last_searched(root)] if last in names] or names
    if not names or (wanted is not None and len(names) > 1):
        raise StudyError(
            f"there must be a study called {wanted or cfg.study.name!r} to look at, but none is"
            " stored: run notebooks/03_optimize.ipynb with the same params_file first"
        )
    found = optuna.load_study(study_name=names[0], storage=storage)
    if MARK in found.user_attrs and "signature" not in found.user_attrs:
        raise StudyError(
            f"the study to look at must have searched, but {names[0]!r} holds trainings that settle"
            f" the winner of {found.user_attrs[MARK]!r}: look at that one"
        )
    return found


def _as_wished(
    storage: optuna.storages.BaseStorage, names: list[str], wished: dict[str, Any]
) -> list[str]:
    """Return the studies whose signatures contain ``wished``; none if ``wished`` is empty."""
    signatures = {
        name: read_signature(optuna.load_study(study_name=name, storage=storage)) for name in names
    }
    return [name for name in names if wished and wished.items() <= signatures[name].items()]


def _wished(cfg: Config) -> dict[str, Any]:
    """Return the signature of a study with these settings, as far as it is known.

    It is empty if the arrays or the search space cannot be read, and partial if the data have not
    been prepared.
    """
    try:
        header = read_header(cfg)
    except HpoError:
        return {}
    names, data = header.target_names, find_prepared(header)
    cfg = fitted_to_data(with_target_weights(cfg, len(names)), header.shape)
    try:
        space = load_search_space(cfg, len(names), header.n_rows)
        if data is not None:
            return signature_of(cfg, space, data)
    except HpoError:
        return {}
    known = {"search_space": space.digest, "held": space.held_in(cfg)}
    return {**known, "dataset_id": None}  # never prepared, so never searched


def differs_from(study: optuna.Study, cfg: Config) -> str | None:
    """Return a sentence on how a study differs from the settings in ``cfg``; None if it fits."""
    wished, signature = _wished(cfg), read_signature(study)
    differing = [key for key in wished if signature and wished[key] != signature.get(key)]
    if not differing:
        return None
    words = {
        "search_space": _("search space"), "held": _("settings"), "dataset_id": _("data"),
        "score_folds": _("number of validation parts"),
    }  # fmt: skip
    what = ", ".join(words.get(key, key) for key in differing)
    if "held" in differing:
        held, theirs = wished["held"], signature.get("held", {})
        changed = [key for key in held if key in theirs and held[key] != theirs[key]]
        what += f" ({', '.join(changed)})" if changed else ""
    return _(
        "**Study {name} is not the one of these settings**: it was made with another {what}. Theirs"
        " has not been searched yet: run `03_optimize` with the same `params_file` and `overrides`."
    ).format(name=study.study_name, what=what)


def count_remaining(study: optuna.Study, cfg: Config) -> int:
    """Return how many trials are still to do."""
    if cfg.study.n_more is not None:
        return cfg.study.n_more
    return max(0, cfg.study.n_trials - count_finished(study))


def _delete_stored(storage: optuna.storages.BaseStorage, cfg: Config) -> None:
    root = resolve(cfg.paths.outputs_root)
    for stored in own_names(storage, cfg.study.name, root):
        for each in (stored, *companions_of(storage, stored, root)):
            optuna.delete_study(study_name=each, storage=storage)
        print(f"deleted study {stored!r}; the directories of its trials stay")


def _enqueue_first(study: optuna.Study, cfg: Config, first: list[dict[str, Any]]) -> None:
    """Enqueue the first trials next, except those that were tried or are waiting.

    None is left waiting when the study has its trials.
    """
    known = study.get_trials(deepcopy=False)
    tried = [enqueued_params(t) or t.params for t in known if t.state != TrialState.FAIL]
    waiting = sum(trial.state == TrialState.WAITING for trial in known)
    missing = [params for params in first if params not in tried]
    for params in missing[: max(0, count_remaining(study, cfg) - waiting)]:
        enqueue(study, params)
