"""The settings: every one with its default, unit and range, section by section."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


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
    axis_ranges: list[list[float]] | None = None  # first and last value of each; null: counted
    exclude_channels: list[int] | None = None  # null: [1, 3] if there are 4 channels, else none
    fractions: list[str] | None = None  # targets in [0, 1] that sum to one
    non_negative: list[str] | None = None  # targets that cannot be below zero
    accept_outliers: list[str] | None = None  # channels and targets whose far values are measured
    limit: int | None = _within(None, 1, 1e9)  # use the first so many samples
    downsample_factor: int = _within(1, 1, 1000)  # keep every n-th row of H (or L), unfiltered


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
    n_folds: int | None = _within(None, 3, 1000)  # instead of the ratios: parts of one size
    # that tests; the one before it validates, the others train, by time also those after it
    fold: int = _within(0, 0, 999)


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
    patience: int | None = _within(10, 1, 1e6)  # epochs without a better score: the rate decays
    averaging_epochs: float = _within(0.5, 0.0, 1e3)  # of the weights' moving average; 0: off
    use_weighted_loss: bool = False  # WeightedMSELoss with the weight_target_* instead of MSE
    seed: int = _within(42, 0, 2**32 - 1)
    device: str = "auto"  # auto (cuda if there, else cpu), cpu, cuda, cuda:1; mps is not tried
    precision: str = _one_of("auto", "auto", "float32", "bfloat16")  # auto: as the device is fast
    n_threads: int | None = _within(None, 1, 4096)  # null: as many as a step is worth


@dataclass
class StudyConfig:
    """The search."""

    name: str = "hpo"  # letters, digits, '-', '_'
    n_trials: int = _within(20, 1, 1e6)  # finished trials that the study should have
    n_more: int | None = _within(None, 1, 1e6)  # instead: so many on top of those it has
    timeout: float | None = _within(None, 0.0, 1e9)  # seconds that the search alone may take
    executor: str = _one_of("in_process", "in_process", "ray")  # this machine, or a Ray cluster
    n_workers: int | None = _within(None, 1, 1024)  # null: as suits machine or cluster
    cpus_per_worker: int = _within(1, 1, 1024)  # cores, and so threads; of the executor ray
    gpus_per_worker: float | None = _within(None, 0.0, 64.0)  # shares too; null: 1 if there are any
    ray_address: str | None = None  # null: start Ray here; auto, or host:port of a cluster
    storage: str | None = None  # database URL without password; null: SQLite in <outputs_root>
    search_space: str = "params/search_space.yaml"
    fixed: list[str] = field(default_factory=list)  # searched parameters held at their value here
    delete_study: bool = False  # start over; so does the environment's OPTUNA_DELETE_STUDY=true
    try_base: bool = True  # the base configuration is the first trial, and races
    seed: int = _within(42, 0, 2**32 - 1)
    pruner: str = _one_of("median", "median", "none")
    n_startup_trials: int = _within(5, 0, 1e6)  # complete ones, then pruning begins; finished: TPE
    n_warmup_steps: int = _within(10, 0, 1e6)  # epochs of a trial before it can be pruned
    max_consecutive_failures: int = _within(3, 1, 1e6)  # in a row, in one worker: then it ends
    checkpoint_every_s: float = _within(60.0, 0.0, 1e6)  # between checkpoints, at epochs' ends
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
    # with data_split.n_folds, on the other folds: train the winner, search anew, or nothing
    other_folds: str = _one_of("train", "train", "search", "none")


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
