#!/usr/bin/env bash
# nbformat reads no URL, yet importing it compiles a grammar for international ones: it imports jsonschema,
# jupyter-events asks for that with its checks of formats, and since jsonschema 4.25 one of these is
# rfc3987-syntax, which builds 38 parsers when it is imported. In an environment with JupyterLab every process
# that touches a notebook (papermill, nbmake, nbconvert, each worker of pytest) pays for it before it begins,
# more than for all the rest of nbformat; in the same environment so do Ray's processes, whose start takes more
# than twice the CPU. With jsonschema 4.24 the package is not installed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for jsonschema in 4.24.1 4.26.0; do
    python3 -m venv "$folder/$jsonschema"
    "$folder/$jsonschema/bin/pip" install -q jupyter-events==0.12.1 nbformat==5.11.1 "jsonschema==$jsonschema"
done
cat > "$folder/import.py" <<'PYTHON'
import sys
import time
from importlib.metadata import version

started = time.process_time()
import nbformat

seconds = time.process_time() - started
parsers = "rfc3987_syntax" in sys.modules
print(f"jsonschema {version('jsonschema')}: {seconds:.2f} s of CPU, rfc3987_syntax imported: {parsers}")
with open(sys.argv[1], "a") as file:
    print(seconds, int(parsers), file=file)
PYTHON
for jsonschema in 4.24.1 4.26.0; do
    for _ in 1 2 3; do "$folder/$jsonschema/bin/python" "$folder/import.py" "$folder/$jsonschema.txt"; done
done
python3 - "$folder/4.24.1.txt" "$folder/4.26.0.txt" <<'PYTHON'
import sys
from statistics import median

(without, none), (with_it, all_) = (
    zip(*(map(float, line.split()) for line in open(path))) for path in sys.argv[1:]
)
ratio = median(with_it) / median(without)
print(f"import nbformat takes {ratio:.1f} times as much CPU with it")
sys.exit(not (ratio > 2 and not any(none) and all(all_)))
PYTHON
