"""The stop button of JupyterLab, in a real kernel: the cell ends, and all files are true.

The two seconds that this may take are those of the kernel's own work, since other tests run beside
this one.
"""

import json
import time
from contextlib import suppress

import psutil
import pytest
import yaml
from driver import trials_of
from jupyter_client.manager import KernelManager

from hpo_utils.base.paths import project_root

CELL = """
from hpo_utils.base.config import load_config
from hpo_utils.study.search import run_study
run_study(load_config("params/smoke.yaml", [
    "paths.outputs_root={root}", "study.n_trials=5", "training.epochs=300",
    "study.n_workers={n_workers}",
]))
"""


@pytest.fixture
def kernel():
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(project_root() / "notebooks"))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


def reply_to(client, message, timeout):
    """Return the reply to a message, past those to questions whether the kernel is ready."""
    while (reply := client.get_shell_msg(timeout=timeout))["parent_header"]["msg_id"] != message:
        pass
    return reply["content"]


def wait_until_training(root, n_trials):
    until = time.monotonic() + 120
    while len(list(root.glob("20*/*/logs/train.log"))) < n_trials:
        assert time.monotonic() < until
        time.sleep(0.05)


def untrue_files(root):
    """Return the files that still call a trial running, and the states in the study that do."""
    file = root / "optuna" / "study_summary.json"
    if not file.is_file():
        return [file]
    summary = json.loads(file.read_text(encoding="utf-8"))
    infos = {
        file: yaml.safe_load(file.read_text(encoding="utf-8"))["state"]
        for file in root.glob("20*/*/trial_info.yaml")
    }
    return [
        *(["study_summary.json"] if "RUNNING" in summary["counts"] else []),
        *(file for file, state in infos.items() if state == "RUNNING"),
        *({trial.state.name for trial in trials_of(root)} - {"COMPLETE", "WAITING"}),
    ]


def cpu_seconds(process):
    """Return the processor time of a process and its workers."""
    seconds = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            seconds += times.user + times.system
    return seconds


@pytest.mark.parametrize("n_workers", [1, 2])
def test_the_stop_button_leaves_the_files_true_within_two_seconds(kernel, tmp_path, n_workers):
    manager, client = kernel
    process = psutil.Process(manager.provisioner.pid)
    root = tmp_path / "runs"
    # a kernel aborts the cells that reach it while it answers one that failed, if that one asks so
    first = CELL.format(root=root, n_workers=n_workers)
    cell = client.execute(first, stop_on_error=False)
    wait_until_training(root, n_workers)
    time.sleep(1.0)
    manager.interrupt_kernel()
    used, until = cpu_seconds(process), time.monotonic() + 30
    while untrue := untrue_files(root):
        assert cpu_seconds(process) - used < 2.0, untrue
        assert time.monotonic() < until, untrue
        time.sleep(0.1)
    reply = reply_to(client, cell, timeout=10)
    assert (reply["status"], reply.get("ename")) == ("error", "KeyboardInterrupt")
    shorter = CELL.replace("epochs=300", "epochs=1").replace("n_trials=5", "n_trials=2")
    cell = client.execute(shorter.format(root=root, n_workers=n_workers))
    reply = reply_to(client, cell, timeout=120)  # the kernel is not harmed
    assert reply["status"] == "ok", "\n".join(reply.get("traceback", []))
