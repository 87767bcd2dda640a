"""Progress of a running study: a line per trial, a bar in JupyterLab, a status elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.base.formatting import clock
from hpo_utils.base.language import _
from hpo_utils.trials.storage import FINISHED, best_of, score_of, trial_seconds

WANTED = "n_trials"  # attribute of a study: number of finished trials that it is to have


class StudyProgress:
    """Prints a line for each trial that ends, and keeps one bar up to date inside IPython.

    The bar is one output that is replaced, so a saved notebook holds its last state only.

    Parameters
    ----------
    study
        The study at the start; its best trial counts as the best so far.
    n_trials
        Number of trials still to finish.
    """

    def __init__(self, study: optuna.Study, n_trials: int) -> None:
        self.n_trials = n_trials
        self.counts = dict.fromkeys((TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL), 0)
        self._ended: list[FrozenTrial] = []
        self._started = time.monotonic()
        self._best = best_of(study.get_trials(deepcopy=False))
        self._bar = self._open_bar() if n_trials else None

    @property
    def n_done(self) -> int:
        """Number of trials finished since the start, not counting failed ones."""
        return sum(self.counts[state] for state in FINISHED)

    def trial_finished(self, trial: FrozenTrial) -> None:
        """Count a trial that ended, print its line and update the bar."""
        self.counts[trial.state] += 1
        self._ended.append(trial)
        self._best = best_of([trial] if self._best is None else [self._best, trial])
        print(self.line(trial), flush=True)
        if self._bar is not None:
            self._bar.update(self._html(), raw=True)

    def line(self, trial: FrozenTrial) -> str:
        """Return a trial's number, state and score, the best so far, elapsed and remaining time."""
        score = "no score" if trial.value is None else f"{trial.value:.4f}"
        text = (
            f"trial {trial.number:>3}  {trial.state.name:<8}  score {score:>8}"
            f"  {best_text(self._best)}  elapsed {clock(self.elapsed())}"
            f"  {remaining_text(self.remaining())}"
        )
        failure = trial.user_attrs.get("failure")
        return text if failure is None else f"{text}\n           because of {failure}"

    def elapsed(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._started

    def remaining(self) -> float | None:
        """Return the estimated seconds left, from the ended trials and the number of workers."""
        signed = [trial.user_attrs.get("owner", {}) for trial in self._ended]
        owners = {(owner.get("host"), owner.get("pid")) for owner in signed}
        return time_left(self._ended, self.n_trials - self.n_done, len(owners))

    def close(self) -> None:
        """Update the bar for the last time."""
        if self._bar is not None:
            self._bar.update(self._html(), raw=True)

    def _open_bar(self) -> Any:
        from IPython.core.getipython import get_ipython
        from IPython.display import display

        if get_ipython() is None:
            return None
        return display(self._html(), raw=True, display_id=True)

    def _html(self) -> dict[str, str]:
        counts = ", ".join(f"{n} {state.name.lower()}" for state, n in self.counts.items())
        text = (
            f"{self.n_done} of {self.n_trials} trials ({counts}), {best_text(self._best)}, elapsed"
            f" {clock(self.elapsed())}, {remaining_text(self.remaining())}"
        )
        bar = (
            f'<progress value="{self.n_done}" max="{self.n_trials}" style="width:20em"></progress>'
        )
        return {"text/plain": text, "text/html": f"{bar} {text}"}


def best_text(best: FrozenTrial | None) -> str:
    """Return the score of the best trial and its number."""
    return "no best yet" if best is None else f"best {score_of(best):.4f} (trial {best.number})"


def status(study: optuna.Study, title: str, with_best: bool = True) -> str:
    """Return the progress of a study from its storage, for processes that do not run it.

    There is one line for the study, with the time left estimated from its trials, and one line per
    running trial. ``with_best`` adds the best trial, which means nothing among trainings of a few
    configurations.
    """
    trials = study.get_trials(deepcopy=False)
    by_state = {state: [t for t in trials if t.state == state] for state in TrialState}
    finished = [trial for state in FINISHED for trial in by_state[state]]
    running, wanted = by_state[TrialState.RUNNING], study.user_attrs.get(WANTED, len(finished))
    counts = ", ".join(f"{len(found)} {state.name.lower()}" for state, found in by_state.items())
    text = f"{title}: {len(finished)} of {wanted} trials ({counts})"
    if with_best:
        text += f", {best_text(best_of(trials))}"
    if running and finished:
        own = [trial for trial in finished if "carried_from" not in trial.user_attrs]
        left = time_left(own, wanted - len(finished), len(running))
        text += f", {remaining_text(left)}"
    return "\n".join([text, *(_running_line(trial) for trial in running)])


def why_none_completed(study: optuna.Study) -> str | None:
    """Return why a study has no complete trial and what to do about it.

    None if a trial is complete, if a trial has not ended yet, or if there are no trials.
    """
    trials = study.get_trials(deepcopy=False)
    if not trials or not all(trial.state.is_finished() for trial in trials) or best_of(trials):
        return None
    reasons = Counter(
        (trial.state.name.lower(), trial.user_attrs.get("failure", "its process died"))
        for trial in trials
        if "same_as" not in trial.user_attrs
    )
    state, reason = reasons.most_common(1)[0][0]
    diverged = sum(t.user_attrs.get("failure", "").startswith("DivergenceError") for t in trials)
    how = _("{n} diverged").format(n=diverged) if diverged else _("all {state}")
    return _(
        "No trial of study {name} was completed, so it has no winner: of {n} trials {how}, as by"
        " {reason}. Then run `03_optimize` again: with `delete_study` it starts over, with a larger"
        " `n_trials` it goes on."
    ).format(
        name=study.study_name, n=len(trials), how=how.format(state=_(state)),
        reason=" ".join(reason.split()).rstrip("."),
    )  # fmt: skip


def remaining_text(seconds: float | None) -> str:
    """Return the remaining time in words, also if it is not known."""
    return "remaining: not known yet" if seconds is None else f"remaining about {clock(seconds)}"


def time_left(ended: Sequence[FrozenTrial], n_left: int, n_at_once: int) -> float | None:
    """Return the estimated seconds for ``n_left`` trials, from the mean time of the ended ones.

    None if no trial has ended.
    """
    durations = [s for trial in ended if (s := trial_seconds(trial)) is not None]
    if n_left <= 0:
        return 0.0
    if not durations:
        return None
    return sum(durations) / len(durations) * n_left / max(n_at_once, 1)


def _running_line(trial: FrozenTrial) -> str:
    scores, started = trial.intermediate_values, trial.datetime_start
    reached = f"epoch {max(scores)}  score {scores[max(scores)]:.4f}" if scores else "no epoch yet"
    since = "" if started is None else f"  for {clock(time.time() - started.timestamp())}"
    owner = trial.user_attrs.get("owner", {})
    where = f"  process {owner['pid']} on {owner['host']}" if owner else ""
    return f"trial {trial.number:>3}  RUNNING   {reached}{since}{where}"
