"""A memory that is too small: the real allocator refuses, in a process with a limit."""

import os
import subprocess
import sys

import yaml
from driver import trials_of

from hpo_utils.base.paths import project_root

SCRIPT = """
import resource, sys
from hpo_utils.base.config import load_config
from hpo_utils.data.preparation import prepare_data
from hpo_utils.study.search import run_study
cfg = load_config("params/smoke.yaml", sys.argv[2:])
prepare_data(cfg)
import psutil
limit = psutil.Process().memory_info().vms + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
run_study(cfg)
"""
WIDE = ["synthetic.n_pulses=128", "synthetic.n_depths=512", "model.hidden=64",
        "training.batch_size=32", "training.epochs=1", "study.n_trials=1",
        "dataset.downsample_factor=1", "training.use_weighted_loss=false",
        "training.n_threads=1", "training.precision=float32"]  # fmt: skip


def run(tmp_path, room, *more):
    root = tmp_path / "runs"
    command = [sys.executable, "-c", SCRIPT, str(room), f"paths.outputs_root={root}", *WIDE, *more]
    done = subprocess.run(
        command, cwd=project_root(), capture_output=True, text=True, timeout=500,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return done, trials_of(root), root


def test_a_trial_that_does_not_fit_fails_and_says_so(tmp_path):
    done, trials, _ = run(tmp_path, 60 * 2**20, "study.max_consecutive_failures=1")
    assert "failed in a row" in done.stderr, done.stderr[-2000:]
    assert trials[0].state.name == "FAIL"
    assert "must fit into the memory of cpu" in trials[0].user_attrs["failure"]


def test_batches_that_do_not_fit_are_cut_and_the_trial_completes(tmp_path):
    done, trials, root = run(tmp_path, 700 * 2**20)
    assert done.returncode == 0, done.stderr[-2000:]
    assert trials[0].state.name == "COMPLETE"
    info = yaml.safe_load(
        (root / trials[0].user_attrs["output_dir"] / "trial_info.yaml").read_text()
    )
    assert info["pieces"] > 1
