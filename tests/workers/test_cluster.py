"""Studies on a real Ray: one that starts by itself, and two nodes of which one is killed."""

import os
import subprocess
import sys
import threading
import time

import psutil
import pytest

from hpo_utils.base.errors import ConfigError, StudyError
from hpo_utils.base.paths import project_root
from hpo_utils.study.search import load_existing_study, run_study
from hpo_utils.workers import executors

os.environ[executors.LOOPBACK_ONLY] = "0"  # before Ray is imported
ray = pytest.importorskip("ray", reason="Ray is not installed")

from ray.cluster_utils import Cluster  # noqa: E402

from hpo_utils.workers import cluster  # noqa: E402

RAY = {"study.executor": "ray"}
PATIENCE = 300  # seconds for two workers to begin: Ray starts slowly where other tests work
SLOW = ("training.epochs=20", "training.patience=null", "study.checkpoint_every_s=0")


@pytest.fixture
def nodes():
    """Two nodes of one core each, both on this machine; this process is at the first."""
    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    second = nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes, second
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture
def own_ray():
    yield
    ray.shutdown()


def finished(study):
    return [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]


def test_a_study_outlives_a_node(nodes, make_config):
    both, second = nodes
    cfg = make_config(*SLOW, f"study.ray_address={both.address}", "study.n_workers=2",
                      "study.n_trials=4", **RAY)  # fmt: skip
    killed = []

    def kill_when_both_work():
        """Kill the second node when each worker has trained a few epochs of its trial."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and not killed:
            time.sleep(0.1)
            try:
                trials = load_existing_study(cfg).trials
            except StudyError:
                continue  # not made yet
            running = [t for t in trials if t.state.name == "RUNNING" and t.intermediate_values]
            if len({t.user_attrs["owner"]["pid"] for t in running}) == 2:
                on_second = {p.pid for p in children_of(second)}
                killed.extend(
                    t.number for t in running if t.user_attrs["owner"]["pid"] in on_second
                )
                both.remove_node(second, allow_graceful=False)

    killer = threading.Thread(target=kill_when_both_work)
    killer.start()
    study = run_study(cfg)
    killer.join()
    assert len(killed) == 1
    assert len(finished(study)) == len(study.trials) == 4  # none lost, none double
    taken_over = study.trials[killed[0]]
    assert "died" in taken_over.user_attrs
    steps = list(taken_over.intermediate_values)
    assert steps == list(range(1, len(steps) + 1))  # it went on where it was


def children_of(node):
    raylet = next(p for kind, processes in node.all_processes.items() if kind == "raylet"
                  for p in processes).process  # fmt: skip
    return psutil.Process(raylet.pid).children(recursive=True)


def test_a_local_one_finds_what_one_process_finds_and_is_closed_to_others(
    make_config, own_ray, tmp_path
):
    """The same objective, sampler and files: with one worker of one thread the same scores."""
    found = []
    for executor in ("in_process", "ray"):
        place = {"study.executor": executor, "paths.outputs_root": str(tmp_path / executor)}
        one = ("study.n_workers=1", "training.n_threads=1", "study.n_trials=3")
        study = run_study(make_config(*one, **place))
        found.append([(trial.params, trial.value) for trial in study.trials])
        assert len(list((tmp_path / executor).glob("20*/*/trial_info.yaml"))) == 3
    assert found[0] == found[1]
    assert all("worker" in trial.user_attrs["owner"] for trial in study.trials)
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    addresses = [c.laddr.ip for p in family for c in p.net_connections() if c.status == "LISTEN"]
    assert addresses
    assert {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}


def test_stopping_it_stops_all_workers(tmp_path):
    code = (
        "import signal, sys; from hpo_utils.base.config import load_config;"
        "from hpo_utils.study.search import run_study;"
        # a shell has what it starts in the background ignore interrupts, and so these tests
        "signal.signal(signal.SIGINT, signal.default_int_handler);"
        "run_study(load_config('params/smoke.yaml', sys.argv[1:]))"
    )
    logs = tmp_path / "runs"
    settings = [*SLOW, f"paths.outputs_root={logs}", "training.epochs=1000", "study.executor=ray",
                "study.n_workers=2", "study.n_trials=4"]  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", code, *settings],
        cwd=project_root(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        try:
            until = time.monotonic() + PATIENCE
            while len(list(logs.glob("20*/*/logs/train.log"))) < 2:
                assert time.monotonic() < until
                assert process.poll() is None
                time.sleep(0.1)
            family = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(2)
            output, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
    assert "KeyboardInterrupt" in output
    infos = [file.read_text() for file in logs.glob("20*/*/trial_info.yaml")]
    assert len(infos) == 2
    assert all("WAITING" in info for info in infos)


def test_a_cluster_that_does_not_answer(make_config, own_ray):
    cfg = make_config("study.ray_address=127.0.0.1:1", "study.n_workers=1", **RAY)
    with pytest.raises(StudyError, match="ray_address must be a cluster's that answers"):
        run_study(cfg)


def test_without_ray_it_says_what_to_install(make_config, monkeypatch):
    monkeypatch.setattr(executors, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"\.\[cluster\]"):
        run_study(make_config(**RAY))


NODES = [{"Resources": {"CPU": 8.0, "GPU": 2.0}}, {"Resources": {"CPU": 3.0}}]


@pytest.mark.parametrize(
    ("overrides", "nodes", "expected"),
    [
        (["study.gpus_per_worker=0"], NODES, 11),
        (["study.gpus_per_worker=0", "study.cpus_per_worker=2"], NODES, 5),
        (["study.gpus_per_worker=0.25"], NODES, 8),  # four share a GPU
        (["study.gpus_per_worker=0.4"], NODES, 4),  # two, not two and a half
        (["study.gpus_per_worker=0.1"], [{"Resources": {"CPU": 99.0, "GPU": 1.0}}], 10),
        ([], NODES, 2),  # one each
        ([], NODES[1:], 3),
        (["training.device=cpu"], NODES, 11),
        (["study.n_workers=20"], NODES, 20),  # some wait for room
    ],
)
def test_as_many_workers_as_there_is_room_for(make_config, overrides, nodes, expected):
    cfg = make_config(
        "study.n_workers=null", "study.n_trials=100", "training.device=auto", *overrides
    )
    resources = cluster.needed(cfg, nodes)
    assert cluster.count_workers(cfg, resources, nodes, queued_only=False) == expected


def test_few_trials_have_few_workers(make_config):
    cfg = make_config("study.n_workers=null", "study.n_trials=20", "study.gpus_per_worker=0")
    resources = cluster.needed(cfg, NODES)
    assert cluster.count_workers(cfg, resources, NODES, queued_only=False) == 4
    assert cluster.count_workers(cfg, resources, NODES, queued_only=True) == 11


def test_one_that_cannot_start_here_is_said(make_config, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "file"))
    with pytest.raises(StudyError, match="must start on this machine, but did not"):
        cluster._connect(make_config())


def test_a_node_must_have_room(make_config):
    cfg = make_config("study.cpus_per_worker=16")
    with pytest.raises(StudyError, match="16 cores"):
        cluster.count_workers(cfg, cluster.needed(cfg, NODES), NODES, queued_only=False)


def test_a_file_is_no_storage_for_two_machines(make_config, monkeypatch):
    hosts = [{"NodeManagerHostname": name} for name in ("a", "b")]
    monkeypatch.setattr(cluster, "living_nodes", lambda: hosts)
    with pytest.raises(StudyError, match="2 machines reach, got SQLite"):
        cluster._check_storage(make_config())
    cluster._check_storage(make_config("study.storage=postgresql+psycopg://a@b/c"))
