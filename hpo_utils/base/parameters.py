"""Notebook parameters: check and convert them, then load the configuration.

``load_notebook_config`` is the first call of every notebook. Papermill only warns about a misspelt
parameter and passes ``-p flag false`` as the text ``'false'``; here a parameter is converted, or
rejected with one sentence.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress

from hpo_utils.base.config import Config, load_config
from hpo_utils.base.errors import ParameterError

# notebook parameter -> key of its setting in the configuration
CONFIG_KEYS = {
    "n_trials": "study.n_trials",
    "n_workers": "study.n_workers",
    "delete_study": "study.delete_study",
}
NULLS = ("", "none", "null")
QUOTED = r"'[^']*'|\"[^\"]*\""
WORD = rf"(?:[^\s'\"]|{QUOTED})+"


def load_notebook_config(
    params_file: object = None, overrides: object = "", **parameters: object
) -> Config:
    """Return the configuration for a notebook's parameters.

    Parameters
    ----------
    params_file
        YAML file, absolute or below the project root; None for the defaults alone.
    overrides
        Dotlist items in one string, ``"training.epochs=30 model.hidden=48"``, or a list of them.
        Quote a value with spaces: ``"dataset.x_train='my data/x.npy'"``.
    **parameters
        The notebook's other parameters by name; None keeps the setting of the files.

    Raises
    ------
    ParameterError
        If papermill injected an unknown name, or a value has the wrong type.
    ConfigError
        If the resulting configuration is not valid.
    """
    known = ("params_file", "overrides", *parameters)
    reject_unknown_parameters(injected_names(_executed_cells()), known)
    converted = {
        CONFIG_KEYS[name]: as_bool(name, value) if name == "delete_study"
        else as_int(name, value)
        for name, value in parameters.items()
        if name in CONFIG_KEYS
    }  # fmt: skip
    return load_config(as_text("params_file", params_file), split_overrides(overrides), **converted)


def split_overrides(overrides: object) -> list[str]:
    """Return the dotlist items of ``overrides``, given as one string, a list of items, or None.

    Quotes hold an item together. Quotes around a value or inside a list are kept, because they
    mark the value as text.
    """
    if overrides is None:
        return []
    if isinstance(overrides, str):
        words = re.findall(WORD, overrides)
        if re.sub(WORD, "", overrides).strip():
            raise ParameterError(f"overrides must have its quotes in pairs, got {overrides!r}")
        return [_unquoted(word) for word in words]
    if isinstance(overrides, Iterable) and not isinstance(overrides, Mapping):
        return [str(item) for item in overrides]
    raise ParameterError(
        "overrides must be a string of dotlist items such as 'training.epochs=30 model.hidden=48',"
        f" got {overrides!r}"
    )


def _unquoted(word: str) -> str:
    """Remove quotes that only hold a word together."""
    if re.fullmatch(QUOTED, word):
        return word[1:-1]
    key, equals, value = word.partition("=")
    if re.fullmatch(QUOTED, value) or value.startswith(("[", "{")):
        return word
    return key + equals + re.sub(r"['\"]", "", value)


def as_int(name: str, value: object) -> int | None:
    """Return ``value`` as an integer; None, ``''`` and ``'null'`` are None."""
    if value is None or (isinstance(value, str) and value.strip().lower() in NULLS):
        return None
    try:
        number = float(value) if isinstance(value, str | int | float) else float("nan")
    except ValueError:
        number = float("nan")
    if isinstance(value, bool) or not number.is_integer():
        raise ParameterError(f"{name} must be a whole number, got {value!r}: pass -p {name} 20")
    return int(number)


def as_bool(name: str, value: object) -> bool | None:
    """Return ``value``, a bool or a word that papermill leaves as text, as a bool or None."""
    if value is None or isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in NULLS:
        return None
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise ParameterError(f"{name} must be true or false, got {value!r}: pass -p {name} true")


def as_text(name: str, value: object) -> str | None:
    """Return ``value`` as text; None, ``''`` and ``'null'`` are None.

    Papermill converts digits to a number: ``-p study_name 2026`` arrives as an integer.
    """
    if value is None or (isinstance(value, str) and value.strip().lower() in NULLS):
        return None
    if isinstance(value, str | int | float):
        return str(value)
    raise ParameterError(f"{name} must be text, got {value!r}")


def is_called(name: str, wanted: object) -> bool:
    """Return whether ``name`` is the wanted name; papermill turns 001 or 1_2 into a number."""
    if not isinstance(wanted, int | float):
        return name == wanted
    for number in (int, float):
        with suppress(ValueError):
            return bool(number(name) == wanted)
    return False


def reject_unknown_parameters(injected: Iterable[str], known: Iterable[str]) -> None:
    """Raise ParameterError if papermill injected a parameter unknown to the notebook."""
    known = list(known)
    for name in injected:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {nearest[0]}?" if nearest else (
                'any other setting goes through overrides, as in -p overrides "training.epochs=30"'
            )  # fmt: skip
            raise ParameterError(
                f"a parameter must be one of {', '.join(known)}, got {name!r}: {hint}"
            )


def injected_names(cells: Iterable[str]) -> list[str]:
    """Return the names assigned in the last cell that papermill injected."""
    for source in reversed(list(cells)):
        if source.startswith("# Parameters\n"):
            return [
                target.id
                for statement in ast.parse(source).body
                if isinstance(statement, ast.Assign)
                for target in statement.targets
                if isinstance(target, ast.Name)
            ]
    return []


def _executed_cells() -> list[str]:
    """Return the sources of the cells executed so far in this kernel; empty outside IPython."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return [] if shell is None else [str(source) for source in shell.user_ns.get("In", [])]
