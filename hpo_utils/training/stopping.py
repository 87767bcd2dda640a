"""Stop a search before it is done: at its deadline, or when somebody creates a stop file."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from hpo_utils.base.config import Config, budget_seconds
from hpo_utils.base.errors import StopRequest
from hpo_utils.base.paths import relative_to_root, resolve

LAST_CALL = 0.8  # share of the budget after which even a trial under way is put back
STOP_FILE = Path("optuna") / "STOP"  # below outputs_root


@dataclass(frozen=True)
class Stop:
    """The stop conditions, which workers check between epochs and, for the deadline, between steps.

    ``since`` is the start of the search in seconds as of ``time.time``; ``timeout`` counts from
    there, and ``setting`` says where it is from. A stop file that is older than the start belongs
    to an earlier search and is ignored.
    """

    file: Path
    since: float
    timeout: float | None
    setting: str = "study.timeout"

    def reason(self) -> str | None:
        """Return why the search is to stop; None if it may continue."""
        if self.overdue():
            return f"its time is over ({self.setting} = {self.timeout:g} s)"
        try:
            asked = self.file.stat().st_mtime > self.since
        except FileNotFoundError:
            return None
        return f"{relative_to_root(self.file)} is there" if asked else None

    def overdue(self) -> bool:
        """Return whether the deadline has passed."""
        return self.timeout is not None and time.time() > self.since + self.timeout

    def check(self) -> None:
        """Raise StopRequest if the search is to stop."""
        if reason := self.reason():
            raise StopRequest(f"the search stops because {reason}")

    def check_deadline(self) -> None:
        """Raise StopRequest if the deadline has passed; cheap enough for every step."""
        if self.overdue():
            self.check()


def create_stop(cfg: Config) -> Stop:
    """Return the stop conditions of a search that starts now."""
    file = resolve(cfg.paths.outputs_root) / STOP_FILE
    timeout, budget = cfg.study.timeout, budget_seconds(cfg)
    if budget is None or (timeout is not None and timeout < LAST_CALL * budget):
        return Stop(file, time.time(), timeout)
    return Stop(file, time.time(), LAST_CALL * budget, "study.budget less what its winner needs")
