"""Device memory: free bytes, release of freed memory, out-of-memory errors."""

from __future__ import annotations

import ctypes
import errno
import gc
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import torch

STRICT_MEMORY = Path("/proc/sys/vm/overcommit_memory")  # 2: Linux never overcommits
CGROUPS, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
SCARCE = 2**28  # bytes; with less free memory, oneDNN may fail to allocate for a step


def free_memory(device: torch.device) -> int:
    """Return the device's free memory in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min([psutil.virtual_memory().available, *_room_in_groups()])


def _room_in_groups() -> list[int]:
    """Return the bytes left in each control group of this process (container, batch job).

    Pages of files count as free, since Linux reclaims them
    (docs.kernel.org/admin-guide/cgroup-v2.html). The list is empty without such groups.
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


def _refuses_memory() -> bool:
    """Return whether Linux limits this process's memory (``ulimit -v``, ``-d``, no overcommit)."""
    if sys.platform != "linux":
        return False
    limits = (psutil.RLIMIT_AS, psutil.RLIMIT_DATA)
    limited = any(psutil.Process().rlimit(each)[0] != psutil.RLIM_INFINITY for each in limits)
    return limited or STRICT_MEMORY.read_text(encoding="utf-8").strip() == "2"


def release_memory(device: torch.device) -> None:
    """Release the memory of a finished training, including GPU memory.

    Call this after the training function has returned: an exception, even one that only prunes,
    keeps the function's tensors in a reference cycle, which only the garbage collector breaks.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.synchronize()
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)  # not every C library has it


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the error means that the device ran out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError):  # from mapping a file
        return error.errno == errno.ENOMEM
    if not isinstance(error, RuntimeError):
        return False
    # on the CPU PyTorch raises a plain RuntimeError
    sentences = ("allocate memory", "not enough memory", "could not create a memory")
    said = str(error)
    if any(each in said for each in sentences):
        return True
    # oneDNN says this after any failure; with "descriptor", the operation does not exist
    vague = "could not create a primitive" in said and "descriptor" not in said
    return vague and (_refuses_memory() or free_memory(torch.device("cpu")) < SCARCE)
