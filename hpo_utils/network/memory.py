"""The memory of a device: how much is free, freed memory given back, running out of it."""

from __future__ import annotations

import ctypes
import errno
import gc
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil
import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
STRICT_MEMORY = Path("/proc/sys/vm/overcommit_memory")  # 2: Linux promises only what it has
CGROUPS, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
SCARCE = 2**28  # bytes of free memory, with which oneDNN may fail to make room for a step
KEPT_BLOCKS = 2**30  # bytes; smaller blocks stay with the process when they are freed


def free_memory(device: torch.device) -> int:
    """Return the bytes of the device's memory that are free."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min([psutil.virtual_memory().available, *_room_in_groups()])


def _room_in_groups() -> list[int]:
    """Return what the control groups around this process leave it: of a container, of a batch job.

    Pages of files count as free, as Linux takes them back
    (docs.kernel.org/admin-guide/cgroup-v2.html). Nothing where there are no such groups.
    """
    rooms = []
    with suppress(OSError):
        own = OWN_GROUP.read_text(encoding="utf-8").splitlines()
        inside = CGROUPS / next((n[4:] for n in own if n.startswith("0::/")), "")
        for group in (inside, *inside.parents):
            with suppress(OSError, ValueError):  # no such file, or a limit of "max"
                limit, used = (
                    int((group / f"memory.{name}").read_text(encoding="utf-8"))
                    for name in ("max", "current")
                )
                lines = (group / "memory.stat").read_text(encoding="utf-8").splitlines()
                used_for = {name: int(n) for name, n in map(str.split, lines)}
                of_files = used_for["inactive_file"] + used_for["active_file"]
                rooms.append(max(0, limit - used + of_files))
    return rooms


@cache
def keep_freed_memory() -> None:
    """Have the C library keep freed memory for the next step of a training.

    Otherwise each step gives its large tensors back to Linux, which clears every page of them
    before the next step may have it: a tenth of the step. ``release_memory`` gives it back.

    Not where the C library refuses so high a threshold, as older glibc does: the second setting
    alone would switch off the threshold that adapts itself, and a step would take twice as long.

    Not where Linux refuses memory: kept blocks break up, so a batch cut into pieces would not fit
    either, and small requests of libraries that crash on a refusal are refused as well.
    """
    if not _refuses_memory() and _call_c_library("mallopt", M_MMAP_THRESHOLD, KEPT_BLOCKS):
        _call_c_library("mallopt", M_TRIM_THRESHOLD, KEPT_BLOCKS)


def _refuses_memory() -> bool:
    """Return whether Linux refuses this process memory beyond a limit (``ulimit -v``, ``-d``)."""
    if sys.platform != "linux":
        return False
    limits = (psutil.RLIMIT_AS, psutil.RLIMIT_DATA)
    limited = any(psutil.Process().rlimit(each)[0] != psutil.RLIM_INFINITY for each in limits)
    return limited or STRICT_MEMORY.read_text(encoding="utf-8").strip() == "2"


def _call_c_library(function: str, *arguments: int) -> bool:
    """Return whether Linux's C library did what it was told: not all have each function."""
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), function):
        return bool(getattr(library, function)(*arguments))
    return False


def release_memory(device: torch.device) -> None:
    """Give the memory of a training that has ended back, that of the GPU included.

    To be called when its function has returned: an exception, also one that only prunes, holds on
    to the function's tensors in a reference cycle, which only the garbage collector breaks.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.synchronize()
    _call_c_library("malloc_trim", 0)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the error is the device's memory being too small."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError):  # of a file's mapping
        return error.errno == errno.ENOMEM
    if not isinstance(error, RuntimeError):
        return False
    # on the CPU it is a RuntimeError like any other
    sentences = ("allocate memory", "not enough memory", "could not create a memory")
    said = str(error)
    if any(each in said for each in sentences):
        return True
    # oneDNN says this of whatever went wrong; of a descriptor, that there is no such operation
    vague = "could not create a primitive" in said and "descriptor" not in said
    return vague and (_refuses_memory() or free_memory(torch.device("cpu")) < SCARCE)
