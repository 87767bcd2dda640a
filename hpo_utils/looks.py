"""How often the test part of prepared data was looked at, and by whom.

Each prediction of the test part adds a line to ``test_looks-<machine>.jsonl`` beside the data: a
number that was looked at often, by whoever chooses, is no test any more. Each machine has a file of
its own, since lines that two of them add to one on a network drive may mix.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from datetime import datetime

from hpo_utils.data import PreparedData

FILES = "test_looks*.jsonl"


@dataclass(frozen=True)
class Look:
    """One prediction of the test part: when, by whom, and to what end.

    ``kind`` is ``trial`` or ``by hand`` for a training that wrote it to its directory, which ``by``
    names; ``winner`` if it speaks for the winner that ``by`` names.
    """

    time: str
    by: str
    kind: str


def note_look(data: PreparedData, by: str, kind: str) -> None:
    """Write down that ``by`` predicts the test part."""
    time = datetime.now().isoformat(timespec="seconds")
    line = json.dumps({"time": time, "by": by, "kind": kind}, ensure_ascii=False)
    file = data.directory / FILES.replace("*", f"-{socket.gethostname()}")
    with file.open("a", encoding="utf-8") as opened:
        opened.write(line + "\n")  # one short write: lines of several workers do not mix


def looks_at_test(data: PreparedData) -> list[Look]:
    """Return all looks so far, the first first."""
    looks = [
        Look(**json.loads(line))
        for file in sorted(data.directory.glob(FILES))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    return sorted(looks, key=lambda look: look.time)
