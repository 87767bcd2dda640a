"""Results of the race: tests against the winner, and how optimistic the study's best score was."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hpo_utils.base.config import Config
from hpo_utils.data.prepared import Judged, PreparedData
from hpo_utils.scores.intervals import (
    Interval,
    mean_interval,
    paired_p_value,
    prediction_half_width,
    ratio_interval,
)
from hpo_utils.scores.yardstick import create_yardstick
from hpo_utils.training.directory import VAL_FILE, read_predictions
from hpo_utils.winner.contenders import Contender, luckiest
from hpo_utils.winner.evaluation import Race, Standing

SampleScores = Mapping[str, NDArray[np.float64]]  # training directory -> scores (n_samples,)


def describe_race(
    contenders: list[Contender],
    sample_scores: SampleScores,
    units: NDArray[np.int64] | None,
    confidence: float,
    *,
    judged_alike: bool = True,
) -> Race:
    """Return intervals, tests against the winner, and the optimism of the study's best score.

    Two things may favour the winner: its seeds, and the samples of the validation part, which are
    the same for all seeds. So each contender is compared with it in two ways: by the scores on the
    same seeds (paired t test), and by the samples, averaged over the seeds (jackknife). The winner
    was chosen by the same scores, so it might have been any of them: both ways are corrected for
    all pairs of contenders (Bonferroni). Contenders given up by the race are not tested: they were
    given up because they looked worse, so neither result would be valid.

    Parameters
    ----------
    contenders
        The winner first.
    sample_scores
        Scores of each training's samples, as ``read_sample_scores`` returns them.
    units
        Independent unit of each sample, as in ``PreparedData.units``.
    confidence
        Level of all intervals.
    judged_alike
        Whether the study judged its trials by all folds of the race. Else the optimism of its best
        score is told by the trainings that left out the same fold, the given one.
    """
    winner, *others = contenders
    compared = [other for other in others if not other.beaten]
    n_pairs = max(1, math.comb(len(contenders), 2))
    p_values = [_paired_p_value(other, winner, n_pairs) for other in compared]
    together = 1 - (1 - confidence) / n_pairs
    ratios = [_ratio_interval(c, winner, sample_scores, units, together) for c in compared]
    tests = {c.name: (p, r) for c, p, r in zip(compared, p_values, ratios, strict=True)}
    best = luckiest(contenders)
    alike = {c.name: c if judged_alike else _on_given_fold(c) for c in (winner, best)}
    first, scores = alike[winner.name], list(alike[winner.name].scores.values())
    ahead = mean_lead(first, alike[best.name]) if np.isfinite(first.mean) else None
    return {
        "contenders": [
            _describe(c, winner, tests.get(c.name, (None, (None, None))), confidence)
            for c in contenders
        ],
        "best_trial": best.trial,
        "gap": None if ahead is None else first.mean + ahead - (best.study_score or 0.0),
        "gap_by_chance": None if ahead is None else prediction_half_width(scores, confidence),
    }


def _on_given_fold(contender: Contender) -> Contender:
    """Return a contender with its trainings that left out the given validation part."""
    scores = {s: score for s, score in contender.scores.items() if not contender.val_folds[s]}
    return replace(contender, scores=scores)


def _describe(
    contender: Contender,
    winner: Contender,
    tests: tuple[float | None, Interval],
    confidence: float,
) -> Standing:
    """Return a contender's row; ``tests`` are its p value and interval against the winner."""
    scores = list(_on_all_folds(contender, winner).values())
    finite = bool(scores) and bool(np.isfinite(scores).all())
    low, high = mean_interval(scores, confidence) if finite else (None, None)
    return {
        "name": contender.name,
        "trial": contender.trial,
        "is_base": contender.is_base,
        "params": contender.params,
        "study_score": contender.study_score,
        "scores": [score if np.isfinite(score) else None for score in scores],
        "mean": float(np.mean(scores)) if finite else None,
        "interval": (None if low is None else max(low, 0.0), high),  # scores are never negative
        "p_value": tests[0],
        "ratio_interval": tests[1],
        "beaten": contender.beaten,
    }


def _on_all_folds(contender: Contender, winner: Contender) -> dict[int, float]:
    """Return the scores of a contender by seed, as far as folds differ as they would be on all.

    Where each seed leaves out another fold, one that was given up early was judged by some of
    them, which may be easy: then its lead over the winner is added to the winner's mean.
    """
    fewer = len(contender.scores) < len(winner.scores)
    if not fewer or len(set(winner.val_folds.values())) < 2 or not np.isfinite(winner.mean):
        return contender.scores
    return {s: score - winner.scores[s] + winner.mean for s, score in contender.scores.items()}


def mean_lead(winner: Contender, other: Contender) -> float | None:
    """Return by how much the winner's score is lower on the seeds of both; None without any.

    Added to the winner's mean, it says what the other would have had on all seeds, which may each
    validate on another fold.
    """
    seeds = _common_seeds(other, winner)
    if not seeds or not np.isfinite(other.mean):
        return None
    return float(np.mean([other.scores[seed] - winner.scores[seed] for seed in seeds]))


def _common_seeds(contender: Contender, winner: Contender) -> list[int]:
    """Return the seeds on which both have a finite score."""
    return [
        seed
        for seed, score in contender.scores.items()
        if np.isfinite([score, winner.scores.get(seed, np.inf)]).all()
    ]


def _paired_p_value(contender: Contender, winner: Contender, n_pairs: int) -> float | None:
    seeds = _common_seeds(contender, winner)
    theirs, best = ([c.scores[seed] for seed in seeds] for c in (contender, winner))
    p_value = paired_p_value(theirs, best)
    return None if p_value is None else min(1.0, n_pairs * p_value)


def _ratio_interval(
    contender: Contender,
    winner: Contender,
    sample_scores: SampleScores,
    units: NDArray[np.int64] | None,
    confidence: float,
) -> Interval:
    """Return an interval of the contender's score divided by the winner's, over the samples."""
    directories = [
        [c.directories[seed] for seed in _common_seeds(contender, winner)]
        for c in (contender, winner)
    ]
    if not directories[0] or not sample_scores.keys() >= {d for each in directories for d in each}:
        return None, None
    # (n_seeds, n_samples), with NaN where a training was not judged by a sample
    scores = [np.stack([sample_scores[d] for d in each]) for each in directories]
    known = np.isfinite(scores[0]).any(axis=0)
    above, below = (np.nanmean(each[:, known], axis=0)[:, None] for each in scores)
    units = units if units is None else units[known]
    return ratio_interval(above, below, units, confidence)[0]


def read_sample_scores(
    contenders: list[Contender], data: PreparedData, cfg: Config, outputs_root: Path
) -> SampleScores:
    """Return the contribution of each validation sample to the score of each training.

    It is NaN for samples of other folds than that which a training left out. Trainings of an
    earlier version, which did not store predictions, are left out.
    """
    y_val = data.targets("val")
    yardstick = create_yardstick(cfg, data.target_names, y_val)
    z_val = torch.from_numpy(data.target_scaler.transform(y_val))
    given = data.weights("val")
    found = {}
    for contender in contenders:
        for seed, directory in contender.directories.items():
            file = outputs_root / directory / VAL_FILE
            if not file.is_file():
                continue
            places = np.arange(len(z_val))
            if isinstance(data, Judged):
                places = data.places(contender.val_folds[seed])
            z_pred = torch.from_numpy(data.target_scaler.transform(read_predictions(file)))
            found[directory] = np.full(len(z_val), np.nan)
            weights = None if given is None else torch.from_numpy(given[places])
            scores = yardstick.of_samples(z_pred, z_val[torch.from_numpy(places)], weights)
            found[directory][places] = scores.double().numpy()
    return found
