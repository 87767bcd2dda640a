"""What to import, as a command line or a notebook asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.base.paths import resolve
from hpo_utils.data.outliers import without_codes
from hpo_utils.formats.references import Named


@dataclass(frozen=True)
class Request:
    """What to import, as on the command line: ``python -m hpo_utils import --help``."""

    files: Sequence[Path]
    out: Path
    targets: Path | None = None
    key: str | None = None
    target_key: str | None = None
    id_column: str | None = None
    target_columns: Sequence[str] = ()
    split_column: str | None = None
    weight_column: str | None = None
    test: Path | None = None
    test_targets: Path | None = None
    test_key: str | None = None
    test_target_key: str | None = None
    window: int | None = None
    step: int | None = None
    rate: float | None = None
    missing: Sequence[float] = ()
    partly_measured: bool = False
    pad: bool = False
    replace: bool = False

    def __post_init__(self) -> None:
        if self.rate is not None and not (np.isfinite(self.rate) and self.rate > 0):
            raise DataError(f"--rate must be a positive number of Hz, got {self.rate}")
        if self.step is not None and self.window is None:
            raise DataError(
                f"--step tells how far windows are apart, got {self.step} without --window"
            )

    @property
    def named(self) -> Named:
        """The columns that are named."""
        return Named(self.id_column, self.target_columns, self.split_column, self.weight_column)

    @property
    def of_test(self) -> Request | None:
        """What to import as the test part, None if no file or array is told for it."""
        if not any((self.test, self.test_targets, self.test_key, self.test_target_key)):
            return None
        if self.target_key and not (self.test or self.test_targets or self.test_target_key):
            raise DataError(
                "the targets to test must be another array than those to train, got --test-key"
                f" {self.test_key} alone: name them by --test-target-key"
            )
        return replace(
            self,
            files=[self.test or self.files[0]],
            targets=self.test_targets or (self.targets if self.test_target_key else None),
            key=self.test_key or self.key,
            target_key=self.test_target_key or self.target_key,
        )

    def without_codes(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return values as float64, NaN in place of the codes that stand for missing ones."""
        return without_codes(np.asarray(values, dtype=np.float64), self.missing)

    def enough_measured(self, t: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which samples, of targets (n_samples, n_targets), have enough: some, or all."""
        known = np.isfinite(t)
        return np.asarray(known.any(axis=1) if self.partly_measured else known.all(axis=1))

    def left_out(self, t: NDArray[np.float64], what: str) -> list[str]:
        """Return a remark on the samples that lack targets, ``what`` they are, if there are any."""
        enough, some = self.enough_measured(t), np.isfinite(t).any(axis=1)
        if enough.all():
            return []
        if self.partly_measured:
            return [f"{(~enough).sum()} {what} without any target are left out"]
        kept = int((some & ~enough).sum())
        advice = f"; --partly-measured keeps {kept} that have some" if kept else ""
        return [f"{(~enough).sum()} {what} without all targets are left out{advice}"]


def request_of(files: str, targets: str, out: str, id_column: str = "", window: int = 0) -> Request:
    """Return what a notebook asks for; empty text and zero stand for what is not given.

    Paths are absolute or below the project root. An earlier import is written over.
    """
    return Request(
        [resolve(files)],
        resolve(out),
        resolve(targets) if targets else None,
        id_column=id_column or None,
        window=window or None,
        replace=True,
    )
