#!/usr/bin/env bash
# pyASDReader, which reads the spectra of ASD's spectroradiometers, opens a log file when it is imported:
# asd_reader_<date>_<time>.log in the directory from which Python was started, before any file is read. A
# program that imports it leaves such a file in the user's folder at each start, and cannot be run where it
# may not write. A file that is no spectrum raises nothing: the error goes to that log, and all that was to
# be read is None.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pyASDReader==1.2.3 numpy==2.4.6
mkdir "$folder/empty"
cd "$folder/empty"
"$folder/venv/bin/python" - <<'PYTHON'
import logging
import sys
from importlib.metadata import version
from pathlib import Path

before = list(Path().iterdir())
import pyASDReader

made = [file.name for file in Path().iterdir()]
print("pyASDReader", version("pyASDReader"))
print("files in an empty directory before and after the import:", len(before), made)
logging.disable(logging.CRITICAL)
Path("notes.asd").write_text("no spectrum")
found = pyASDReader.ASDFile("notes.asd")
print("of a file without a spectrum:", found.metadata, found.wavelengths)
named = [name for name in made if name.startswith("asd_reader_") and name.endswith(".log")]
sys.exit(before != [] or len(named) != 1 or found.metadata is not None)
PYTHON
