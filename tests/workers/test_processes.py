import os
import subprocess
import sys

import pytest
import torch

from hpo_utils.base.config import updated
from hpo_utils.base.paths import project_root
from hpo_utils.data.preparation import prepare_data
from hpo_utils.workers import processes
from hpo_utils.workers.processes import count_workers

AUTO = "study.n_workers=null"


@pytest.mark.parametrize(
    ("overrides", "queued_only", "expected"),
    [
        ([AUTO, "study.n_trials=4"], False, 1),  # the sampler would know nothing
        ([AUTO, "study.n_trials=10"], False, 2),
        ([AUTO, "study.n_trials=100"], False, 8),  # one for each core
        ([AUTO, "study.n_trials=4", "study.n_more=100"], False, 8),
        ([AUTO, "study.n_trials=4"], True, 8),  # nothing to learn
        ([AUTO, "study.n_trials=100", "training.n_threads=3"], False, 2),
        ([AUTO, "study.n_trials=100", "training.n_threads=16"], False, 1),
        (["study.n_workers=3"], False, 3),
    ],
)
def test_how_many_workers(make_config, monkeypatch, overrides, queued_only, expected):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    cfg = make_config("training.device=cpu", *overrides)
    assert count_workers(cfg, prepare_data(cfg), queued_only) == expected


def test_workers_are_few_where_their_data_would_not_fit(make_config, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    cfg = make_config("training.device=cpu", "study.n_trials=100", AUTO)
    data = prepare_data(cfg)
    monkeypatch.setattr(processes, "free_memory", lambda _: 2.5 * processes.WORKER_MEMORY)
    assert count_workers(cfg, data) == 2
    monkeypatch.setattr(processes, "free_memory", lambda _: 0)
    assert count_workers(cfg, data) == 1


@pytest.mark.parametrize(("device", "expected"), [("cuda", 4), ("cuda:1", 1), ("mps", 1)])
def test_there_is_a_worker_for_each_gpu(make_config, monkeypatch, device, expected):
    monkeypatch.setattr(processes, "select_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    cfg = make_config(AUTO, "study.n_trials=100")
    data = prepare_data(cfg)
    cfg = updated(cfg, {"training.device": device})
    assert count_workers(cfg, data) == expected


def test_a_script_needs_no_guard(tmp_path):
    """Workers do not run the script that starts them again."""
    (tmp_path / "script.py").write_text(
        "from hpo_utils.base.config import load_config\n"
        "from hpo_utils.study.search import run_study\n"
        "print('once')\n"
        f"root = 'paths.outputs_root={tmp_path / 'runs'}'\n"
        "study = run_study(load_config('params/smoke.yaml', ['study.n_workers=2', root]))\n"
        "print(len({trial.user_attrs['owner']['pid'] for trial in study.trials}))\n"
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")], cwd=project_root(), text=True,
        capture_output=True, env={**os.environ, "PYTHONWARNINGS": "error::RuntimeWarning"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("once") == 1
    assert done.stdout.split()[-1] in "12"
