"""How often the test part of prepared data was looked at, and by whom.

Each prediction of the test part adds a line to ``test_looks.jsonl`` beside the data: a number that
was looked at often, by whoever chooses, is no test any more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from hpo_utils.data import PreparedData

FILE = "test_looks.jsonl"


@dataclass(frozen=True)
class Look:
    """One prediction of the test part: when, by whom, and whether to settle a winner."""

    time: str
    by: str
    settles: bool


def note_look(data: PreparedData, by: str, settles: bool = False) -> None:
    """Write down that ``by`` predicts the test part; ``settles`` if to speak for a winner."""
    time = datetime.now().isoformat(timespec="seconds")
    line = json.dumps({"time": time, "by": by, "settles": settles}, ensure_ascii=False)
    with (data.directory / FILE).open("a", encoding="utf-8") as file:
        file.write(line + "\n")  # one short write: lines of several workers do not mix


def looks_at_test(data: PreparedData) -> list[Look]:
    """Return all looks so far, the first first."""
    file = data.directory / FILE
    if not file.is_file():
        return []
    return [Look(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
