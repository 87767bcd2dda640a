"""What a model promised on its test part, against what it does on later samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from scipy.special import bdtr, fdtr, fdtrc, stdtr

from hpo_utils.data.split import MIN_UNITS
from hpo_utils.scores.intervals import holm
from hpo_utils.scores.merit import Merit


class Promise(TypedDict):
    """A figure of the test part and the same of later samples, with the p value of no change."""

    target: str
    figure: str  # ``bias``, ``spread`` or ``coverage``
    promised: float
    found: float
    p_value: float  # corrected for all figures of all targets (Holm)


def promises(
    before: Mapping[str, Merit],
    now: Mapping[str, Merit],
    inside: Mapping[str, float],
    confidence: float,
) -> list[Promise]:
    """Compare bias, spread and coverage of later samples with those that were promised.

    Parameters
    ----------
    before, now
        Figures of merit of the test part and of the later samples, by target.
    inside
        Share of the later samples within their intervals, by target.
    confidence
        The share that the intervals promise.

    Returns
    -------
    list of dict
        Of targets with at least ``MIN_UNITS`` independent units: bias and spread of those with as
        many in both, coverage of the later samples alone. Welch's t test compares the biases
        (Biometrika 34 (1947), 28-35), Fisher's F test the SEP, which takes the errors for normal,
        and the binomial test asks whether fewer lie inside than promised.
    """
    found: list[Promise] = []
    for name, new in now.items():
        n, old = new["n_units"], before.get(name)
        if n < MIN_UNITS:
            continue
        if old is not None and old["n_units"] >= MIN_UNITS and old["sep"] and new["sep"]:
            biases = float(old["bias"] or 0.0), float(new["bias"] or 0.0)
            found.append(_promise(name, "bias", *biases, _welch(old, new)))
            found.append(_promise(name, "spread", old["sep"], new["sep"], _fisher(old, new)))
        if name in inside:
            p_value = float(bdtr(round(inside[name] * n), n, confidence))
            found.append(_promise(name, "coverage", confidence, inside[name], p_value))
    for each, p in zip(found, holm([each["p_value"] for each in found]), strict=True):
        each["p_value"] = 1.0 if p is None else p
    return found


def _promise(target: str, figure: str, promised: float, found: float, p_value: float) -> Promise:
    return {
        "target": target, "figure": figure, "promised": promised, "found": found,
        "p_value": p_value,
    }  # fmt: skip


def _welch(old: Merit, new: Merit) -> float:
    """Return the two-sided p value of equal biases."""
    parts = [(float(each["sep"] or 0.0) ** 2 / each["n_units"], each["n_units"] - 1)
             for each in (old, new)]  # fmt: skip
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / n for part, n in parts)
    difference = float(new["bias"] or 0.0) - float(old["bias"] or 0.0)
    return float(2 * stdtr(freedom, -abs(difference) / variance**0.5))


def _fisher(old: Merit, new: Merit) -> float:
    """Return the two-sided p value of equal spreads of the errors."""
    ratio = (float(new["sep"] or 0.0) / float(old["sep"] or 1.0)) ** 2
    freedom = new["n_units"] - 1, old["n_units"] - 1
    return float(min(1.0, 2 * min(fdtr(*freedom, ratio), fdtrc(*freedom, ratio))))
