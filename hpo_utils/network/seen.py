"""What a network's sight returned for a part, kept in a file for all trainings on the same data.

In short trainings, looking takes as long as learning. What is seen of many samples is as large as
the samples themselves, so that it stays in the file and only the rows of a batch are read.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.lib import format as npy_format
from torch import Tensor

from hpo_utils.base.paths import atomic_path, is_whole_archive

MOST_IN_MEMORY = 2**27  # bytes of a part that are held in a host's memory
ROWS = 10_000  # that are read at a time
NAME = "seen.npy"
LOCAL_HEADER, LENGTHS_AT = 30, 26  # bytes before a member's name and extra field; their lengths
ITEM = np.dtype(np.float32).itemsize


class SeenOnDisk:
    """Rows (n_samples, n_seen), float32, of a file; those asked for are read, and none is kept.

    Parameters
    ----------
    file
        An uncompressed archive from ``write_seen``.
    shape
        (n_samples, n_seen).
    """

    def __init__(self, file: Path, shape: tuple[int, int]) -> None:
        self.file, self.shape = file, shape
        with zipfile.ZipFile(file) as archive:
            member = archive.getinfo(NAME)
        with file.open("rb") as stream:
            stream.seek(member.header_offset + LENGTHS_AT)
            before = LOCAL_HEADER + sum(struct.unpack("<HH", stream.read(4)))
        self.offset = member.header_offset + before + member.file_size - ITEM * math.prod(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """Return rows by a slice or by a tensor of positions."""
        # mapped anew each time, or every page that was read would count as ours until the end
        mapped = np.memmap(self.file, np.float32, "r", self.offset, self.shape)
        at = rows if isinstance(rows, slice) else rows.cpu().numpy()
        return torch.from_numpy(np.array(mapped[at]))

    def columns(self, most: int) -> Tensor:
        """Return the first columns (n_samples, most) of all rows."""
        found = torch.empty(len(self), most)
        for rows in torch.split(torch.arange(len(self)), ROWS):
            found[rows] = self[rows[0] : rows[-1] + 1][:, :most]
        return found

    @property
    def nbytes(self) -> int:
        """The size of all rows."""
        return ITEM * math.prod(self.shape)

    @classmethod
    def found(cls, file: Path, shape: tuple[int, int]) -> Self | None:
        """Return the rows in a file; None if there is none of that shape, or a damaged one."""
        if not is_whole_archive(file):
            return None
        with suppress(Exception):  # a file that is not ours may raise anything, and is written anew
            with zipfile.ZipFile(file) as archive, archive.open(NAME) as stream:
                npy_format.read_magic(stream)
                written = npy_format.read_array_header_1_0(stream)
            return cls(file, shape) if written == (shape, False, np.dtype(np.float32)) else None
        return None


Seen = Tensor | SeenOnDisk


def write_seen(file: Path, shape: tuple[int, int], pieces: Iterable[Tensor]) -> None:
    """Write consecutive pieces of rows (n_samples, n_seen), with a checksum."""
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with (
        atomic_path(file) as temporary,
        zipfile.ZipFile(temporary, "w") as archive,
        archive.open(NAME, "w", force_zip64=True) as stream,
    ):
        npy_format.write_array_header_1_0(stream, header)
        for piece in pieces:
            stream.write(np.ascontiguousarray(piece.cpu().numpy(), "<f4").data)
