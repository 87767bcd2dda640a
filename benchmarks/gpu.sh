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
    step=(--threads 1) plain=(--n-trials 20) workers=(--repeats 2) precision=(--seeds 3) longer=1
    export BENCHMARK_RESULTS=${BENCHMARK_RESULTS:-benchmarks/results/gpu}
    "$PYTHON" -c 'import torch; print(torch.cuda.get_device_name(), "· torch", torch.__version__)'
else
    echo "no GPU: small sizes, which say nothing and are not kept"
    BENCHMARK_RESULTS=$(mktemp -d)
    export BENCHMARK_RESULTS
    step=(--threads 1 --repeats 1) plain=(--n-trials 2 --shorter 4) longer=4
    workers=(--repeats 1 --n-trials 2) precision=(--seeds 2 --params-file params/smoke.yaml)
fi
failed=0

section() {  # title, seconds at most on a GPU, command
    local most=$(($2 * longer))
    echo "## $1"
    timeout "$most" "${@:3}" || { echo "no result: exit status $? (124: after $most s)"; failed=1; }
}

section "A step" 100 "$PYTHON" benchmarks/step.py "${step[@]}"
section "The same configurations in the plain script" 150 "$PYTHON" benchmarks/against_plain.py \
    same-configurations --repeats 1 "${plain[@]}"
section "Two workers" 80 "$PYTHON" benchmarks/workers.py "${workers[@]}"
section "bfloat16" 60 "$PYTHON" benchmarks/precision.py "${precision[@]}"
section "Memory of the GPU" 30 "$PYTHON" benchmarks/memory.py gpu
section "A bundle on a CPU" 60 "$PYTHON" benchmarks/bundle_on_cpu.py
exit "$failed"
