"""The log of predictions of the test part: how often it was used, when, and for what.

Each prediction of the test part adds a line to ``<outputs_root>/data/test_looks/``: once test
results have been seen often by people who select models, they are no independent test any more. The
log files are named after the samples of the test part and their targets: with other channels, or
under another name, the data are prepared anew, but the test samples are the same. Each machine
writes its own file, since lines that two machines append to one file on a network drive may mix.
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
UNKNOWN = "unknown"  # a line that cannot be read; it still counts as a look


@dataclass(frozen=True)
class Look:
    """One prediction of the test part: when it was made, by what, and for what purpose.

    ``kind`` is ``TRIAL`` or ``BY_HAND`` for a training that wrote the prediction to its directory
    ``by``; it is ``WINNER`` for a prediction that evaluates the winner ``by``.
    """

    time: str
    by: str
    kind: str


def note_look(data: PreparedData, by: str, kind: str) -> None:
    """Record that ``by`` predicts the test part."""
    time = datetime.now().isoformat(timespec="seconds")
    line = json.dumps({"time": time, "by": by, "kind": kind}, ensure_ascii=False)
    name = f"{_test_samples(data)}-{socket.gethostname()}.jsonl"
    file = looks_directory(data) / name
    file.parent.mkdir(exist_ok=True)
    with file.open("ab+") as opened:
        opened.seek(0, os.SEEK_END)
        if opened.tell():
            opened.seek(-1, os.SEEK_END)
            line = line if opened.read() == b"\n" else f"\n{line}"  # after an incomplete line
        # one short write, so that lines of several workers do not mix
        opened.write(f"{line}\n".encode())


def looks_at_test(data: PreparedData) -> list[Look]:
    """Return all looks so far, oldest first."""
    looks = [
        _read(line)
        for file in sorted(looks_directory(data).glob(f"{_test_samples(data)}-*.jsonl"))
        for line in file.read_bytes().splitlines()
        if line.strip()
    ]
    return sorted(looks, key=lambda look: look.time)


def _read(line: bytes) -> Look:
    """Return the look that a line records; an unknown look if a power cut damaged the line."""
    try:
        found = json.loads(line)
        return Look(str(found["time"]), str(found["by"]), str(found["kind"]))
    except (ValueError, TypeError, KeyError):
        return Look("", UNKNOWN, UNKNOWN)


def winners_heard(data: PreparedData) -> list[str]:
    """Return the winners that were evaluated on the test part."""
    return sorted({look.by for look in looks_at_test(data) if look.kind == WINNER})


def looks_directory(data: PreparedData) -> Path:
    """Return the directory in which the looks at all test parts are recorded."""
    return data.directory.parent / "test_looks"


def _test_samples(data: PreparedData) -> str:
    """Return hex digits that identify the test part's samples and their measured targets."""
    _, t, *_ = data.manifest["sources"]
    content = t["sha256"].encode() + data.sample_numbers("test").tobytes()
    return hashlib.sha256(content).hexdigest()[:16]
