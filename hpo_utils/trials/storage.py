"""The Optuna storage of trials and its user attributes, and the pruner.

Besides its parameters and scores, a trial has these user attributes in Optuna:

output_dir    the trial's directory, below ``outputs_root``
owner         the process that runs the trial, and since when
died          epochs done when a process last died, and how many died in a row at that epoch
effort        seconds by phase, utilisation, epochs planned (``timing.Effort``)
failure       why the trial failed, or why it was pruned if not by the pruner
best_epoch    the epoch whose weights are kept
mark          what the process that enqueued the trial knows it by
fold_scores   the score on each fold, if it is the mean over several (``score_folds``)
val_r2        R² of each target on the validation part
same_as       the trial with the same parameters whose outcome this one took over
carried_from  the study and trial that this trial was copied from

A study has these user attributes:

signature     what all trials share: data, space, score, physics, settings that are not searched
companion_of  the study whose winner this study helps to settle; None or missing if it is a user's
target_names  the targets' current names in the data
n_trials      number of finished trials that the study is to have
settled       the trainings that make up the winner
worker …      one attribute per participating process, like ``owner``
"""

from __future__ import annotations

import sqlite3
import time
import uuid
import warnings
import weakref
from collections.abc import Iterable
from contextlib import closing
from inspect import isfunction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, GrpcStorageProxy, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL, Connection, Engine, event, make_url
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

from hpo_utils.base.config import Config
from hpo_utils.base.errors import StudyError
from hpo_utils.base.interrupts import held_back
from hpo_utils.base.paths import resolve

GRPC = "grpc://"
Trials = Iterable[FrozenTrial]
AT_ONCE = (IntegrityError, OperationalError, ProgrammingError)  # if two processes create the tables
# suffixes of the companion studies, and what each holds
AGAIN, RANDOM_SPLIT, ALL_FOLDS = "again", "random-split", "all-folds"
FOLD_SUFFIX = "fold"  # followed by a fold number: a search on another fold
AFTERWARDS = {
    AGAIN: "its best again, on fresh seeds",
    RANDOM_SPLIT: "its winner, split at random",
    ALL_FOLDS: "its winner, on the other folds",
}
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
SQLITE_TIMEOUT = 60  # seconds to wait for another process's lock
CONNECT_S = 10  # seconds within which a database server must answer
CREATION_S = 5  # seconds within which another process finishes creating the tables


def open_storage(cfg: Config) -> BaseStorage:
    """Open the database that ``study.storage`` names, by default SQLite below ``outputs_root``.

    PostgreSQL reads its password from ``PGPASSWORD`` or ``~/.pgpass``; ``grpc://host:port`` is a
    proxy in front of a database (``python -m hpo_utils proxy``).

    Raises
    ------
    StudyError
        If it is not an Optuna database, or does not answer.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # we print our own line per trial
    url = cfg.study.storage
    arguments: dict[str, Any] = {}
    if url is None:
        database = default_database(cfg)
        database.parent.mkdir(parents=True, exist_ok=True)
        url = URL.create("sqlite", database=str(database)).render_as_string()
    if url.startswith(GRPC):
        return _open_proxy(url)
    if url.startswith("sqlite"):
        arguments = {"connect_args": {"timeout": SQLITE_TIMEOUT}}
    elif url.startswith("postgresql"):
        # a server restart drops the connections in the pool
        arguments = {"pool_pre_ping": True, "connect_args": {"connect_timeout": CONNECT_S}}
    until = time.monotonic() + CREATION_S
    while True:  # another process may be creating the tables right now
        try:
            storage = _connect(url, arguments)
            break
        except SQLAlchemyError as error:
            if time.monotonic() > until or not isinstance(error, AT_ONCE):
                raise _not_optunas(url, error) from None
            time.sleep(0.2)
        except (StorageInternalError, sqlite3.Error, RuntimeError, ImportError) as error:
            raise _not_optunas(url, error) from None
    engine = storage.engine
    weakref.finalize(storage, engine.dispose)  # close the connections with it, not some time later
    if engine.dialect.name == "sqlite" and engine.url.database not in (None, "", ":memory:"):
        _one_at_a_time(engine)
    return storage


def _open_proxy(url: str) -> BaseStorage:
    address = urlsplit(url)
    try:
        with warnings.catch_warnings():  # expected, see docs/scale.md
            warnings.simplefilter("ignore", ExperimentalWarning)
            storage = GrpcStorageProxy(host=address.hostname or "", port=address.port or 0)
        storage.wait_server_ready(CONNECT_S)
    except ImportError:
        raise StudyError(
            f"study.storage {url} needs grpcio, which is not installed: pip install -e '.[grpc]'"
        ) from None
    except (ConnectionError, ValueError) as error:
        raise StudyError(
            f"study.storage must be the address of a proxy that answers, got {url}: {error}; start"
            " it with python -m hpo_utils proxy"
        ) from None
    return storage


class Database(RDBStorage):
    """Optuna's database storage, in which an interrupt waits until the current call is finished.

    The traceback of an interrupt in the middle of a call would keep a cursor alive, and with it the
    locks of its transaction, so that no process could write any more: SQLite, for example, locks
    the whole file.
    """


for name, method in vars(RDBStorage).items():
    if isfunction(method) and not name.startswith("__"):
        setattr(Database, name, held_back()(method))


def _connect(url: str, arguments: dict[str, Any]) -> Database:
    if url.startswith("sqlite"):
        parsed = make_url(url)
        if parsed.database not in (None, "", ":memory:"):
            parsed = parsed.set(database=str(resolve(parsed.database)))
            _check_database(Path(str(parsed.database)))
        url = parsed.render_as_string(hide_password=False)
    return Database(url, engine_kwargs=arguments)


def _not_optunas(url: str, error: Exception) -> StudyError:
    if isinstance(error, ImportError):
        return StudyError(
            f"study.storage {url} needs a driver that is not installed: for"
            " postgresql+psycopg://, pip install -e '.[postgres]'"
        )
    reason = str(error).splitlines()[0]
    return StudyError(
        f"study.storage must be a database of Optuna's, got {url}: {reason}; name another one"
    )


def _check_database(file: Path) -> None:
    """Raise RuntimeError if an SQLite file has tables that are not Optuna's.

    Optuna would add its tables to another program's before it complains. A process that was killed
    while creating the tables leaves the first ones, which Optuna completes. A process that was
    killed while writing leaves a journal, which the first reader rolls back: ``mode=ro`` could not.
    """
    if not file.is_file():
        return
    address = f"{file.absolute().as_uri()}?mode=rw"  # does not create the file
    with closing(sqlite3.connect(address, uri=True, timeout=SQLITE_TIMEOUT)) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        ).fetchall()
        columns = connection.execute("PRAGMA table_info(studies)").fetchall()
    if tables and not {"study_id", "study_name"} <= {column[1] for column in columns}:
        raise RuntimeError("it has tables of another program")


def _one_at_a_time(engine: Engine) -> None:
    """Make SQLite lock at the start of a transaction, not at its first write.

    Optuna reads that a trial is waiting, then takes it. SQLite does not support the row lock that
    Optuna uses in other databases, so two workers could take the same trial. See "Serializable
    isolation / Savepoints / Transactional DDL" in SQLAlchemy's documentation of SQLite.
    """

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def lock(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # earlier connections lack these listeners


def default_database(cfg: Config) -> Path:
    """Return the path of the SQLite file that is used when no storage is named."""
    return resolve(cfg.paths.outputs_root) / "optuna" / "study.db"


def artifact_store(outputs_root: Path) -> FileSystemArtifactStore:
    """Return the store in which optuna-dashboard finds the trials' figures."""
    directory = outputs_root / "optuna" / "artifacts"
    directory.mkdir(parents=True, exist_ok=True)
    return FileSystemArtifactStore(str(directory))


def create_pruner(cfg: Config) -> optuna.pruners.BasePruner:
    """Return the pruner; without one Optuna would choose its own."""
    if cfg.study.pruner == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(cfg.study.n_startup_trials, cfg.study.n_warmup_steps)


def best_of(trials: Trials) -> FrozenTrial | None:
    """Return the complete trial with the lowest score; None if no trial is complete."""
    complete = [t for t in trials if t.state == TrialState.COMPLETE and t.value is not None]
    return min(complete, key=score_of, default=None)


def read_signature(study: optuna.Study) -> dict[str, Any]:
    """Return the signature of a study, empty if it has none.

    Before version 0.3 every score was that of one validation part.
    """
    found = study.user_attrs.get("signature")
    return {"score_folds": 1, **found} if found else {}


def score_of(trial: FrozenTrial) -> float:
    """Return a trial's score; infinity if it has none."""
    return float("inf") if trial.value is None else trial.value


def stored_trial(study: optuna.Study, number: int) -> FrozenTrial:
    """Return a trial as it is stored now, without reading all others as ``Study.trials`` does."""
    storage = study._storage
    return storage.get_trial(
        storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    )


def trial_seconds(trial: FrozenTrial) -> float | None:
    """Return how long a trial took; None if it has not ended.

    For an interrupted trial Optuna knows only the duration of the last run; the trial's own
    ``effort`` covers all runs.
    """
    if trial.duration is None:
        return None
    own: float = trial.user_attrs.get("effort", {}).get("seconds", 0.0)
    return max(trial.duration.total_seconds(), own)


def enqueued_params(trial: FrozenTrial) -> dict[str, Any] | None:
    """Return the parameters that a trial was enqueued with; None if the sampler suggested it."""
    return trial.system_attrs.get("fixed_params")


def enqueue(study: optuna.Study, params: dict[str, Any]) -> None:
    """Enqueue a trial, and take it back if another process enqueued the same just before.

    Two machines that start at the same moment both see that nobody has enqueued it.
    """
    mark = uuid.uuid4().hex
    study.enqueue_trial(params, user_attrs={"mark": mark})
    unfinished = study.get_trials(deepcopy=False, states=(TrialState.WAITING, TrialState.RUNNING))
    same = [trial for trial in unfinished if enqueued_params(trial) == params]
    storage = study._storage
    for mine in (trial._trial_id for trial in same[1:] if trial.user_attrs.get("mark") == mark):
        # unless a worker has begun it meanwhile: only one process can set it running
        if storage.set_trial_state_values(mine, TrialState.RUNNING):
            storage.set_trial_user_attr(mine, "same_as", same[0].number)
            storage.set_trial_state_values(mine, TrialState.FAIL)


def count_finished(study: optuna.Study) -> int:
    """Return how many trials are complete or pruned."""
    return len(study.get_trials(deepcopy=False, states=FINISHED))


def stored_names(storage: BaseStorage, name: str) -> list[str]:
    """Return the names of the stored studies ``name`` or ``name-<time stamp>``, newest first."""
    stamped = len("-YYYYMMDD-HHMMSS")
    names = [
        stored
        for stored in optuna.get_all_study_names(storage)
        if stored == name
        or (stored[:-stamped] == name and stored[-stamped:].replace("-", "").isdigit())
    ]
    return sorted(names, reverse=True)
