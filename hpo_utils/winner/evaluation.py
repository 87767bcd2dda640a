"""Types of a settled winner's results: the content of ``winners/<study>/evaluation.json``."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from hpo_utils.scores.intervals import Interval
from hpo_utils.scores.merit import Merit
from hpo_utils.scores.skill import Skill, TargetMetrics
from hpo_utils.scores.spread import Coverage


class Standing(TypedDict):
    """Result of one contender in the race."""

    name: str
    trial: int | None  # None: the base configuration, which was not in the study
    is_base: bool
    params: dict[str, Any]
    study_score: float | None
    # on the fresh seeds, of one with fewer than the winner as they would be on all of its folds;
    # None where the training diverged
    scores: list[float | None]
    mean: float | None  # of the scores; None if any score is None
    interval: Interval
    p_value: float | None  # paired t test against the winner over the seeds
    ratio_interval: Interval  # of its score / the winner's, over validation samples
    beaten: bool  # dropped during the race


class Race(TypedDict):
    """The contenders, winner first, and how optimistic the study's best score was."""

    contenders: list[Standing]
    best_trial: int | None  # the study's best trial
    gap: float | None  # best trial: mean on fresh seeds minus score in the study
    gap_by_chance: float | None  # half width of the prediction interval for one training


class Skills(TypedDict):
    """How much better models predict the test part than others."""

    best_baseline: list[str]  # for each target, chosen on the validation part
    skill: list[Skill]  # of the network over that baseline, for each target
    skill_home: NotRequired[list[Skill]]  # of what goes home, over the best baseline
    skill_over_mean: dict[str, list[Skill]]  # by model, for each target


class PromisedIntervals(TypedDict):
    """Intervals of what goes home: calibrated on the validation part, tried on the test part."""

    # independent units of the validation part, of the target that was measured in the fewest
    n_val_units: NotRequired[int]
    intervals: dict[str, Any] | None  # as in ``spread.Calibration``
    spread_confidence: float  # level to which the intervals are calibrated
    coverage: list[Coverage] | None  # for each target
    # share of samples of which all targets lie within the joint intervals
    joint_coverage: NotRequired[float | None]


class Examination(Skills, PromisedIntervals):
    """Results of the winner and the baselines on the held-out parts."""

    scores: dict[str, float | None]  # on val and test, by the study's score function
    n_test: int
    n_test_groups: int | None
    n_test_units: int  # independent units of the test part
    validation: dict[str, TargetMetrics]  # the network's metrics, by target
    # by model and target; ``TAKE_HOME`` is there if what goes home is a mixture
    test: dict[str, dict[str, TargetMetrics]]
    shares: NotRequired[dict[str, list[float]]]  # of each model in what goes home, by target
    merit: NotRequired[dict[str, Merit]]  # of what goes home, by target
    single_r2: list[list[float | None]]  # of each member, for each target
    violations: dict[str, dict[str, float]]  # by model and rule, on the validation part
    constant: NotRequired[dict[str, list[str]]]  # targets that do not vary, by part
    without_onnx: NotRequired[str | None]  # why ``model.onnx`` is missing; None if it exists


class WithoutPhysics(TypedDict):
    """The winner's configuration with and without its constraints, on the same seeds."""

    constrained_scores: list[float]
    scores: list[float]
    violations: dict[str, float]  # by rule, without constraints


class FoldResults(TypedDict):
    """Joint results on the test parts of several folds."""

    members: list[list[str]]  # directories of the trainings, by fold
    leaking: list[int]  # folds in which the audit found a leak
    n_samples: int
    n_groups: int | None
    n_units: int  # independent units
    fold_r2: list[list[float | None]]  # of the network, by fold and target
    fold_skill: list[list[float | None]]  # over the fold's best baseline, by fold and target
    test: dict[str, dict[str, TargetMetrics]]  # all folds pooled, by model and target
    skill: list[Skill]  # over the folds' best baselines, for each target
    skill_over_mean: list[Skill]  # over the folds' training means, for each target
    skill_home: NotRequired[list[Skill]]  # of what goes home of each fold, over its best baselines
    confidence: float


class AllFolds(FoldResults):
    """Joint results of the winner, or of the search, on the test parts of the folds.

    Each sample is predicted by trainings that never saw it.
    """

    searched: bool  # on each fold; otherwise the winner's configuration was trained there
    folds: list[int]  # tested folds; without own searches, not the one that chose the winner
    own: int  # the study's own fold
    n_folds: int


class Later(TypedDict, total=False):
    """What files of version 0.2 and earlier do not have."""

    take_home: str  # ``evaluation.take_home``; before it was always the network
    described: dict[str, Any]  # what is said of the data, such as names of channels
    member_folds: list[int]  # the part that validated for each member, see ``judged_on``
    validated_in_turn: bool  # whether each of the winner's trainings left out other samples


class Settlement(Race, Later):
    """Results of the race, before the test part is used."""

    version: int
    study_name: str
    dataset_id: str
    target_names: list[str]
    target_units: list[str]
    settled: str  # time
    n_trials: int
    score_name: str
    confidence: float
    raced: bool
    members: list[str]  # directories of the winner's trainings
    without_physics: WithoutPhysics | None
    random_split: dict[str, Any]  # as_split and at_random, or why_not


class Evaluation(Settlement):
    """All results of settling the winner."""

    examination: Examination
    all_folds: AllFolds | str  # or why there are no such results
