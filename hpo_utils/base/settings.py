"""All settings by section, each with its default, unit and range."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def _within(default: Any, low: float, high: float) -> Any:
    """Return a field whose value, unless null, must lie in [``low``, ``high``]."""
    return field(default=default, metadata={"low": low, "high": high})


def _one_of(default: str, *choices: str) -> Any:
    """Return a field whose value must be one of ``choices``."""
    return field(default=default, metadata={"choices": choices})


# what settings that came later amounted to before, for files and studies that do not name them
BEFORE: dict[str, Any] = {
    "model.linear_start": False, "model.use_views": False, "model.pretreatment": "none",
    "dataset.thinning": "pick", "augmentation.noise": 0.0, "augmentation.gain": 0.0,
    "augmentation.offset": 0.0, "augmentation.slope": 0.0, "augmentation.shift": 0.0,
    "augmentation.mixup": 0.0, "data_split.val_fold": None, "model.use_positions": False,
    "evaluation.race_folds": None, "model.depth": 2, "model.kernel_size": 3,
}  # fmt: skip


@dataclass
class DatasetConfig:
    """The source arrays, their names, and which channels and samples to use."""

    name: str = "demo"  # names the prepared data: letters, digits, '-', '_'
    # (N, L), (N, C, L) or (N, C, H, W): .npy, .npz, HDF5, NetCDF, MATLAB, TIFF stacks, .ts
    # or a table (CSV, Excel, ODS, Parquet) with a column for each wavelength; null: demo data
    x_train: str | None = None
    t_train: str | None = None  # the same kinds of files; (N, n_targets) or (N,)
    x_key: str | None = None  # name of the input array inside a file with several
    t_key: str | None = None  # name of the target array inside a file with several, or of a column
    groups: str | None = None  # ids (numbers or names), (N,): each group stays in one part
    groups_key: str | None = None  # name of the group array inside a file with several, or a column
    # the part of each sample, (N,): train, val or test, as a data sheet gives them; without val, it
    # is cut from train by data_split's ratios. Or the number of each sample's fold, beside
    # data_split.n_folds. null: data_split decides
    split: str | None = None
    split_key: str | None = None  # name of that array inside a file with several, or of a column
    # positive numbers, (N,): how much each sample counts in what is learnt and in what is chosen
    weights: str | None = None
    weights_key: str | None = None  # name of that array inside a file with several, or of a column
    channel_names: list[str] | None = None  # names of all channels in the file
    target_names: list[str] | None = None
    target_units: list[str] | None = None
    # standard deviation of one reference value of each target, in its unit, as repeated reference
    # measurements give it; null in the list: not known
    target_repeatability: list[float | None] | None = None
    # standard deviation of the noise of one value of each channel in the file, in its unit, as
    # blanks or repeated measurements show it
    input_noise: list[float] | None = None
    axis_names: list[str] | None = None  # names of H and W, or of L
    axis_ranges: list[list[float]] | None = None  # first and last value of each; null: 0, 1, 2, …
    exclude_channels: list[int] | None = None  # null: [1, 3] if there are 4 channels, else none
    # who measured what, how and when, for report and bundle: any of description, creator,
    # instrument, recorded, published, license, reference_method, url, citation, version
    card: dict[str, str] | None = None
    fractions: list[str] | None = None  # targets in [0, 1] that sum to one
    non_negative: list[str] | None = None  # targets that cannot be below zero
    # positive targets over decades: learnt, compared and given intervals by their logarithms
    logarithmic: list[str] | None = None
    accept_outliers: list[str] | None = None  # channels and targets whose far values are real
    # codes for what was not measured, such as -9999 or .nan: in inputs the channel's mean takes
    # their place, in targets they count as NaN
    missing_values: list[float] | None = None
    partly_measured: bool = False  # NaN in a target says that it was not measured in this sample
    limit: int | None = _within(None, 1, 1e9)  # use only this many samples, from the start
    downsample_factor: int = _within(1, 1, 1000)  # one row of H (or L) for so many
    # mean: each row is the mean of so many, which filters the signal; pick: the first of them
    thinning: str = _one_of("mean", "mean", "pick")


@dataclass
class SyntheticConfig:
    """Size of the simulated demo data."""

    n_samples: int = _within(640, 8, 1e6)
    n_pulses: int = _within(64, 4, 1e5)  # axis H
    n_depths: int = _within(128, 4, 1e5)  # axis W
    seed: int = _within(0, 0, 2**32 - 1)


@dataclass
class DataSplitConfig:
    """Shares of the samples in each part, which sum to one, and how samples are assigned."""

    train_ratio: float = _within(0.70, 0.0, 1.0)
    val_ratio: float = _within(0.15, 0.0, 1.0)
    test_ratio: float = _within(0.15, 0.0, 1.0)
    # auto: by group if dataset.groups is given, else random; time: in the order of the file
    method: str = _one_of("auto", "auto", "random", "group", "time")
    gap: int = _within(0, 0, 1e6)  # samples left out between two parts of a split by time
    seed: int = _within(42, 0, 2**32 - 1)
    n_folds: int | None = _within(None, 3, 1000)  # number of equal folds, instead of ratios
    # index of the test fold; the fold before it validates, all others (even later ones) train
    fold: int = _within(0, 0, 999)
    # which of evaluation.score_folds validates; null: each in its turn, in a training by hand the
    # given one, number 0
    val_fold: int | None = _within(None, 0, 99)


@dataclass
class ModelConfig:
    """Architecture of the convolutional network."""

    hidden: int = _within(64, 1, 4096)  # channels of the first stage
    dropout_rate: float = _within(0.2, 0.0, 0.95)  # before each layer of the head
    use_residual: bool = True  # false: the plain network, of ``depth`` and ``kernel_size``
    depth: int = _within(2, 1, 8)  # convolutions of the plain network, each with half the places
    kernel_size: int = _within(3, 1, 31)  # odd: places that each of them sees at once
    # of what the convolutions see: network/pretreatment.py
    pretreatment: str = _one_of(
        "none", "none", "snv", "msc", "emsc", "sg1", "sg2", "snv_sg2", "detrend", "log_spectrum"
    )
    linear_start: bool = True  # begin at ridge regression on views of the inputs
    use_views: bool = True  # a dense network on statistics, quantiles and spectra stands beside
    use_positions: bool = False  # also show the convolutions where along each axis a value lies
    use_statistics: bool = False  # also feed each channel's mean, spread and range to the head
    constrain_outputs: bool = True  # enforce dataset.fractions and dataset.non_negative


@dataclass
class TrainingConfig:
    """One training; ``weight_target_0``, ``weight_target_1``, … are added, one per target."""

    learning_rate: float = _within(1e-3, 1e-8, 10.0)
    batch_size: int = _within(8, 2, 1e6)  # samples; batch normalisation needs at least two
    weight_decay: float = _within(1e-5, 0.0, 10.0)
    epochs: int = _within(100, 1, 1e6)
    schedule: str = _one_of("wsd", "wsd", "constant")  # wsd: warm-up, stable, decay
    patience: int | None = _within(10, 1, 1e6)  # epochs without a better score before decay
    averaging_epochs: float = _within(0.5, 0.0, 1e3)  # window of the weights' average; 0: off
    use_weighted_loss: bool = False  # WeightedMSELoss with the weight_target_* instead of MSE
    seed: int = _within(42, 0, 2**32 - 1)
    device: str = "auto"  # auto (cuda if available, else cpu), cpu, cuda, cuda:1; mps is not tried
    precision: str = _one_of("auto", "auto", "float32", "bfloat16")  # auto: fastest on the device
    n_threads: int | None = _within(None, 1, 4096)  # null: chosen by the work per step


@dataclass
class AugmentationConfig:
    """Random changes of what the convolutions see of a training sample; 0: none.

    Sizes are in standard deviations of the inputs' channels.
    """

    noise: float = _within(0.0, 0.0, 10.0)  # standard deviation of white noise
    gain: float = _within(0.0, 0.0, 1.0)  # of the factor, about 1, of each sample and channel
    offset: float = _within(0.0, 0.0, 10.0)  # of the level of each sample and channel
    slope: float = _within(0.0, 0.0, 10.0)  # of the rise along half of L (or H)
    shift: float = _within(0.0, 0.0, 0.5)  # largest shift along L (or H), as a share of it
    mixup: float = _within(0.0, 0.0, 10.0)  # a of Beta(a, a), by which two samples are mixed


@dataclass
class StudyConfig:
    """The hyperparameter search: its size, workers, storage, sampler and pruner."""

    name: str = "hpo"  # letters, digits, '-', '_'
    n_trials: int = _within(20, 1, 1e6)  # finished trials the study should reach
    n_more: int | None = _within(None, 1, 1e6)  # instead: this many more than it has
    timeout: float | None = _within(None, 0.0, 1e9)  # seconds for the search alone
    # time from the start of the search to the settled winner, such as 30min or 2h: no more trials
    # are begun and the race is no wider than fits; null: as long as it takes
    budget: str | None = None
    executor: str = _one_of("in_process", "in_process", "ray")  # this machine, or a Ray cluster
    n_workers: int | None = _within(None, 1, 1024)  # null: chosen for machine or cluster
    cpus_per_worker: int = _within(1, 1, 1024)  # executor ray: cores, hence also threads
    gpus_per_worker: float | None = _within(None, 0.0, 64.0)  # may be a fraction; null: 1 if any
    ray_address: str | None = None  # null: start Ray here; auto, or host:port of a cluster
    storage: str | None = None  # database URL without password; null: SQLite in <outputs_root>
    search_space: str = "params/search_space.yaml"
    # YAML list of settings that did well on other data: tried after the base configuration, before
    # the sampler suggests any
    first_trials: str | None = None
    # factor of batch sizes and divisor of epochs in the search space; null: by the number of
    # samples, here as well, as those that are written are meant for 1500
    batch_scale: int | None = _within(1, 1, 1024)
    # divisor of the model.hidden and factor of the largest dataset.downsample_factor that are
    # searched; null: by the work of a training, here as well, and 1 unless it would take longer
    # than about five minutes
    width_scale: int | None = _within(1, 1, 64)
    # divisor of the epochs that are searched; null: by the work of a training and study.budget,
    # here as well, and 1 without a budget
    epoch_scale: int | None = _within(None, 1, 1024)
    fixed: list[str] = field(default_factory=list)  # searched parameters held at their value here
    delete_study: bool = False  # start over; OPTUNA_DELETE_STUDY=true in the environment also does
    try_base: bool = True  # the base configuration is the first trial and takes part in the race
    seed: int = _within(42, 0, 2**32 - 1)
    pruner: str = _one_of("median", "median", "none")
    # pruning starts after this many complete trials, TPE after this many finished ones
    n_startup_trials: int = _within(5, 0, 1e6)
    n_warmup_steps: int = _within(10, 0, 1e6)  # epochs of a trial before it can be pruned
    trial_figures: bool = True  # of every trial; false: of the best one, at the end
    max_consecutive_failures: int = _within(3, 1, 1e6)  # failed trials in a row that end a worker
    checkpoint_every_s: float = _within(60.0, 0.0, 1e6)  # time between checkpoints, at epoch ends
    # without a sign of life for this long, a trial on another machine counts as abandoned
    silent_after_s: float = _within(3600.0, 1.0, 1e9)


@dataclass
class EvaluationConfig:
    """How trials are scored, and how the winner is chosen and evaluated after the search."""

    score: str = _one_of("mse", "mse", "mae", "r2")  # of standardised targets; r2: 1 - mean R²
    target: str | None = None  # the only target that is scored; null: all
    # so many validation parts of the same size, the given one and others dealt from the training
    # part: a trial's score is their mean, and each seed of the race takes another; null: one, up to
    # five if it holds fewer than 50 samples and the split is not by time
    score_folds: int | None = _within(None, 1, 100)
    # so many parts validate for the seeds of the race, each in its turn, where one validates in the
    # search: the winner's networks and the baselines learn from all but their own, and intervals
    # and shares follow from samples that chose nothing else; null: as in the search, as by time
    race_folds: int | None = _within(None, 1, 100)
    n_best: int = _within(3, 1, 1000)  # best trials to retrain, besides the base configuration
    # new seeds for the winner, of which the others get fewer; 0: the best trial wins as it is
    n_seeds: int = _within(5, 0, 1000)
    confidence: float = _within(0.95, 0.5, 0.999)  # level of every interval
    # auto: the network, a baseline or their mixture, whichever the validation part prefers
    take_home: str = _one_of("auto", "auto", "network")
    ensemble: bool = True  # bundle all of the winner's seeds and average them; else the best seed
    strict_test: bool = False  # trials predict no test samples; the test part is opened once
    compare_random_split: bool = True  # with groups: also train on a split that ignores them
    # on the other folds of data_split.n_folds: train the winner, run a new search, or nothing
    other_folds: str = _one_of("train", "train", "search", "none")


@dataclass
class ReportConfig:
    """How the report and the notebooks' figures, tables and sentences are shown."""

    language: str = _one_of("en", "en", "ja")


@dataclass
class PathsConfig:
    """Where results are written."""

    outputs_root: str = "runs"


@dataclass
class Config:
    """All settings of one execution."""

    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    data_split: DataSplitConfig = field(default_factory=DataSplitConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    study: StudyConfig = field(default_factory=StudyConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
