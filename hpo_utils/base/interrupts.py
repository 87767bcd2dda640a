"""What cuts a training short that is not at fault: interrupts, and disks and storages that fail."""

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
    """Have an interrupt, by ctrl-C or a stop button, wait for the block's end; a second does not.

    Only the main thread gets interrupts, so that nothing is done in others, nor in a block within
    a block.
    """
    handler = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or not callable(handler) or isinstance(handler, _Held):
        yield  # there is nothing to hold back
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
    """Takes note of an interrupt; raises KeyboardInterrupt at the second, as someone insists."""

    arrived = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self.arrived:
            signal.default_int_handler(signum, frame)
        self.arrived = True


def was_interrupted(error: BaseException | None) -> bool:
    """Return whether an interrupt is behind the error: libraries on the way may hide it."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def outages() -> tuple[type[Exception], ...]:
    """Return the errors of a disk, a database or a proxy that fails."""
    grpc = sys.modules.get("grpc")  # there if a proxy is used
    return (OSError, StorageInternalError, *([grpc.RpcError] if grpc else []))
