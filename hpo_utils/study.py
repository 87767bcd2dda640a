"""The study: opened or created, recovered, searched to its number of trials, summarised."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from datetime import datetime
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.config import Config, updated, with_target_weights
from hpo_utils.data import PreparedData, known_targets, prepare_data
from hpo_utils.devices import select_device
from hpo_utils.errors import SearchSpaceError, StopRequest, StudyError
from hpo_utils.executors import check_executor, run_workers
from hpo_utils.ownership import recover_interrupted
from hpo_utils.parameters import as_text
from hpo_utils.paths import resolve, writable_directory
from hpo_utils.progress import WANTED, StudyProgress
from hpo_utils.sampler import create_sampler
from hpo_utils.search_space import SearchSpace, load_search_space
from hpo_utils.server import start_server
from hpo_utils.stopping import create_stop
from hpo_utils.storage import (
    AFTERWARDS,
    FINISHED,
    FOLD_SUFFIX,
    count_finished,
    create_pruner,
    default_database,
    enqueued_params,
    open_storage,
    stored_names,
)
from hpo_utils.study_files import last_searched, write_study_files
from hpo_utils.workers import Search, needing_storage
from hpo_utils.yardstick import check_target, create_yardstick

FILES_INTERVAL = 10.0  # seconds between two writings of the study's files while it runs
FILES_SHARE = 0.01  # of the time that the writing may take
SIGNING_S = 5.0  # seconds in which a process that creates a study has signed it
COMPARABLE = ("dataset_id", "score", "physics")  # of two studies whose trials can be mixed


def run_study(cfg: Config, may_delete: bool = True) -> optuna.Study:
    """Search until the study has the trials that ``cfg`` asks for, and write its files.

    Running again finishes the work rather than adding to it: trials that were interrupted go on
    from their checkpoints. The files are written while it goes on and when it ends, also by an
    interrupt, so that a killed search leaves them nearly up to date. Without ``may_delete`` no
    study is started over, whatever the settings say.

    Returns
    -------
    optuna.Study
        The study, which may be a new one: see ``open_study``. When ``study.timeout`` has passed it
        has fewer trials.

    Raises
    ------
    HpoError
        If data, search space or storage cannot be used, too many trials fail in a row, or the disk
        is full.
    StopRequest
        If a person made the file ``optuna/STOP`` below ``outputs_root``.
    """
    cfg, space = check_study(cfg)
    with needing_storage():
        start_server(cfg)
        data = prepare_data(cfg)
        study = open_study(cfg, space, data, may_delete)
        search(study, cfg, space, data)
    return study


def search(study: optuna.Study, cfg: Config, space: SearchSpace, data: PreparedData) -> None:
    """Run what is left of the study, showing its progress and keeping its files up to date."""
    remaining = count_remaining(study, cfg)
    if remaining == 0:
        print(f"study {study.study_name!r} has its {count_finished(study)} trials: nothing to do")
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
    shared = cfg.study.n_more is None  # with other processes, which have done some of them
    left = count_remaining(study, cfg) if shared else remaining - progress.n_done
    if left > 0 and (reason := stop.reason()):
        sentence = f"the search stops because {reason}: {left} trials are left, run again to go on"
        if not stop.overdue():
            raise StopRequest(sentence)
        print(sentence)


def check_study(cfg: Config) -> tuple[Config, SearchSpace]:
    """Check all settings of a study against the headers of its arrays, before it is made.

    Returns
    -------
    Config, SearchSpace
        The configuration, with a weight for each target, and what is searched.

    Raises
    ------
    HpoError
        If one of them does not fit.
    """
    select_device(cfg.training.device)
    check_executor(cfg)
    names = known_targets(cfg)
    check_target(cfg, names)
    cfg = with_target_weights(cfg, len(names))
    space = load_search_space(cfg, len(names))
    if cfg.study.try_base:
        space.values_in(cfg)
    known_targets(updated(cfg, space.largest()))  # do the shapes allow the largest downsampling?
    if cfg.study.storage is not None:
        open_storage(cfg)
    writable_directory(cfg.paths.outputs_root, "paths.outputs_root")
    return cfg, space


def open_study(
    cfg: Config, space: SearchSpace, data: PreparedData, may_delete: bool = True
) -> optuna.Study:
    """Open the study that fits the configuration, or create it.

    A study holds trials of one search space with one set of other settings, on one data set, scored
    in one way. When the stored study of this name has others, a new one is made with a time stamp
    in its name, and the finished trials that could have been sampled from the new space on the same
    data are carried over. Asking again finds the new one.

    ``study.delete_study`` or ``OPTUNA_DELETE_STUDY=true`` in the environment starts over.
    """
    storage = open_storage(cfg)
    wished = os.environ.get("OPTUNA_DELETE_STUDY", "").lower() == "true"
    if may_delete and (cfg.study.delete_study or wished):
        _delete_stored(storage, cfg.study.name)
    signature = {
        "search_space": space.digest,
        "held": space.held_in(cfg),
        "dataset_id": data.dataset_id,
        "score": create_yardstick(cfg, data.target_names, data.targets("val")).name,
        "physics": {key: data.manifest[key] for key in ("fractions", "non_negative")},
    }
    while True:
        try:
            study = _fitting_or_new(storage, cfg, space, signature)
            break
        except DuplicatedStudyError:  # made by another process a moment ago, or in this second
            time.sleep(1.0)
    study.set_user_attr("target_names", data.target_names)
    if cfg.study.try_base:
        _enqueue_base(study, space, cfg)
    study.sampler = create_sampler(cfg)
    study.pruner = create_pruner(cfg)
    return study


def _fitting_or_new(
    storage: optuna.storages.BaseStorage, cfg: Config, space: SearchSpace, signature: dict[str, Any]
) -> optuna.Study:
    stored = [
        optuna.load_study(study_name=name, storage=storage)
        for name in stored_names(storage, cfg.study.name)
    ]
    _wait_for_signatures(stored, signature)
    for study in stored:
        if study.user_attrs.get("signature") == signature:
            recover_interrupted(study, resolve(cfg.paths.outputs_root), cfg.study.silent_after_s)
            return study
    stamp = f"-{datetime.now():%Y%m%d-%H%M%S}" if stored else ""
    study = optuna.create_study(
        study_name=cfg.study.name + stamp, storage=storage, direction="minimize"
    )
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
    """Wait for those who create studies at this moment; sign what one left that was killed then."""
    until = time.monotonic() + SIGNING_S
    for study in studies:
        while "signature" not in study.user_attrs and not study.get_trials(deepcopy=False):
            if time.monotonic() > until:
                study.set_user_attr("signature", signature)
            else:
                time.sleep(0.1)


def with_those_after(study: optuna.Study) -> dict[str, optuna.Study]:
    """Return the study, and those that its winner is settled by, as far as they have begun.

    Under what each is called where a user reads of it.
    """
    storage = study._storage
    after = {
        title: optuna.load_study(study_name=name, storage=storage)
        for name, title in _names_after(storage, study.study_name).items()
    }
    return {f"study {study.study_name}": study, **after}


def _names_after(storage: optuna.storages.BaseStorage, name: str) -> dict[str, str]:
    """Return the names of the studies that stand beside a study, and what each is called.

    Among them are the searches on its other folds, and what stands beside those.
    """
    begun = optuna.get_all_study_names(storage)
    found = {n: t for suffix, t in AFTERWARDS.items() if (n := f"{name}-{suffix}") in begun}
    suffixes = "|".join(AFTERWARDS)
    fold = re.escape(f"{name}-{FOLD_SUFFIX}-") + rf"(\d+)(-[\d-]+)?(?:-({suffixes}))?"
    for each in begun:
        if parts := re.fullmatch(fold, each):
            number, stamp, beside = parts.groups(default="")
            search = f"the search on fold {number}" + (f" of {stamp[1:]}" if stamp else "")
            found[each] = search + (f", {AFTERWARDS[beside]}" if beside else "")
    return found


def load_existing_study(cfg: Config, study_name: object = None) -> optuna.Study:
    """Return a stored study.

    Parameters
    ----------
    cfg
        Of the studies called ``study.name``, with or without a time stamp, the one that was last
        searched, else the newest.
    study_name
        The exact name of another one.

    Raises
    ------
    StudyError
        If there is none.
    """
    wanted = as_text("study_name", study_name)
    names: list[str] = []
    if cfg.study.storage is not None or default_database(cfg).is_file():
        storage = open_storage(cfg)
        names = stored_names(storage, wanted or cfg.study.name)
        last = last_searched(resolve(cfg.paths.outputs_root))
        names = [name for name in (wanted or last, *names) if name in names]
    if not names or (wanted is not None and names[0] != wanted):
        raise StudyError(
            f"there must be a study called {wanted or cfg.study.name!r} to look at, but none is"
            " stored: run notebooks/03_optimize.ipynb with the same params_file first"
        )
    return optuna.load_study(study_name=names[0], storage=storage)


def count_remaining(study: optuna.Study, cfg: Config) -> int:
    """Return how many trials are still to do."""
    if cfg.study.n_more is not None:
        return cfg.study.n_more
    return max(0, cfg.study.n_trials - count_finished(study))


def carry_over(
    old: optuna.Study, new: optuna.Study, space: SearchSpace, cfg: Config
) -> tuple[int, Counter[str]]:
    """Copy the old study's finished trials that the new space could have sampled.

    Trials on other data or scored in another way are not comparable: none of them is copied. A
    setting that is searched only now has, in the old trials, the value at which it was held.

    Returns
    -------
    int
        How many were copied.
    Counter
        How many were not, by reason.
    """
    before, now = (study.user_attrs.get("signature", {}) for study in (old, new))
    trials = old.get_trials(deepcopy=False, states=FINISHED)
    differing = [key for key in COMPARABLE if before.get(key) != now.get(key)]
    if differing:
        return 0, Counter({f"another {', '.join(differing)}": len(trials)})
    carried, dropped = 0, Counter[str]()
    for trial in trials:
        try:
            params = space.fit({**before["held"], **trial.params}, cfg)
        except SearchSpaceError as reason:
            dropped[str(reason)] += 1
            continue
        new.add_trial(
            optuna.create_trial(
                state=trial.state,
                params=params,
                distributions={name: space.distributions[name] for name in params},
                value=trial.value,
                intermediate_values=trial.intermediate_values,
                user_attrs={
                    # a number of the old study says nothing in the new one
                    **{k: v for k, v in trial.user_attrs.items() if k != "same_as"},
                    "carried_from": f"{old.study_name} trial {trial.number}",
                },
            )
        )
        carried += 1
    return carried, dropped


def _delete_stored(storage: optuna.storages.BaseStorage, name: str) -> None:
    for stored in stored_names(storage, name):
        for each in (stored, *_names_after(storage, stored)):
            optuna.delete_study(study_name=each, storage=storage)
        print(f"deleted study {stored!r}; the directories of its trials stay")


def _enqueue_base(study: optuna.Study, space: SearchSpace, cfg: Config) -> None:
    """Have the base configuration tried first, unless it has been or waits to be."""
    base = space.values_in(cfg)
    tried = [
        enqueued_params(trial) or trial.params
        for trial in study.get_trials(deepcopy=False)
        if trial.state != TrialState.FAIL
    ]
    if base not in tried:
        study.enqueue_trial(base)
