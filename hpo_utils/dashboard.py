"""optuna-dashboard on the studies of a storage, with the figures of each trial."""

from __future__ import annotations

from hpo_utils.config import Config
from hpo_utils.errors import HpoError
from hpo_utils.paths import resolve
from hpo_utils.storage import artifact_store, open_storage

HOST = "127.0.0.1"  # the dashboard knows no passwords


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
