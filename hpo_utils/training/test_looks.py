"""How often a test part was looked at, and by whom.

Each prediction of the test part adds a line to ``<outputs_root>/data/test_looks/``: a number that
was looked at often, by whoever chooses, is no test any more. Its files are named after the samples
of the test part and their targets: with other channels, or under another name, the data are
prepared anew, but these samples have spoken. Each machine has a file of its own, since lines that
two of them add to one on a network drive may mix.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hpo_utils.data.prepared import PreparedData

TRIAL, BY_HAND, WINNER = "trial", "by hand", "winner"
UNKNOWN = "unknown"  # of a line that cannot be read: it counts all the same


@dataclass(frozen=True)
class Look:
    """One prediction of the test part: when, by whom, and to what end.

    ``kind`` is ``TRIAL`` or ``BY_HAND`` for a training that wrote it to its directory, which ``by``
    names; ``WINNER`` if it speaks for the winner that ``by`` names.
    """

    time: str
    by: str
    kind: str


def note_look(data: PreparedData, by: str, kind: str) -> None:
    """Write down that ``by`` predicts the test part."""
    time = datetime.now().isoformat(timespec="seconds")
    line = json.dumps({"time": time, "by": by, "kind": kind}, ensure_ascii=False)
    name = f"{_test_samples(data)}-{socket.gethostname()}.jsonl"
    file = looks_directory(data) / name
    file.parent.mkdir(exist_ok=True)
    with file.open("ab+") as opened:
        opened.seek(0, os.SEEK_END)
        if opened.tell():
            opened.seek(-1, os.SEEK_END)
            line = line if opened.read() == b"\n" else f"\n{line}"  # behind a half one
        # one short write: lines of several workers do not mix
        opened.write(f"{line}\n".encode())


def looks_at_test(data: PreparedData) -> list[Look]:
    """Return all looks so far, the first first."""
    looks = [
        _read(line)
        for file in sorted(looks_directory(data).glob(f"{_test_samples(data)}-*.jsonl"))
        for line in file.read_bytes().splitlines()
        if line.strip()
    ]
    return sorted(looks, key=lambda look: look.time)


def _read(line: bytes) -> Look:
    """Return the look that a line tells of, whatever a power cut left of it."""
    try:
        found = json.loads(line)
        return Look(str(found["time"]), str(found["by"]), str(found["kind"]))
    except (ValueError, TypeError, KeyError):
        return Look("", UNKNOWN, UNKNOWN)


def winners_heard(data: PreparedData) -> list[str]:
    """Return for which winners the test part has spoken."""
    return sorted({look.by for look in looks_at_test(data) if look.kind == WINNER})


def looks_directory(data: PreparedData) -> Path:
    """Return where the looks at all test parts are written down."""
    return data.directory.parent / "test_looks"


def _test_samples(data: PreparedData) -> str:
    """Return hex digits that stand for the test part's samples and what was measured of them."""
    _, t, *_ = data.manifest["sources"]
    content = t["sha256"].encode() + data.sample_numbers("test").tobytes()
    return hashlib.sha256(content).hexdigest()[:16]
