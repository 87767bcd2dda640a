"""External causes that end a training early: interrupts, and failures of disks and storages."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from optuna.exceptions import StorageInternalError


@contextmanager
def held_back() -> Iterator[None]:
    """Delay an interrupt (Ctrl-C or a stop button) until the block ends; a second acts at once.

    This does nothing in other threads, since only the main thread receives interrupts, and in
    nested blocks, since the outer block already delays them.
    """
    handler = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or not callable(handler) or isinstance(handler, _Held):
        yield  # nothing to delay
        return
    held = _Held()
    signal.signal(signal.SIGINT, held)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if held.arrived:
            handler(signal.SIGINT, None)


class _Held:
    """Signal handler that records the first interrupt; the second raises KeyboardInterrupt."""

    arrived = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self.arrived:
            signal.default_int_handler(signum, frame)
        self.arrived = True


def was_interrupted(error: BaseException | None) -> bool:
    """Return whether an interrupt caused the error; libraries may wrap it in another error."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def outages() -> tuple[type[Exception], ...]:
    """Return the error classes raised when a disk, a database or a proxy fails."""
    grpc = sys.modules.get("grpc")  # imported only if a proxy is used
    return (OSError, StorageInternalError, *([grpc.RpcError] if grpc else []))
