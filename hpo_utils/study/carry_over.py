"""Copy the trials of an earlier study that a changed search space could have sampled."""

from __future__ import annotations

from collections import Counter

import optuna

from hpo_utils.base.config import Config
from hpo_utils.base.errors import SearchSpaceError
from hpo_utils.base.settings import BEFORE
from hpo_utils.trials.search_space import SearchSpace
from hpo_utils.trials.storage import (
    FINISHED,
    read_signature,
)

COMPARABLE = ("dataset_id", "score", "score_folds", "physics")  # equal where scores are comparable


def carry_over(
    old: optuna.Study, new: optuna.Study, space: SearchSpace, cfg: Config
) -> tuple[int, Counter[str]]:
    """Copy the old study's finished trials that the new space could have sampled.

    Trials on other data or with another score are not comparable: none of them is copied. A setting
    that is searched only in the new study has, in the old trials, the value at which it was held.

    Returns
    -------
    int
        Number of trials that were copied.
    Counter
        Number of trials that were not copied, by reason.
    """
    before, now = (read_signature(study) for study in (old, new))
    trials = old.get_trials(deepcopy=False, states=FINISHED)
    differing = [key for key in COMPARABLE if before.get(key) != now.get(key)]
    if differing:
        return 0, Counter({f"another {', '.join(differing)}": len(trials)})
    carried, dropped = 0, Counter[str]()
    for trial in trials:
        try:
            params = space.fit({**BEFORE, **before["held"], **trial.params}, cfg)
        except SearchSpaceError as reason:
            dropped[str(reason)] += 1
            continue
        new.add_trial(
            optuna.create_trial(
                state=trial.state,
                params=params,
                distributions={name: space.distributions[name] for name in params},
                value=trial.value,
                intermediate_values=trial.intermediate_values,
                user_attrs={
                    # a trial number of the old study means nothing in the new one
                    **{k: v for k, v in trial.user_attrs.items() if k != "same_as"},
                    "carried_from": f"{old.study_name} trial {trial.number}",
                },
            )
        )
        carried += 1
    return carried, dropped
