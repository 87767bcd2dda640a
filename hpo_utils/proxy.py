"""Optuna's gRPC proxy: one process talks to the database for the workers of many machines."""

from __future__ import annotations

import importlib
import warnings

from optuna.exceptions import ExperimentalWarning

from hpo_utils.config import Config
from hpo_utils.errors import HpoError
from hpo_utils.storage import GRPC, open_storage


def serve_proxy(cfg: Config, host: str, port: int) -> None:
    """Answer for ``study.storage`` at ``grpc://<host>:<port>`` until interrupted.

    Who reaches the port may read and change every study: it knows no passwords, so another host
    than this machine's loopback belongs on a private network.

    Raises
    ------
    HpoError
        If grpcio is not installed, the storage is a proxy itself, or the port is taken.
    """
    if str(cfg.study.storage).startswith(GRPC):
        raise HpoError(
            f"study.storage must be the database behind the proxy, got {cfg.study.storage}"
        )
    try:
        importlib.import_module("grpc")  # Optuna asks for it only when it is about to serve
        from optuna.storages import run_grpc_proxy_server

        storage = open_storage(cfg)
        print(f"{GRPC}{host}:{port} answers for {cfg.study.storage}, Ctrl-C ends it", flush=True)
        with warnings.catch_warnings():  # known: docs/scale.md says so
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
