"""Find and name the companions of a study: the studies that help to settle its winner.

Each companion has the attribute ``companion_of``. Its name proves nothing, because a user may give
that name to a study of their own. Companions that are older than the attribute are recognised by
properties that only companions have.
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
    """Return the name of the study whose companion this one is; None for a user's own study."""
    attributes = study.user_attrs
    if MARK in attributes:
        return None if attributes[MARK] is None else str(attributes[MARK])
    if "signature" not in attributes:  # companions that train given settings had none
        parts = re.fullmatch(rf"(.+)-(?:{TRAININGS})", study.study_name)
        return parts[1] if parts and study.get_trials(deepcopy=False) else None
    parts = re.fullmatch(rf"(.+)-{FOLD_SUFFIX}-\d+(?:-[\d-]+)?", study.study_name)
    return parts[1] if parts and _searched_for_another(study, outputs_root) else None


def _searched_for_another(study: optuna.Study, outputs_root: Path) -> bool:
    """Return whether the trials have the settings of a companion search on another fold."""
    for trial in study.get_trials(deepcopy=False):
        with suppress(HpoError, KeyError, OSError):
            settings = read_saved_settings(outputs_root / trial.user_attrs["output_dir"])
            asked = settings["evaluation"]
            return asked["other_folds"] == "none" and not asked["compare_random_split"]
    return False


def own_names(storage: BaseStorage, name: str, outputs_root: Path) -> list[str]:
    """Return the user's own stored studies ``name`` or ``name-<time stamp>``, newest first."""
    return [
        stored
        for stored in stored_names(storage, name)
        if companion_of(_load(storage, stored), outputs_root) is None
    ]


def names_beside(storage: BaseStorage, name: str, parent: str, outputs_root: Path) -> list[str]:
    """Return the companions ``name`` or ``name-<time stamp>`` of ``parent``, newest first."""
    return [
        stored
        for stored in stored_names(storage, name)
        if companion_of(_load(storage, stored), outputs_root) == parent
    ]


def companion_name(storage: BaseStorage, parent: str, suffix: str, outputs_root: Path) -> str:
    """Return the name that the companion of ``parent`` with this suffix has or will get.

    If a user's own study already has that name, a number is appended.
    """
    names = set(optuna.get_all_study_names(storage))
    name, attempt = f"{parent}-{suffix}", 1
    while name in names:
        study = _load(storage, name)
        unsigned = not {"signature", MARK} & study.user_attrs.keys()  # being created at this moment
        if unsigned or companion_of(study, outputs_root) == parent:
            return name
        attempt += 1
        name = f"{parent}-{suffix}-{attempt}"
    return name


def companions_of(storage: BaseStorage, name: str, outputs_root: Path) -> dict[str, str]:
    """Return the names of all companions of a study, each with the title that users see.

    These include the searches on other folds, and the companions of those searches.
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
    """Return the title of a companion of the study ``name``."""
    rest = companion.removeprefix(f"{name}-")
    parts = re.fullmatch(rf"{FOLD_SUFFIX}-(\d+)(-[\d-]+)?(?:-({TRAININGS})(?:-\d+)?)?", rest)
    if parts is None:
        return AFTERWARDS.get(re.sub(r"-\d+$", "", rest), rest)
    number, stamp, beside = parts.groups(default="")
    search = f"the search on fold {number}" + (f" of {stamp[1:]}" if stamp else "")
    return search + (f", {AFTERWARDS[beside]}" if beside else "")


def _load(storage: BaseStorage, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=storage)
