"""What is known of a settled winner: the content of ``winners/<study>/evaluation.json``."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from hpo_utils.scores.intervals import Interval
from hpo_utils.scores.skill import Skill, TargetMetrics
from hpo_utils.scores.spread import Coverage


class Standing(TypedDict):
    """How a contender ended the race."""

    name: str
    trial: int | None  # None: the base configuration, which was not in the study
    is_base: bool
    params: dict[str, Any]
    study_score: float | None
    scores: list[float | None]  # on the fresh seeds; None where it diverged
    mean: float | None  # of the scores, None if one is
    interval: Interval
    p_value: float | None  # of its scores being the winner's, by seeds
    ratio_interval: Interval  # of its score over the winner's, by samples of the validation part
    beaten: bool  # given up on the way


class Race(TypedDict):
    """The contenders, the winner first, and how lucky the study's best was."""

    contenders: list[Standing]
    best_trial: int | None  # of the study
    gap: float | None  # of its mean on fresh seeds over its score in the study
    gap_by_chance: float | None  # how far a single training of it is from their mean


class Examination(TypedDict):
    """What the held-out parts say of the winner and the baselines."""

    scores: dict[str, float | None]  # of val and test, by the study's yardstick
    n_test: int
    n_test_groups: int | None
    n_test_units: int  # that err independently
    validation: dict[str, TargetMetrics]  # of the network, by target
    test: dict[str, dict[str, TargetMetrics]]  # by model and target
    best_baseline: list[str]  # of each target, by the validation part
    skill: list[Skill]  # of the network over it, for each target
    skill_over_mean: dict[str, list[Skill]]  # by model, for each target
    single_r2: list[list[float | None]]  # of each member, for each target
    intervals: dict[str, list[float]] | None  # as in ``metrics.Calibration``
    spread_confidence: float  # that the intervals are calibrated to
    coverage: list[Coverage] | None  # for each target
    violations: dict[str, dict[str, float]]  # by model and rule, of the validation part
    constant: NotRequired[dict[str, list[str]]]  # targets by part, val and test, that do not vary
    n_val_units: NotRequired[int]  # that err independently
    without_onnx: NotRequired[str | None]  # why there is no such file; None if there is


class WithoutPhysics(TypedDict):
    """The winner's configuration with and without its constraints, on the same seeds."""

    constrained_scores: list[float]
    scores: list[float]
    violations: dict[str, float]  # by rule, without constraints


class Heard(TypedDict):
    """What the test parts of several folds say together."""

    members: list[list[str]]  # directories of the trainings, by fold
    leaking: list[int]  # folds in which the audit found a leak
    n_samples: int
    n_groups: int | None
    n_units: int  # that err independently
    fold_r2: list[list[float | None]]  # of the network, by fold, for each target
    fold_skill: list[list[float | None]]  # over the fold's best baseline, likewise
    test: dict[str, dict[str, TargetMetrics]]  # all folds together, by model and target
    skill: list[Skill]  # over the folds' best baselines, for each target
    skill_over_mean: list[Skill]  # over the folds' training means, for each target
    confidence: float


class AllFolds(Heard):
    """What folds say of the winner, or of the search, each sample tested by who never saw it."""

    searched: bool  # anew on each fold; else the winner's configuration was trained there
    folds: list[int]  # that test: without a search on each not the one that chose the winner
    own: int  # the fold of the study
    n_folds: int


class Settlement(Race):
    """What is known once the race has ended, before the test part speaks."""

    version: int
    study_name: str
    dataset_id: str
    target_names: list[str]
    target_units: list[str]
    settled: str  # when
    n_trials: int
    score_name: str
    confidence: float
    raced: bool
    members: list[str]  # directories of the trainings that are taken home
    without_physics: WithoutPhysics | None
    random_split: dict[str, Any]  # as_split and at_random, or why_not


class Evaluation(Settlement):
    """All that was found when the winner was settled."""

    examination: Examination
    all_folds: AllFolds | str  # or why there is nothing to say
