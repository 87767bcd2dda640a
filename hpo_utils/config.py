"""The configuration: every setting with its unit and range, and how the layers are merged.

``params/default.yaml`` ← the params file ← overrides ← the notebook's own parameters. The result is
an OmegaConf config backed by the dataclasses below: annotate it as ``Config`` and read it by
attribute. Unknown keys, wrong types and values out of range stop here, before any data is read.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hpo_utils.errors import ConfigError
from hpo_utils.paths import MARKER, resolve

# what a search may vary without changing which samples are scored, or how
SEARCHABLE = re.compile(r"(model|training)\.\w+|dataset\.downsample_factor")
TARGET_WEIGHT = re.compile(r"weight_target_(\d+)")


def _within(default: Any, low: float, high: float) -> Any:
    """Dataclass field whose value, unless null, must lie in ``low`` to ``high``, both included."""
    return field(default=default, metadata={"low": low, "high": high})


def _one_of(default: str, *choices: str) -> Any:
    """Dataclass field whose value must be one of ``choices``."""
    return field(default=default, metadata={"choices": choices})


@dataclass
class DatasetConfig:
    """Which arrays, and which part of them."""

    name: str = "demo"  # names the prepared data: letters, digits, '-', '_'
    x_train: str | None = None  # .npy or .npz, (N, L), (N, C, L) or (N, C, H, W); null: demo data
    t_train: str | None = None  # .npy or .npz, (N, n_targets) or (N,)
    x_key: str | None = None  # name of the array inside an .npz with several
    t_key: str | None = None  # likewise
    groups: str | None = None  # numbers or names, (N,): samples of one group stay in one part
    groups_key: str | None = None  # name of the array inside an .npz with several
    channel_names: list[str] | None = None  # of all channels of the file
    target_names: list[str] | None = None
    target_units: list[str] | None = None
    axis_names: list[str] | None = None  # of H and W, or of L
    exclude_channels: list[int] | None = None  # null: [1, 3] when there are 4 channels, else none
    fractions: list[str] | None = None  # targets in [0, 1] that sum to one
    non_negative: list[str] | None = None  # targets that cannot be below zero
    limit: int | None = _within(None, 1, 1e9)  # use the first so many samples
    downsample_factor: int = _within(1, 1, 1000)  # keep every n-th row of H (or L)


@dataclass
class SyntheticConfig:
    """Size of the simulated demo data."""

    n_samples: int = _within(640, 8, 1e6)
    n_pulses: int = _within(64, 4, 1e5)  # axis H
    n_depths: int = _within(128, 4, 1e5)  # axis W
    seed: int = _within(0, 0, 2**32 - 1)


@dataclass
class DataSplitConfig:
    """Shares of the samples in each part, which sum to one, and how the samples are dealt out."""

    train_ratio: float = _within(0.70, 0.0, 1.0)
    val_ratio: float = _within(0.15, 0.0, 1.0)
    test_ratio: float = _within(0.15, 0.0, 1.0)
    # auto: by group where dataset.groups is given, else random; time: in the order of the file
    method: str = _one_of("auto", "auto", "random", "group", "time")
    gap: int = _within(0, 0, 1e6)  # samples left out between two parts of a split by time
    seed: int = _within(42, 0, 2**32 - 1)


@dataclass
class ModelConfig:
    """The convolutional network."""

    hidden: int = _within(64, 1, 4096)  # channels of the first stage
    dropout_rate: float = _within(0.2, 0.0, 0.95)  # before the head
    use_residual: bool = True
    use_statistics: bool = False  # show the head each channel's mean, spread and range as well
    constrain_outputs: bool = True  # keep to dataset.fractions and dataset.non_negative


@dataclass
class TrainingConfig:
    """One training. ``weight_target_0``, ``weight_target_1``, … are added, one for each target."""

    learning_rate: float = _within(1e-3, 1e-8, 10.0)
    batch_size: int = _within(8, 2, 1e6)  # samples; batch normalisation needs two
    weight_decay: float = _within(1e-5, 0.0, 10.0)
    epochs: int = _within(100, 1, 1e6)
    schedule: str = _one_of("wsd", "wsd", "constant")  # wsd: warm-up, stable, decay
    patience: int | None = _within(10, 1, 1e6)  # epochs without a better score: then it decays
    averaging_epochs: float = _within(
        0.5, 0.0, 1e3
    )  # window of the weights' moving average; 0: off
    use_weighted_loss: bool = False  # WeightedMSELoss with the weight_target_* instead of MSE
    seed: int = _within(42, 0, 2**32 - 1)
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    precision: str = _one_of("auto", "auto", "float32", "bfloat16")  # auto: as the device is fast
    n_threads: int | None = _within(None, 1, 4096)  # null: the machine's cores over the workers


@dataclass
class StudyConfig:
    """The search."""

    name: str = "hpo"  # letters, digits, '-', '_'
    n_trials: int = _within(20, 1, 1e6)  # finished trials that the study should have
    n_more: int | None = _within(None, 1, 1e6)  # instead: so many on top of those it has
    timeout: float | None = _within(None, 0.0, 1e9)  # seconds after which the search stops
    n_workers: int | None = _within(None, 1, 1024)  # processes on this machine; null: as suits it
    storage: str | None = None  # database URL without password; null: SQLite in <outputs_root>
    search_space: str = "params/search_space.yaml"
    fixed: list[str] = field(default_factory=list)  # searched parameters held at their value here
    delete_study: bool = False  # start over; so does the environment's OPTUNA_DELETE_STUDY=true
    try_base: bool = True  # the base configuration is the first trial
    seed: int = _within(42, 0, 2**32 - 1)
    pruner: str = _one_of("median", "median", "none")
    n_startup_trials: int = _within(5, 0, 1e6)  # finished trials before pruning and TPE begin
    n_warmup_steps: int = _within(10, 0, 1e6)  # epochs of a trial before it can be pruned
    max_consecutive_failures: int = _within(3, 1, 1e6)  # in a row, in one worker: then it ends
    checkpoint_every_s: float = _within(60.0, 0.0, 1e6)  # a killed trial loses so much at most
    silent_after_s: float = _within(3600.0, 1.0, 1e9)  # then another machine's trial is given up


@dataclass
class EvaluationConfig:
    """How trials are scored, and how the winner is settled when the search has ended."""

    score: str = _one_of("mse", "mse", "mae", "r2")  # of standardised targets; r2: 1 - mean R²
    target: str | None = None  # the only target that is scored; null: all
    n_best: int = _within(5, 1, 1000)  # trials that are trained again, beside the base
    n_seeds: int = _within(5, 0, 1000)  # fresh seeds for each; 0: the best trial wins as it is
    confidence: float = _within(0.95, 0.5, 0.999)  # of every interval
    ensemble: bool = True  # take home the mean of the winner's seeds; else the best of them
    strict_test: bool = False  # trials leave the validation part; the test part is opened once
    compare_random_split: bool = True  # with groups: what a split that ignores them would promise


@dataclass
class ReportConfig:
    """How the notebooks' figures, tables and sentences, and the report, are shown."""

    language: str = _one_of("en", "en", "ja")


@dataclass
class PathsConfig:
    """Where results go."""

    outputs_root: str = "runs"


@dataclass
class Config:
    """Everything one execution needs to know."""

    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    data_split: DataSplitConfig = field(default_factory=DataSplitConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    study: StudyConfig = field(default_factory=StudyConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)


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
        Dotlist items such as ``"training.epochs=30"``. A searched parameter named here is held at
        this value: it joins ``study.fixed``.
    **dotted
        Values by dotted key, ``**{"study.n_trials": 20}``; None values are skipped.

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
    """Return the configuration that ``as_dict`` turned into dictionaries."""
    return _merge([content])


def with_target_weights(cfg: Config, n_targets: int) -> Config:
    """Return a copy whose training section has ``weight_target_0`` … for ``n_targets`` targets.

    A weight that is already there keeps its value; a new one is 1.0.

    Raises
    ------
    ConfigError
        If there is a weight for a target that does not exist, or all weights are zero.
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
    if not all(has_key(cfg, key) for key in values):  # the weight of a target, or unknown
        return _merge([as_dict(cfg), _nested(values)])
    changed = copy.deepcopy(cfg)  # a tenth of the time of a merge, and every trial needs one
    try:
        for key, value in values.items():
            OmegaConf.update(cast(DictConfig, changed), key, value, merge=False)
    except OmegaConfBaseException as error:
        raise ConfigError(_in_one_sentence(error)) from None
    check_config(changed)
    return changed


def has_key(cfg: Config, key: str) -> bool:
    """Return whether the dotted ``key`` names a setting of ``cfg``."""
    section, _, name = key.rpartition(".")
    node = OmegaConf.select(cast(DictConfig, cfg), section) if section else None
    return isinstance(node, DictConfig) and name in node


def select(cfg: Config, key: str) -> Any:
    """Return the value at the dotted ``key``."""
    return OmegaConf.select(cast(DictConfig, cfg), key)


def as_dict(cfg: Config) -> dict[str, Any]:
    """Return the whole configuration as plain dictionaries, for files."""
    return cast(dict[str, Any], OmegaConf.to_container(cast(DictConfig, cfg)))


def check_config(cfg: Config) -> None:
    """Raise ConfigError unless every value lies in its range and the values agree."""
    _check_section(cfg, Config, "")
    split = cfg.data_split
    total = split.train_ratio + split.val_ratio + split.test_ratio
    if abs(total - 1.0) > 1e-6:
        raise ConfigError(
            "data_split.train_ratio + val_ratio + test_ratio must be 1, got"
            f" {split.train_ratio} + {split.val_ratio} + {split.test_ratio} = {total:g}:"
            " change one of the three"
        )
    if (cfg.dataset.x_train is None) != (cfg.dataset.t_train is None):
        given, missing = ("x_train", "t_train") if cfg.dataset.x_train else ("t_train", "x_train")
        raise ConfigError(
            f"dataset.x_train and dataset.t_train must be given together, got only {given}:"
            f" add dataset.{missing}"
        )
    address = urlsplit(cfg.study.storage or "")
    if address.password is not None or "password" in parse_qs(address.query):
        # every config.yaml would repeat it
        raise ConfigError("study.storage must hold no password: set PGPASSWORD or write ~/.pgpass")
    for name, value in as_dict(cfg)["training"].items():
        if TARGET_WEIGHT.fullmatch(name) and not value >= 0.0:
            raise ConfigError(f"training.{name} must be at least 0, got {value}")
    for key in ("dataset.name", "study.name"):
        if not re.fullmatch(r"[\w-]+", name := select(cfg, key)):
            raise ConfigError(f"{key} must consist of letters, digits, '-' and '_', got {name!r}")


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
    _refuse_resolvers(layers)
    for name, value in ((name, value) for layer in layers for name, value in layer.items()):
        if not isinstance(value, dict):
            raise ConfigError(f"the section {name} must hold settings by name, got {value!r}")
    named = [
        int(match[1])
        for layer in layers
        if isinstance(section := layer.get("training"), dict)
        for key in section
        if (match := TARGET_WEIGHT.fullmatch(str(key)))
    ]
    schema = OmegaConf.structured(Config)
    # how many targets there are is known only with the data, so the schema grows with them
    weights = [(f"weight_target_{i}", float, 1.0) for i in range(max([n_weights - 1, *named]) + 1)]
    schema.training = make_dataclass("TrainingConfig", weights, bases=(TrainingConfig,))()
    try:
        cfg = cast(Config, OmegaConf.merge(schema, *layers))
        OmegaConf.resolve(cast(DictConfig, cfg))
    except OmegaConfBaseException as error:
        raise ConfigError(_in_one_sentence(error)) from None
    check_config(cfg)
    return cfg


def _refuse_resolvers(content: Any) -> None:
    """Raise ConfigError if a value calls one of OmegaConf's functions, such as ``${oc.env:HOME}``.

    A file of settings may name other settings, but not read what else is on the machine.
    """
    if isinstance(content, Mapping | list | tuple):
        for item in content.values() if isinstance(content, Mapping) else content:
            _refuse_resolvers(item)
    elif isinstance(content, str) and re.search(r"\$\{[^{}]*:", content):
        raise ConfigError(
            f"an interpolation must name another setting, such as ${{model.hidden}}, got {content}"
        )


def _in_one_sentence(error: OmegaConfBaseException) -> str:
    """Say what OmegaConf found wrong, with the full key in front and the nearest known key."""
    what = str(error).splitlines()[0].rstrip(".")
    key = f"{error.full_key}: " if error.full_key else ""
    return f"the configuration must follow its schema, but {key}{what}"


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn values by dotted key into nested sections."""
    layer: dict[str, Any] = {}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        layer.setdefault(section, {})[name] = value
    return layer


def _read_yaml(path: str | Path) -> dict[str, Any]:
    file = resolve(path)
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"the params file must exist, got {path!s}, looked for at {file}: check the name"
        ) from None
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        where = " ".join(str(error).split())
        raise ConfigError(f"the params file must be readable YAML, got {path!s}: {where}") from None
    if not isinstance(content, dict | None):
        raise ConfigError(f"the params file must hold keys and values, got {path!s}: {content!r}")
    return content or {}


def _parse_dotlist(items: list[str]) -> dict[str, Any]:
    for item in items:
        if not re.fullmatch(r"[A-Za-z_][\w.]*=.*", item, re.DOTALL):
            raise ConfigError(
                "an override must have the form section.key=value without spaces around '=',"
                f" got {item!r}: for example training.epochs=30"
            )
    try:
        return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.from_dotlist(items)))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"overrides must be readable, got {' '.join(items)}: {reason}") from None
