"""The studies beside a study, made to settle its winner: whose they are, told by what they say.

Each has the attribute ``companion_of``. A user may call a study of his own as a companion would be
called, so a name proves nothing. Those that were made before there was the attribute are known by
what only they have.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import optuna
from optuna.storages import BaseStorage

from hpo_utils.base.config import read_saved_settings
from hpo_utils.base.errors import HpoError
from hpo_utils.trials.storage import AFTERWARDS, FOLD_SUFFIX, stored_names

MARK = "companion_of"
TRAININGS = "|".join(AFTERWARDS)


def companion_of(study: optuna.Study, outputs_root: Path) -> str | None:
    """Return the name of the study beside which this one stands; None of a user's own."""
    attributes = study.user_attrs
    if MARK in attributes:
        return None if attributes[MARK] is None else str(attributes[MARK])
    if "signature" not in attributes:  # trainings of settings had none
        parts = re.fullmatch(rf"(.+)-(?:{TRAININGS})", study.study_name)
        return parts[1] if parts and study.get_trials(deepcopy=False) else None
    parts = re.fullmatch(rf"(.+)-{FOLD_SUFFIX}-\d+(?:-[\d-]+)?", study.study_name)
    return parts[1] if parts and _searched_for_another(study, outputs_root) else None


def _searched_for_another(study: optuna.Study, outputs_root: Path) -> bool:
    """Return whether a search's trials have the settings of a search on another fold."""
    for trial in study.get_trials(deepcopy=False):
        with suppress(HpoError, KeyError, OSError):
            settings = read_saved_settings(outputs_root / trial.user_attrs["output_dir"])
            asked = settings["evaluation"]
            return asked["other_folds"] == "none" and not asked["compare_random_split"]
    return False


def own_names(storage: BaseStorage, name: str, outputs_root: Path) -> list[str]:
    """Return the stored studies ``name`` or ``name-<time stamp>`` of the user, newest first."""
    return [
        stored
        for stored in stored_names(storage, name)
        if companion_of(_load(storage, stored), outputs_root) is None
    ]


def names_beside(storage: BaseStorage, name: str, parent: str, outputs_root: Path) -> list[str]:
    """Return the stored studies ``name`` or ``name-<time stamp>`` that stand beside ``parent``."""
    return [
        stored
        for stored in stored_names(storage, name)
        if companion_of(_load(storage, stored), outputs_root) == parent
    ]


def companion_name(storage: BaseStorage, parent: str, suffix: str, outputs_root: Path) -> str:
    """Return how the study beside ``parent`` with this suffix is called, or is to be called.

    Where a user's own study has that name, a number behind it tells them apart.
    """
    names = set(optuna.get_all_study_names(storage))
    name, attempt = f"{parent}-{suffix}", 1
    while name in names:
        study = _load(storage, name)
        unsigned = not {"signature", MARK} & study.user_attrs.keys()  # made at this moment
        if unsigned or companion_of(study, outputs_root) == parent:
            return name
        attempt += 1
        name = f"{parent}-{suffix}-{attempt}"
    return name


def companions_of(storage: BaseStorage, name: str, outputs_root: Path) -> dict[str, str]:
    """Return the names of all studies beside a study, and what each is called where one reads.

    Among them are the searches on its other folds, and what stands beside those.
    """
    begun = [each for each in optuna.get_all_study_names(storage) if each.startswith(f"{name}-")]
    parents = {each: companion_of(_load(storage, each), outputs_root) for each in begun}
    found = {}
    for each in begun:
        above = parents[each]
        while above is not None and above != name:
            above = parents.get(above)
        if above == name:
            found[each] = _title(each, name)
    return found


def _title(companion: str, name: str) -> str:
    """Return what a companion of the study ``name`` is called."""
    rest = companion.removeprefix(f"{name}-")
    parts = re.fullmatch(rf"{FOLD_SUFFIX}-(\d+)(-[\d-]+)?(?:-({TRAININGS})(?:-\d+)?)?", rest)
    if parts is None:
        return AFTERWARDS.get(re.sub(r"-\d+$", "", rest), rest)
    number, stamp, beside = parts.groups(default="")
    search = f"the search on fold {number}" + (f" of {stamp[1:]}" if stamp else "")
    return search + (f", {AFTERWARDS[beside]}" if beside else "")


def _load(storage: BaseStorage, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=storage)
