"""What files record in English, in the language in use: contenders, scores, rules, sentences."""

from __future__ import annotations

from collections.abc import Sequence

from hpo_utils.base.language import _
from hpo_utils.data.physics import TARGET_RULES, TOLERANCE, WRONG_SUM
from hpo_utils.winner.evaluation import Standing


def contender_name(contender: Standing) -> str:
    """Return what a contender is called: its trial, or the base configuration."""
    if contender["trial"] is None:
        return _("base configuration")
    name = _("trial {n} (base)") if contender["is_base"] else _("trial {n}")
    return name.format(n=contender["trial"])


def score_name(name: str) -> str:
    """Return the name of a study's score in the language in use, also of one target alone."""
    measure, comma, target = name.removesuffix(" alone").partition(", ")
    if not comma:
        return _(name)
    return _("{measure}, {target} alone").format(measure=_(measure), target=target)


def recorded(sentence: str) -> str:
    """Return a recorded sentence in the language in use; what follows its colon stays."""
    said, colon, detail = sentence.partition(": ")
    return _(said) + colon + detail


def rule_names(target_names: Sequence[str]) -> dict[str, str]:
    """Return what the recorded rules of the targets' physics are called."""
    names = {
        rule.format(name=name): _(rule).format(name=name)
        for rule in TARGET_RULES
        for name in target_names
    }
    return {**names, WRONG_SUM.format(x=TOLERANCE): _(WRONG_SUM).format(x=TOLERANCE)}
