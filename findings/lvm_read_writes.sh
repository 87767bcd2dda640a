#!/usr/bin/env bash
# lvm_read.read leaves a file NAME.lvm.pkl beside every LabVIEW file that it reads, by default, so that
# a folder of measurements is changed by looking at it. It matters where originals must stay as they
# are, lie on a read-only share, or are counted by their names: ask for read_from_pickle=False and
# dump_file=False.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q lvm_read==1.26 numpy==2.4.6
mkdir "$folder/data"
cd "$folder/data"
"$folder/venv/bin/python" - <<'PYTHON'
import os
import sys

import lvm_read

HEADER = ["LabVIEW Measurement\t", "Separator\tTab", "X_Columns\tOne", "***End_of_Header***\t", ""]
SEGMENT = ["Channels\t1\t", "Samples\t2\t", "Delta_X\t0.1\t", "***End_of_Header***\t\t"]
ROWS = ["X_Value\tpressure\tComment", "0.0\t1.5", "0.1\t1.6", ""]
with open("a.lvm", "w") as file:
    file.write("\n".join(HEADER + SEGMENT + ROWS))
lvm_read.read("a.lvm", read_from_pickle=False, dump_file=False)
quiet = sorted(os.listdir())
lvm_read.read("a.lvm")
usual = sorted(os.listdir())
print("lvm_read", lvm_read.__version__)
print("files after reading with dump_file=False:", quiet)
print("files after reading by default:", usual)
sys.exit((quiet, usual) != (["a.lvm"], ["a.lvm", "a.lvm.pkl"]))
PYTHON
