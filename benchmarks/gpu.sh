#!/usr/bin/env bash
# What docs/performance.md calls unmeasured, on a machine with a GPU, in about eight minutes:
#
#     PYTHON=.venv/bin/python bash benchmarks/gpu.sh
#
# One section each: a step at several sizes, the flow's full one among them; the plain script and a
# study on the same configurations; two workers beside one; bfloat16 beside float32; memory of the
# GPU after a study; a bundle trained on the GPU and read on a CPU. Without a GPU sizes are small,
# so that the script itself can be tried. A section that exceeds its time is cut off, and said so.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python}
if "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    step=(--threads 1) trials=20 shorter=1 seeds=3 repeats=2
    export BENCHMARK_RESULTS=${BENCHMARK_RESULTS:-benchmarks/results/gpu}
    "$PYTHON" -c 'import torch; print(torch.cuda.get_device_name(), "· torch", torch.__version__)'
else
    echo "no GPU: small sizes, which say nothing and are not kept"
    BENCHMARK_RESULTS=$(mktemp -d)
    export BENCHMARK_RESULTS
    step=(--repeats 1 --threads 1) trials=2 shorter=10 seeds=1 repeats=1
fi
failed=0

section() {  # title, seconds at most, command
    echo "## $1"
    timeout "$2" "${@:3}" || { echo "no result: exit status $? (124: cut off after $2 s)"; failed=1; }
}

section "A step" 120 "$PYTHON" benchmarks/step.py "${step[@]}"
section "The same configurations in the plain script" 150 "$PYTHON" benchmarks/against_plain.py \
    same-configurations --n-trials "$trials" --repeats 1 --shorter "$shorter"
section "Two workers" 60 "$PYTHON" benchmarks/workers.py --repeats "$repeats"
section "bfloat16" 60 "$PYTHON" benchmarks/precision.py --seeds "$seeds"
section "Memory of the GPU" 30 "$PYTHON" benchmarks/memory.py gpu
section "A bundle on a CPU" 60 "$PYTHON" benchmarks/bundle_on_cpu.py
exit "$failed"
