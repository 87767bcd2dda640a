"""Fixtures shared by the tests: small arrays, a configuration that writes to a temporary place."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from hpo_utils.base.config import Config, load_config
from hpo_utils.base.errors import StudyError
from hpo_utils.base.language import ENGLISH, language
from hpo_utils.base.paths import project_root

if TYPE_CHECKING:  # slow to import, and not needed by every test
    import optuna

    from hpo_utils.data.prepared import PreparedData

if n_processes := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):  # that share the cores
    n_threads = max(1, (os.cpu_count() or 1) // int(n_processes))
    os.environ["OMP_NUM_THREADS"] = str(n_threads)
    threadpool_limits(n_threads, user_api="blas")  # of NumPy, which is loaded already
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # a shell starts background jobs so, and every process that a test starts would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

# modules whose tests run whole studies, other processes or servers, the longest first
SLOW = (
    "test_cluster", "test_storage_trouble", "test_postgres", "test_kills", "test_damaged_files",
    "test_search", "test_nbmake", "test_browser", "test_pipeline", "test_notebooks", "test_proxy",
    "test_reevaluation", "test_settle", "test_at_home", "test_folds", "test_recipes",
    "test_bad_input", "test_by_hand", "test_checkpoints", "test_kinds", "test_agreement",
    "test_companions", "test_logarithmic", "test_budget", "test_out_of_memory", "test_kernel",
    "test_partly_measured", "test_missing_values", "test_bundle", "test_adaptation",
    "test_finetuning", "test_japanese", "test_storage", "test_processes", "test_weights",
    "test_data_memory", "test_real_data",
)  # fmt: skip
PUBLIC_DATA = Path(os.environ.get("HPO_PUBLIC_DATA", project_root().parent / "shared" / "data"))


def pytest_report_header() -> str:
    state = "found" if PUBLIC_DATA.is_dir() else "absent: tests on real data are skipped"
    return f"public data sets: {state}"


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., Config]:
    """Return a function that loads smoke.yaml with overrides; results go to tmp_path / runs."""

    def make(*overrides: str, **dotted: Any) -> Config:
        root = {"paths.outputs_root": str(tmp_path / "runs")}
        return load_config("params/smoke.yaml", overrides, **{**root, **dotted})

    return make


@pytest.fixture
def make_arrays(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Return a function that saves x and t and returns the configuration's values for them.

    Without arguments x is (40, 4, 8, 12) and t is (40, 2).
    """

    def make(x: Any = None, t: Any = None, **more: Any) -> dict[str, Any]:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(40, 4, 8, 12)).astype(np.float32) if x is None else x
        t = rng.normal(size=(len(x), 2)).astype(np.float32) if t is None else t
        np.save(tmp_path / "x.npy", x, allow_pickle=x.dtype == object)
        np.save(tmp_path / "t.npy", t, allow_pickle=t.dtype == object)
        return {
            "dataset.x_train": str(tmp_path / "x.npy"),
            "dataset.t_train": str(tmp_path / "t.npy"),
            **more,
        }

    return make


@pytest.fixture(scope="session")
def settled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, optuna.Study]:
    """Return the configuration of a small study of the demo, and the study, its winner settled.

    Read only: its files serve all tests.
    """
    from filelock import FileLock

    from hpo_utils.study.search import run_study
    from hpo_utils.winner.settle import settle_winner

    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of all processes: the first makes the study, the others find it
    cfg = load_config(
        "params/smoke.yaml",
        [
            f"paths.outputs_root={base / 'settled'}",
            "data_split.n_folds=5",
            "dataset.target_repeatability=[0.1, null, 0.1, 0.01, null, 9]",
            "dataset.input_noise=[0.1, 0, 0.1, 0]",
            "study.trial_figures=true",
        ],
    )
    with FileLock(base / "settled.lock"):
        study = run_study(cfg)
        settle_winner(study, cfg)
    return cfg, study


@pytest.fixture(scope="session")
def home(settled: tuple[Config, optuna.Study]) -> tuple[Path, np.ndarray, PreparedData]:
    """The bundle's directory, the raw arrays it was made from, and its data."""
    from hpo_utils.base.paths import resolve
    from hpo_utils.data.prepared import load_prepared
    from hpo_utils.winner.settle import winner_directory

    cfg, study = settled
    root = resolve(cfg.paths.outputs_root)
    data = load_prepared(root, study.user_attrs["signature"]["dataset_id"])
    raw = np.load(data.manifest["sources"][0]["path"])
    return winner_directory(root, study.study_name) / "bundle", raw, data


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the training by a function of the parameters: for tests of the study alone."""
    from hpo_utils.trials import objective

    def train(cfg, output_dir, data, on_epoch, identity, effort, stop):
        score = cfg.model.dropout_rate + cfg.training.learning_rate
        on_epoch(1, score)
        return {"score": score, "best_epoch": 1, "val_targets": {"a": {"r2": 0.5}}}

    monkeypatch.setattr(objective, "train_trial", train)
    monkeypatch.setattr("hpo_utils.study.search.draw_best", lambda *_: None)  # it left no files


def study_of(n_complete: int, n_pruned: int = 0) -> optuna.Study:
    """Return a study in memory whose score ``model.hidden`` decides."""
    import optuna
    from optuna.trial import TrialState, create_trial

    distributions = {
        "training.learning_rate": optuna.distributions.FloatDistribution(1e-5, 1e-2, log=True),
        "model.hidden": optuna.distributions.IntDistribution(32, 128, step=16),
        "model.use_residual": optuna.distributions.CategoricalDistribution([True, False]),
    }
    study = optuna.create_study()
    rng = np.random.default_rng(0)
    for i in range(n_complete + n_pruned):
        params = {
            "training.learning_rate": float(10 ** rng.uniform(-5, -2)),
            "model.hidden": int(rng.choice(range(32, 129, 16))),
            "model.use_residual": bool(rng.random() < 0.5),
        }
        score = params["model.hidden"] / 128 + 0.01 * rng.random()
        study.add_trial(create_trial(
            state=TrialState.COMPLETE if i < n_complete else TrialState.PRUNED,
            value=score, params=params, distributions=distributions,
            intermediate_values={1: 1.0, 2: score},
        ))  # fmt: skip
    return study


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the fast tests first, and mark the slow ones, which ``make quick`` leaves out."""
    for item in items:
        if item.path.stem in SLOW or "settled" in item.fixturenames:
            item.add_marker("slow")
    items.sort(key=lambda item: SLOW.index(item.path.stem) if item.path.stem in SLOW else -1)


@pytest.fixture(scope="module", autouse=True)
def spare_the_collector() -> Iterator[None]:
    """Leave what all tests share to itself: each trial of a test collects garbage."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def spare_it_what_is_new() -> None:
    """Leave what the tests before have loaded to itself as well, but for their garbage."""
    gc.freeze()


@pytest.fixture(autouse=True)
def in_english() -> Iterator[None]:
    """Have each test begin in English; a report of a test before may have chosen another."""
    with language(ENGLISH):
        yield


@pytest.fixture
def interruptible():
    """Have this process take interrupts, which a shell has background processes ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def outlives(make_config, tmp_path):
    """Return a function that ends the storage of a study in the midst of its trials.

    Every trial must wait with its checkpoint then, and go on from it when the storage is back.
    """
    from hpo_utils.study.search import run_study
    from hpo_utils.training.directory import read_trial_info

    def check(storage: str, n_workers: int, end: Callable[[], None], begin: Callable[[], None]):
        cfg = make_config(
            "study.n_trials=2", "training.epochs=120", "training.patience=null",
            "study.checkpoint_every_s=0", f"study.n_workers={n_workers}",
            **{"study.storage": storage, "study.name": f"outlives-{n_workers}"},
        )  # fmt: skip
        runs = tmp_path / "runs"

        def end_in_the_midst():
            while len(list(runs.glob("20*/*/checkpoint.pt"))) < n_workers:
                time.sleep(0.05)
            end()

        thread = threading.Thread(target=end_in_the_midst, daemon=True)
        thread.start()
        with pytest.raises(StudyError, match="storage must be usable, but there was"):
            run_study(cfg)
        thread.join()
        assert len(list(runs.glob("20*/*/checkpoint.pt"))) == n_workers
        infos = [read_trial_info(file.parent) for file in runs.glob("20*/*/trial_info.yaml")]
        assert [info["state"] for info in infos] == ["WAITING"] * n_workers
        begin()
        trials = run_study(cfg).trials
        assert [trial.state.name for trial in trials] == ["COMPLETE"] * 2
        infos = [read_trial_info(runs / trial.user_attrs["output_dir"]) for trial in trials]
        assert sum(bool(info["restarts"]) for info in infos) == n_workers

    return check


@pytest.fixture
def run_onnx(tmp_path):
    """Return a function that exports a model for two samples and runs the file on all."""

    import onnxruntime
    import torch

    def run(model, x):
        file = tmp_path / "exported.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the shapes are fixed, but for the first axis
            torch.onnx.export(
                model.eval(), (x[:2],), file, dynamo=False, opset_version=17, input_names=["x"],
                dynamic_axes={"x": {0: "n"}},
            )  # fmt: skip
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        return session.run(None, {"x": x.numpy()})[0]

    return run
