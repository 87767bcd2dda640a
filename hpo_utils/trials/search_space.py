"""The search space: read from YAML, checked against the configuration, sampled by a trial."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
import yaml
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from hpo_utils.base.config import (
    SEARCHABLE,
    Config,
    as_dict,
    has_key,
    select,
    updated,
    with_target_weights,
)
from hpo_utils.base.errors import ConfigError, SearchSpaceError
from hpo_utils.base.paths import resolve
from hpo_utils.base.settings import BEFORE
from hpo_utils.base.written import UniqueLoader
from hpo_utils.trials.sample_scale import MANY_ROWS, fitted_entry

DISTRIBUTIONS: dict[str, type[BaseDistribution]] = {
    "int": IntDistribution,
    "float": FloatDistribution,
    "categorical": CategoricalDistribution,
}
NOT = "not "  # before a setting that must be off
LOSS_WEIGHTS = ("training.use_weighted_loss", "training.weight_target_*")  # name patterns


@dataclass(frozen=True)
class Parameter:
    """One searched setting: its dotted path, its distribution, and the setting it depends on.

    The condition is the name of a setting that must be on, or ``not`` and the name of one that must
    be off.
    """

    name: str
    distribution: BaseDistribution
    condition: str | None = None

    def applies(self, cfg: Config, values: Mapping[str, Any]) -> bool:
        """Return whether the condition holds in ``values`` (by dotted key), else in ``cfg``."""
        if self.condition is None:
            return True
        name = self.condition.removeprefix(NOT)
        return bool(values.get(name, select(cfg, name))) == (name == self.condition)

    @property
    def depends_on(self) -> str | None:
        """The name of the setting in the condition."""
        return None if self.condition is None else self.condition.removeprefix(NOT)


@dataclass(frozen=True)
class SearchSpace:
    """The searched settings, in the order in which they are sampled."""

    parameters: tuple[Parameter, ...]

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The distributions by name."""
        return {p.name: p.distribution for p in self.parameters}

    @property
    def digest(self) -> str:
        """Eight hex digits that change with the space."""
        content = [
            (p.name, distribution_to_json(p.distribution), p.condition) for p in self.parameters
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]

    def largest(self) -> dict[str, Any]:
        """Return the largest value of each numeric parameter."""
        values = {p.name: _extremes(p.distribution) for p in self.parameters}
        return {name: max(v) for name, v in values.items() if all(map(_is_number, v))}

    def values_in(self, cfg: Config) -> dict[str, Any]:
        """Return the values in ``cfg`` of the parameters whose condition holds.

        Raises
        ------
        SearchSpaceError
            If a value lies outside the space.
        """
        active = [p for p in self.parameters if p.applies(cfg, {})]
        values = {p.name: select(cfg, p.name) for p in active}
        for parameter in active:
            if not contains(parameter.distribution, values[parameter.name]):
                raise SearchSpaceError(
                    f"the base configuration must lie in the search space, but {parameter.name} ="
                    f" {values[parameter.name]} is not in {describe(parameter.distribution)}:"
                    " change one of the two, hold it by naming it in study.fixed, or leave the base"
                    " out by study.try_base=false"
                )
        return {p.name: own_value(p.distribution, values[p.name]) for p in active}

    def held_in(self, cfg: Config) -> dict[str, Any]:
        """Return the values of all searchable settings that are not searched, by dotted key.

        Settings that came later are left out where they change nothing, so that studies without
        them go on.
        """
        values = {
            f"{section}.{name}": value
            for section in ("model", "training", "augmentation", "dataset")
            for name, value in as_dict(cfg)[section].items()
            if SEARCHABLE.fullmatch(f"{section}.{name}")
        }
        for key in ("training.device", "training.n_threads"):  # where it trains, not what
            del values[key]
        held = {name: value for name, value in values.items() if name not in self.distributions}
        return {n: value for n, value in held.items() if n not in BEFORE or value != BEFORE[n]}

    def fit(self, settings: Mapping[str, Any], cfg: Config) -> dict[str, Any]:
        """Return the parameters that a trial with these settings has in this space.

        Parameters
        ----------
        settings
            Values by dotted key of all settings that were searched or could have been.
        cfg
            The base configuration; settings that are not searched here must have its values.

        Raises
        ------
        SearchSpaceError
            If the trial could not have been sampled from this space; the message names no trial, so
            that callers can count trials by reason.
        """
        known = self.distributions
        names = [p.name for p in self.parameters if p.applies(cfg, settings)]
        for name, value in settings.items():
            if name in known:
                if name in names and not contains(known[name], value):
                    raise SearchSpaceError(f"{name} is not in {describe(known[name])}")
            elif not has_key(cfg, name):
                raise SearchSpaceError(f"{name} is no setting any more")
            elif select(cfg, name) != value:
                raise SearchSpaceError(f"{name} is held at {select(cfg, name)} now")
        for name in names:
            if name not in settings:
                raise SearchSpaceError(f"{name} is searched now, and they have none")
        return {name: settings[name] for name in names}


def load_search_space(cfg: Config, n_targets: int, n_rows: int = MANY_ROWS) -> SearchSpace:
    """Read the search space from the file that ``study.search_space`` names.

    Parameters
    ----------
    cfg
        Parameters named in ``study.fixed`` are left out of the space; batches, epochs, widths and
        thinning are fitted to the data by ``study.batch_scale`` and ``study.width_scale``.
    n_targets
        Number of targets; a name with ``*`` stands for one parameter per target. With a single
        target the loss weights are not searched, because a single weight only scales the loss.
    n_rows
        Length of the axis that ``dataset.downsample_factor`` thins.

    Raises
    ------
    SearchSpaceError
        If the file is missing or malformed, or a parameter does not fit the configuration.
    """
    cfg = with_target_weights(cfg, n_targets)
    entries: dict[str, Any] = {}
    for name, entry in _read(cfg.study.search_space).items():
        names = [name.replace("*", str(k)) for k in range(n_targets)] if "*" in name else [name]
        entries.update(dict.fromkeys(names, fitted_entry(name, entry, cfg, n_rows)))
    held = {name for pattern in cfg.study.fixed for name in fnmatch.filter(entries, pattern)}
    for pattern in cfg.study.fixed:
        if not has_key(cfg, pattern) and not fnmatch.filter(entries, pattern):
            raise SearchSpaceError(
                f"study.fixed must name settings, or searched ones by a pattern, got {pattern!r}"
            )
    if n_targets == 1:
        held |= {name for pattern in LOSS_WEIGHTS for name in fnmatch.filter(entries, pattern)}
    parameters = [_parameter(name, entry, cfg) for name, entry in entries.items()]
    _check_values(parameters, cfg)
    space = SearchSpace(tuple(p for p in parameters if p.name not in held))
    for position, parameter in enumerate(space.parameters):
        if parameter.depends_on in [p.name for p in space.parameters[position:]]:
            raise SearchSpaceError(
                f"the condition of a parameter must stand above it in {cfg.study.search_space},"
                f" got {parameter.name} above {parameter.depends_on}: move it down"
            )
    if not space.parameters:
        raise SearchSpaceError(
            "at least one parameter must be searched, but study.fixed holds all of"
            f" {cfg.study.search_space}: train once with 02_train instead"
        )
    names = [parameter.name for parameter in space.parameters]
    if not any(p.depends_on in names or p.applies(cfg, {}) for p in space.parameters):
        raise SearchSpaceError(
            f"at least one parameter must be searched, but those of {cfg.study.search_space} stand"
            f" under conditions that do not hold: search {space.parameters[0].depends_on} as well,"
            " or set it"
        )
    return space


def suggest_hyperparameters(trial: optuna.Trial, base_cfg: Config, space: SearchSpace) -> Config:
    """Return a copy of the base configuration with the trial's suggested values.

    Conditional parameters are suggested only where their condition holds, so a trial records no
    value that had no effect.
    """
    values: dict[str, Any] = {}
    for parameter in space.parameters:
        if parameter.applies(base_cfg, values):
            values[parameter.name] = _suggest(trial, parameter.name, parameter.distribution)
    return updated(base_cfg, values)


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Return whether the distribution can produce ``value``."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if not _is_number(value):
        return False
    # Optuna's own check: private, but only it knows how Optuna rounds to steps
    return bool(distribution._contains(value))


def own_value(distribution: BaseDistribution, value: Any) -> Any:
    """Return ``value`` in the distribution's type, such as the integer 1 for a setting of 1.0."""
    return distribution.to_external_repr(distribution.to_internal_repr(value))


def describe(distribution: BaseDistribution) -> str:
    """Return the distribution in a few words."""
    if isinstance(distribution, CategoricalDistribution):
        return "{" + ", ".join(str(choice).lower() for choice in distribution.choices) + "}"
    if isinstance(distribution, IntDistribution | FloatDistribution):
        step = f" in steps of {distribution.step}" if distribution.step not in (None, 1) else ""
        scale = ", log scale" if distribution.log else ""
        return f"{distribution.low:g} to {distribution.high:g}{step}{scale}"
    return str(distribution)


def _suggest(trial: optuna.Trial, name: str, d: BaseDistribution) -> Any:
    if isinstance(d, IntDistribution):
        return trial.suggest_int(name, d.low, d.high, step=d.step, log=d.log)
    if isinstance(d, FloatDistribution):
        return trial.suggest_float(name, d.low, d.high, step=d.step, log=d.log)
    if isinstance(d, CategoricalDistribution):
        return trial.suggest_categorical(name, d.choices)
    raise TypeError(f"unknown distribution {d!r} of {name}")


def _read(path: str) -> dict[str, Any]:
    try:
        content = yaml.load(resolve(path).read_text(encoding="utf-8"), Loader=UniqueLoader)
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise SearchSpaceError(
            f"study.search_space must name a readable YAML file, got {path!r}: {reason}"
        ) from None
    if not isinstance(content, dict) or not content:
        raise SearchSpaceError(
            f"a search space must map settings to ranges, got {content!r} in {path}"
        )
    return {str(name): entry for name, entry in content.items()}


def _parameter(name: str, entry: Any, cfg: Config) -> Parameter:
    """Check one entry of the file and return the parameter it describes."""
    if not SEARCHABLE.fullmatch(name) or not has_key(cfg, name):
        raise SearchSpaceError(
            "a searched parameter must be a setting of model, training or augmentation, or"
            f" dataset.downsample_factor, got {name!r}: their names are in"
            " hpo_utils/base/settings.py"
        )
    if not isinstance(entry, dict) or str(entry.get("type")) not in DISTRIBUTIONS:
        raise SearchSpaceError(
            f"{name} must have a type of {', '.join(DISTRIBUTIONS)}, got {entry!r}"
        )
    arguments = {key: _number(v) for key, v in entry.items() if key not in ("type", "if")}
    choices = arguments.get("choices", [])
    if not isinstance(choices, list) or any(isinstance(choice, list | dict) for choice in choices):
        raise SearchSpaceError(
            f"the choices of {name} must be a list of plain values, got {choices!r}"
        )
    for key in {"low", "high", "step"} & arguments.keys() if entry["type"] == "int" else ():
        if isinstance(arguments[key], float) and not arguments[key].is_integer():
            raise SearchSpaceError(
                f"{key} of {name} must be a whole number, as its type is int, got {arguments[key]}:"
                " round it or let the type be float"
            )
    try:
        distribution = DISTRIBUTIONS[entry["type"]](**arguments)
    except (TypeError, ValueError) as error:
        raise SearchSpaceError(
            f"{name} must have a valid range, got {arguments}: {error}"
        ) from None
    condition = entry.get("if")
    parameter = Parameter(name, distribution, None if condition is None else str(condition))
    if (needed := parameter.depends_on) is not None and not (
        has_key(cfg, needed) and isinstance(select(cfg, needed), bool)
    ):
        raise SearchSpaceError(
            f"the condition of {name} must be a true/false setting, or one after 'not', got"
            f" {condition!r}"
        )
    return parameter


def _extremes(distribution: BaseDistribution) -> list[Any]:
    """Return the choices, or both ends of a range."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    return [getattr(distribution, "low"), getattr(distribution, "high")]  # noqa: B009


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> Any:
    """Convert numbers that YAML reads as text, such as 1e-5 (YAML expects 1.0e-5)."""
    if isinstance(value, list):
        return [_number(each) for each in value]
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+\.?\d*[eE][-+]?\d+", value):
        return float(value)
    return value


def _check_values(parameters: list[Parameter], cfg: Config) -> None:
    """Raise SearchSpaceError if the configuration would reject a value of a parameter.

    All lowest values are checked together, then all highest ones, and so on: a copy of the
    configuration for each value would take longer than the rest of opening a study.
    """
    extremes = {p.name: _extremes(p.distribution) for p in parameters}
    for position in range(max(map(len, extremes.values()))):
        values = {name: some[min(position, len(some) - 1)] for name, some in extremes.items()}
        try:
            updated(cfg, values)
        except ConfigError:
            _check_one_by_one(values, cfg)


def _check_one_by_one(values: dict[str, Any], cfg: Config) -> None:
    """Raise SearchSpaceError if one of the values is invalid, whatever the others are."""
    for name, value in values.items():
        try:
            updated(cfg, {name: value})
        except ConfigError as error:
            raise SearchSpaceError(f"a value of the search space must be valid: {error}") from None
