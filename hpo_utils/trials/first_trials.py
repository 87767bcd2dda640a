"""The trials that begin a search, before the sampler suggests any: what did well on other data."""

from __future__ import annotations

from typing import Any

import yaml

from hpo_utils.base.config import SEARCHABLE, TARGET_WEIGHT, Config, has_key, updated
from hpo_utils.base.errors import ConfigError, SearchSpaceError
from hpo_utils.base.paths import resolve
from hpo_utils.base.written import UniqueLoader
from hpo_utils.trials.sample_scale import fitted_values
from hpo_utils.trials.search_space import SearchSpace


def first_trials(cfg: Config, space: SearchSpace) -> list[dict[str, Any]]:
    """Return the parameters of the first trials: the base configuration, then the given ones.

    Each entry of the file that ``study.first_trials`` names says what differs from the base.
    Settings that are not searched stay at their values in ``cfg``, and batches, epochs and widths
    are fitted to the data as those of the base are. A trial outside the search space is left out.

    Raises
    ------
    SearchSpaceError
        If the base configuration is to be tried and lies outside the search space.
    ConfigError
        If the file is missing, or holds anything but settings.
    """
    found = [space.values_in(cfg)] if cfg.study.try_base else []
    if cfg.study.first_trials is None:
        return found
    for entry in _read(cfg.study.first_trials, cfg):
        searched = {name: value for name, value in entry.items() if name in space.distributions}
        try:
            params = space.values_in(updated(cfg, fitted_values(searched, cfg)))
        except (SearchSpaceError, ConfigError):
            continue  # of a space that somebody made narrower
        if params not in found:
            found.append(params)
    return found


def _read(path: str, cfg: Config) -> list[dict[str, Any]]:
    """Return the entries of the file, each a mapping of dotted keys to values."""
    file = resolve(path)
    try:
        entries = yaml.load(file.read_text(encoding="utf-8"), Loader=UniqueLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"study.first_trials must name a YAML file, got {file}: {error}"
        ) from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(
            f"study.first_trials must hold a list of settings, each by its dotted name, got {file}"
        )
    for name in (str(name) for entry in entries for name in entry):
        known = has_key(cfg, name) or TARGET_WEIGHT.fullmatch(name.rpartition(".")[2])
        if not (SEARCHABLE.fullmatch(name) and known):
            raise ConfigError(
                "study.first_trials must name settings that can be searched, got"
                f" {name!r} in {file}: their names are in hpo_utils/base/settings.py"
            )
    return entries
