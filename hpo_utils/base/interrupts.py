"""External causes that end a training early: interrupts, and failures of disks and storages."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from optuna.exceptions import StorageInternalError

Handler = Callable[[int, FrameType | None], Any]  # of a signal


@contextmanager
def held_back() -> Iterator[None]:
    """Delay an interrupt (Ctrl-C or a stop button) until the block ends; a second acts at once.

    This does nothing in other threads, since only the main thread receives interrupts, and in
    nested blocks, since the outer block already delays them.
    """
    handler = _handler()
    if handler is None or isinstance(handler, _Held):
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


@contextmanager
def remembered() -> Iterator[None]:
    """Remember an interrupt within the block, so that ``raise_dropped`` can raise it again.

    Python drops an exception that is raised while an object is destroyed. A signal that arrives
    during a garbage collection is handled just there, so about one stop button in fifteen was lost.
    An interrupt that is still dropped when the block ends is raised there.
    """
    handler = _handler()
    if handler is None:
        yield
        return
    signal.signal(signal.SIGINT, _Remembered(handler))
    try:
        yield
        raise_dropped()
    finally:
        signal.signal(signal.SIGINT, handler)


def raise_dropped() -> None:
    """Raise KeyboardInterrupt if one was raised in the block of ``remembered`` and got lost."""
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, _Remembered) and handler.arrived:
        raise KeyboardInterrupt


def _handler() -> Handler | None:
    """Return what handles interrupts; None in other threads, and where they are ignored."""
    handler = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    return handler if in_main and callable(handler) else None


class _Remembered:
    """Signal handler that records an interrupt before another handler raises it."""

    def __init__(self, handler: Handler) -> None:
        self.handler, self.arrived = handler, False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self.arrived = True
        self.handler(signum, frame)


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
