#!/usr/bin/env bash
# spc_io reads the log that instruments write behind the values of an SPC file as pairs of key and value, and
# refuses the whole file, with an error about dictionaries, where a line of it has two equals signs. GRAMS
# itself writes such lines (W = Modified Date/Time (…) User=…). The spectrum is whole: the low-level reader of
# the same package, SpcRaw, returns it. It matters when a folder of spectra is imported, of which a program
# has edited some.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q spc-io==0.2.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import logging
import struct
import sys
from importlib.metadata import version
from pathlib import Path

import spc_io
from spc_io.low_level import SpcRaw

logging.disable(logging.WARNING)  # of the date, which is not set
VALUES = [0.25, 0.5, 0.75, 1.0]


def write(text):
    """One curve of float32 over an even axis, with a log behind it, as the format's description has it."""
    body = bytes(32) + struct.pack("<4f", *VALUES)
    header = struct.pack("<BBBBiddi", 0, 0x4B, 0, 0x80, len(VALUES), 4000.0, 3994.0, 1)
    header += struct.pack("<BBBBi", 1, 2, 0, 0, 0)
    header = header.ljust(248, b"\0") + struct.pack("<i", 512 + len(body))
    log = struct.pack("<5i", 64 + len(text), 4096, 64, 0, 0).ljust(64, b"\0") + text
    Path("a.spc").write_bytes(header.ljust(512, b"\0") + body + log)


print("spc_io", version("spc_io"))
found = {}
for text in (b"SCANS=4\r\n\0", b"W=Modified User=me\r\n\0"):
    write(text)
    with open("a.spc", "rb") as file:
        try:
            found[text] = spc_io.SPC.from_bytes_io(file)[0].yarray.tolist()
        except ValueError as error:
            found[text] = str(error)
    print(text, found[text])
with open("a.spc", "rb") as file:
    raw = SpcRaw.from_bytes_io(file).subs[0].yarray.tolist()
print("SpcRaw", raw)
one, two = found.values()
sys.exit((one, raw) != (VALUES, VALUES) or "dictionary update" not in two)
PYTHON
