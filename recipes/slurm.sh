#!/bin/bash
# A study on many nodes of a Slurm cluster: sbatch recipes/slurm.sh, from the project's folder.
# Every task works at the same study until it has its trials; give --array as many as you like. A
# database's password comes from PGPASSWORD, where sbatch is called, or from ~/.pgpass.
#SBATCH --job-name=hpo
#SBATCH --array=1-16
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-task=1
#SBATCH --time=12:00:00
#SBATCH --signal=B:INT@300
#SBATCH --requeue

set -euo pipefail
: "${HPO_STORAGE:?must be the address of the database or of a proxy, without a password}"
: "${HPO_RUNS:?must be a folder that all nodes reach}"
PARAMS=${HPO_PARAMS:-params/demo.yaml}
N_TRIALS=${HPO_N_TRIALS:-200}

cd "${SLURM_SUBMIT_DIR:-.}"
. .venv/bin/activate
mkdir -p "$HPO_RUNS/notebooks"
# exec, so that the interrupt five minutes before the end reaches papermill: trials are given back,
# and the next task goes on with them
exec papermill notebooks/03_optimize.ipynb \
    "$HPO_RUNS/notebooks/03_optimize-${SLURM_ARRAY_TASK_ID:-0}.ipynb" \
    -p params_file "$PARAMS" -p n_trials "$N_TRIALS" -p n_workers 1 \
    -p overrides "study.storage=$HPO_STORAGE paths.outputs_root=$HPO_RUNS"
