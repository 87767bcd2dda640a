"""The configuration: merge the layers of settings and check the result.

``params/default.yaml`` ← the params file ← overrides ← the notebook's own parameters. The result is
an OmegaConf config backed by the dataclasses of ``settings``: annotate it as ``Config`` and read
its settings as attributes. Unknown keys, wrong types and values out of range are rejected here,
before any data is read.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, make_dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hpo_utils.base.errors import ConfigError
from hpo_utils.base.paths import MARKER, read_mapping, resolve
from hpo_utils.base.settings import BEFORE, TrainingConfig
from hpo_utils.base.settings import Config as Config
from hpo_utils.base.written import as_meant, is_text, null_or_text, read_written

# settings that a search may vary: they change neither the scored samples nor their scoring
SEARCHABLE = re.compile(r"(model|training|augmentation)\.\w+|dataset\.(downsample_factor|thinning)")
DURATION = re.compile(r"(\d+(?:\.\d*)?)\s*(s|min|h|d|)")
SECONDS = {"": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
TARGET_WEIGHT = re.compile(r"weight_target_(\d+)")
LONGEST_NAME = 100  # of a study, whose files get longer ones


def load_config(
    params_file: str | Path | None = None,
    overrides: Iterable[str] = (),
    **dotted: Any,
) -> Config:
    """Merge the layers into one valid configuration.

    Parameters
    ----------
    params_file
        YAML file, absolute or below the project root; None for ``params/default.yaml`` alone.
    overrides
        Dotlist items such as ``"training.epochs=30"``. A searched parameter named here keeps this
        value: its name is added to ``study.fixed``.
    **dotted
        Values by dotted key, such as ``**{"study.n_trials": 20}``; None values are skipped.

    Raises
    ------
    ConfigError
        If a file is missing or not YAML, a key is unknown, or a value has the wrong type or range.
    """
    overrides = list(overrides)
    layers = [_read_yaml(MARKER)]
    if params_file is not None:
        layers.append(_read_yaml(params_file))
    layers.append(_parse_dotlist(overrides))
    layers.append(_nested({key: value for key, value in dotted.items() if value is not None}))
    cfg = _merge(layers)
    named = {item.split("=")[0] for item in overrides}
    cfg.study.fixed = sorted({*cfg.study.fixed, *filter(SEARCHABLE.match, named)})
    return cfg


def config_from_dict(content: dict[str, Any]) -> Config:
    """Return the configuration from the dictionaries that ``as_dict`` returned."""
    return _merge([content])


def read_saved_settings(directory: Path) -> dict[str, Any]:
    """Return ``config.yaml`` of a training or a bundle unchecked; its version may be older.

    Raises
    ------
    ConfigError
        If the file cannot be read.
    """
    settings = read_mapping(directory / "config.yaml")
    if settings is None or not all(isinstance(section, dict) for section in settings.values()):
        raise ConfigError(
            f"the settings of a training must be readable, but {directory / 'config.yaml'} is"
            " missing or damaged: delete the folder of the training and run"
            " notebooks/03_optimize.ipynb again"
        )
    for key, value in BEFORE.items():
        section, name = key.split(".")
        if section in settings:
            settings[section].setdefault(name, value)
    return settings


def read_saved_config(directory: Path) -> Config:
    """Return the configuration saved in the directory of a training or a bundle."""
    return config_from_dict(read_saved_settings(directory))


def with_target_weights(cfg: Config, n_targets: int) -> Config:
    """Return a copy whose training section has ``weight_target_0`` … for ``n_targets`` targets.

    Existing weights keep their values; new weights are 1.0.

    Raises
    ------
    ConfigError
        If there is a weight for a target that does not exist, or if all weights are zero.
    """
    if has_key(cfg, f"training.weight_target_{n_targets}"):
        raise ConfigError(
            f"training.weight_target_* must name one of {n_targets} targets, 0 to {n_targets - 1},"
            f" but there is a weight for target {n_targets} or beyond"
        )
    complete = has_key(cfg, f"training.weight_target_{n_targets - 1}")
    weighted = copy.deepcopy(cfg) if complete else _merge([as_dict(cfg)], n_weights=n_targets)
    if not any(getattr(weighted.training, f"weight_target_{k}") > 0 for k in range(n_targets)):
        raise ConfigError("training.weight_target_* must not be 0 for all targets: raise one")
    return weighted


def updated(cfg: Config, values: Mapping[str, Any]) -> Config:
    """Return a valid copy of ``cfg`` with the values at the dotted keys replaced."""
    if not all(has_key(cfg, key) for key in values):  # a target weight, or unknown
        return _merge([as_dict(cfg), _nested(values)])
    changed = copy.deepcopy(cfg)  # ten times faster than a merge; runs in every trial
    try:
        for key, value in values.items():
            OmegaConf.update(cast(DictConfig, changed), key, value, merge=False)
    except OmegaConfBaseException as error:
        raise ConfigError(_in_one_sentence(error)) from None
    check_config(changed)
    return changed


def budget_seconds(cfg: Config) -> float | None:
    """Return ``study.budget`` in seconds, of which each fold with a search of its own gets a part.

    Raises
    ------
    ConfigError
        If it is no duration.
    """
    if cfg.study.budget is None:
        return None
    found = DURATION.fullmatch(cfg.study.budget.strip())
    seconds = float(found[1]) * SECONDS[found[2]] if found else 0.0
    if seconds <= 0:
        raise ConfigError(
            "study.budget must be a duration such as 90s, 30min, 2h or 1d, got"
            f" {cfg.study.budget!r}"
        )
    searches = cfg.data_split.n_folds if cfg.evaluation.other_folds == "search" else None
    return seconds / (searches or 1)


def has_key(cfg: Config, key: str) -> bool:
    """Return whether the dotted ``key`` is a setting of ``cfg``."""
    section, _, name = key.rpartition(".")
    node = OmegaConf.select(cast(DictConfig, cfg), section) if section else None
    return isinstance(node, DictConfig) and name in node


def select(cfg: Config, key: str) -> Any:
    """Return the value at the dotted ``key``."""
    return OmegaConf.select(cast(DictConfig, cfg), key)


def as_dict(cfg: Config) -> dict[str, Any]:
    """Return the whole configuration as plain dictionaries, to be written to files."""
    return cast(dict[str, Any], OmegaConf.to_container(cast(DictConfig, cfg)))


def check_config(cfg: Config) -> None:
    """Raise ConfigError unless all values are in range and consistent with each other."""
    _check_section(cfg, Config, "")
    split = cfg.data_split
    total = split.train_ratio + split.val_ratio + split.test_ratio
    if abs(total - 1.0) > 1e-6:
        raise ConfigError(
            "data_split.train_ratio + val_ratio + test_ratio must be 1, got"
            f" {split.train_ratio} + {split.val_ratio} + {split.test_ratio} = {total:g}:"
            " change one of the three"
        )
    if split.fold >= (split.n_folds or 1):
        raise ConfigError(
            "data_split.fold must be one of data_split.n_folds, counted from 0, got"
            f" {split.fold} of {split.n_folds}: change one of the two"
        )
    if (cfg.dataset.x_train is None) != (cfg.dataset.t_train is None):
        given, missing = ("x_train", "t_train") if cfg.dataset.x_train else ("t_train", "x_train")
        raise ConfigError(
            f"dataset.x_train and dataset.t_train must be given together, got only {given}:"
            f" add dataset.{missing}"
        )
    try:
        address = urlsplit(cfg.study.storage or "")
    except ValueError as error:
        raise ConfigError(
            f"study.storage must be the URL of a database, got {cfg.study.storage!r}: {error}"
        ) from None
    if address.password is not None or "password" in parse_qs(address.query):
        # every config.yaml would contain the password
        raise ConfigError("study.storage must hold no password: set PGPASSWORD or write ~/.pgpass")
    budget_seconds(cfg)
    if cfg.model.kernel_size % 2 == 0:
        raise ConfigError(f"model.kernel_size must be odd, got {cfg.model.kernel_size}")
    for name, value in as_dict(cfg)["training"].items():
        if TARGET_WEIGHT.fullmatch(name) and not 0.0 <= value < math.inf:
            raise ConfigError(f"training.{name} must be at least 0 and finite, got {value}")
    for key in ("dataset.name", "study.name"):
        if not re.fullmatch(rf"[\w-]{{1,{LONGEST_NAME}}}", name := select(cfg, key)):
            raise ConfigError(
                f"{key} must consist of letters, digits, '-' and '_', {LONGEST_NAME} at most, got"
                f" {name!r}"
            )


def _check_section(section: Any, schema: type, prefix: str) -> None:
    for item in fields(schema):
        key, value = prefix + item.name, getattr(section, item.name)
        if prefix == "" and is_dataclass(item.default_factory):
            _check_section(value, cast(type, item.default_factory), f"{key}.")
        low, high = item.metadata.get("low"), item.metadata.get("high")
        if low is not None and value is not None and not low <= value <= high:
            raise ConfigError(f"{key} must lie between {low:g} and {high:g}, got {value}")
        choices = item.metadata.get("choices")
        if choices and value not in choices:
            raise ConfigError(f"{key} must be one of {', '.join(choices)}, got {value!r}")


def _merge(layers: list[dict[str, Any]], n_weights: int = 0) -> Config:
    """Merge the layers onto the schema and check the result."""
    layers = [as_meant(layer, Config) for layer in layers]
    _refuse_resolvers(layers)
    for name, value in ((name, value) for layer in layers for name, value in layer.items()):
        if not isinstance(value, dict):
            raise ConfigError(
                f"the section {name} must hold settings by name, got {value!r}: settings stand in"
                " sections, as training.epochs does"
            )
    named = [
        int(match[1])
        for layer in layers
        if isinstance(section := layer.get("training"), dict)
        for key in section
        if (match := TARGET_WEIGHT.fullmatch(str(key)))
    ]
    try:
        cfg = cast(Config, OmegaConf.merge(_schema(max([n_weights - 1, *named]) + 1), *layers))
        OmegaConf.resolve(cast(DictConfig, cfg))
    except OmegaConfBaseException as error:
        raise ConfigError(_in_one_sentence(error)) from None
    check_config(cfg)
    return cfg


@cache  # half the time of a merge, which copies it
def _schema(n_weights: int) -> DictConfig:
    """Return the schema, with weights of so many targets: their number is known from the data."""
    schema = OmegaConf.structured(Config)
    weights = [(f"weight_target_{i}", float, 1.0) for i in range(n_weights)]
    schema.training = make_dataclass("TrainingConfig", weights, bases=(TrainingConfig,))()
    return cast(DictConfig, schema)


def _refuse_resolvers(content: Any) -> None:
    """Raise ConfigError if a value calls an OmegaConf resolver, such as ``${oc.env:HOME}``.

    A settings file may refer to other settings, but must not read anything else on the machine.
    """
    if isinstance(content, Mapping | list | tuple):
        for item in content.values() if isinstance(content, Mapping) else content:
            _refuse_resolvers(item)
    elif isinstance(content, str) and re.search(r"\$\{[^{}]*:", content):
        raise ConfigError(
            f"an interpolation must name another setting, such as ${{model.hidden}}, got {content}"
        )


def _in_one_sentence(error: OmegaConfBaseException) -> str:
    """Return OmegaConf's error as one sentence, with the full key and the nearest known key."""
    what = str(error).splitlines()[0].rstrip(".")
    key = f"{error.full_key}: " if error.full_key else ""
    return f"the configuration must follow its schema, but {key}{what}"


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert values by dotted key into nested sections."""
    layer: dict[str, Any] = {}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        layer.setdefault(section, {})[name] = value
    return layer


def _read_yaml(path: str | Path) -> dict[str, Any]:
    file = resolve(path)
    try:
        content = read_written(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"the params file must exist, got {path!s}, looked for at {file}: check the name"
        ) from None
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        where = " ".join(str(error).split())
        raise ConfigError(f"the params file must be readable YAML, got {path!s}: {where}") from None
    if not isinstance(content, dict | None):
        raise ConfigError(
            f"the params file must hold keys and values, got {path!s}: {as_meant(content, Any)!r}"
        )
    return content or {}


def _parse_dotlist(items: list[str]) -> dict[str, Any]:
    """Return nested sections from items such as ``training.epochs=30``."""
    layer: dict[str, Any] = {}
    for item in items:
        if not re.fullmatch(r"[A-Za-z_][\w.]*=.*", item, re.DOTALL):
            raise ConfigError(
                "an override must have the form section.key=value without spaces around '=',"
                f" got {item!r}: for example training.epochs=30"
            )
        key, _, value = item.partition("=")
        *sections, name = key.split(".")
        section = layer
        for each in sections:
            inner = section.get(each)
            section[each] = section = inner if isinstance(inner, dict) else {}
        section[name] = _parse_value(key, value)
    return layer


def _parse_value(key: str, value: str) -> Any:
    """Return an override's value: as written for a text setting, otherwise parsed as YAML."""
    if is_text(Config, key):
        return null_or_text(value)
    try:
        return read_written(_quoted_as_it_stands(value))
    except (RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"overrides must be readable, got {key}={value}: {reason}") from None


def _quoted_as_it_stands(value: str) -> str:
    """Replace double quotes by single quotes, in which YAML keeps backslashes."""
    if "'" in value:
        return value
    return re.sub(r'"([^"]*)"', r"'\1'", value)
