"""Two servers for a study's storage: Optuna's dashboard, and its gRPC proxy for many machines."""

from __future__ import annotations

import importlib
import warnings

from optuna.exceptions import ExperimentalWarning

from hpo_utils.base.config import Config
from hpo_utils.base.errors import HpoError
from hpo_utils.base.paths import resolve
from hpo_utils.trials.storage import GRPC, artifact_store, default_database, open_storage

HOST = "127.0.0.1"  # the dashboard has no authentication


def serve_proxy(cfg: Config, host: str, port: int) -> None:
    """Serve ``study.storage`` at ``grpc://<host>:<port>`` until interrupted.

    There is no authentication: anyone who reaches the port can read and change every study. So use
    an address other than this machine's loopback only on a private network.

    Raises
    ------
    HpoError
        If grpcio is not installed, the storage is a proxy itself, or the port is taken.
    """
    if str(cfg.study.storage).startswith(GRPC):
        raise HpoError(
            f"study.storage must be the database behind the proxy, got {cfg.study.storage}"
        )
    if not 0 < port < 2**16:
        raise HpoError(f"--port must lie between 1 and {2**16 - 1}, got {port}")
    try:
        importlib.import_module("grpc")  # fail early: Optuna imports it only to serve
        from optuna.storages import run_grpc_proxy_server

        storage = open_storage(cfg)
        behind = cfg.study.storage or default_database(cfg)
        print(f"{GRPC}{host}:{port} answers for {behind}, Ctrl-C ends it", flush=True)
        with warnings.catch_warnings():  # documented in docs/scale.md
            warnings.simplefilter("ignore", ExperimentalWarning)
            run_grpc_proxy_server(storage, host=host, port=port)
    except ImportError:
        raise HpoError("grpcio must be installed for this: pip install -e '.[grpc]'") from None
    except RuntimeError as error:
        raise HpoError(
            f"--host and --port must name a free port, got {host}:{port}: {error}"
        ) from None
    except KeyboardInterrupt:
        pass


def serve(cfg: Config, port: int) -> None:
    """Show all studies of ``study.storage`` at ``http://127.0.0.1:<port>`` until interrupted.

    Raises
    ------
    HpoError
        If optuna-dashboard is not installed, or the port is taken.
    """
    try:
        from optuna_dashboard import run_server
    except ImportError:
        raise HpoError(
            "optuna-dashboard must be installed for this, but is not: run make dashboard, or pip"
            " install -e '.[dashboard]'"
        ) from None
    storage, store = open_storage(cfg), artifact_store(resolve(cfg.paths.outputs_root))
    print(f"http://{HOST}:{port}/dashboard, Ctrl-C ends it", flush=True)
    try:
        run_server(storage, host=HOST, port=port, artifact_store=store)
    except (OSError, OverflowError) as error:
        raise HpoError(
            f"--port must name a free port, got {port}: {error}; name another one"
        ) from None
