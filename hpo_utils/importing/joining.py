"""Samples of one file joined with their reference values, and with those to test of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.endings import ARRAYS, TABLES, ending
from hpo_utils.formats.references import Named, References, read_references, shared_column
from hpo_utils.formats.samples import Samples, read_samples, samples_of_images
from hpo_utils.formats.sources import is_store
from hpo_utils.formats.tables import numbers_in, read_table
from hpo_utils.importing.request import Request


def samples_of(
    request: Request, files: Sequence[Path], remarks: list[str], option: str = "--targets"
) -> tuple[Samples, References]:
    """Return the samples of one file, or of an image each, and the references of each."""
    file = files[0]
    if request.targets is None and request.target_key is not None:
        request = replace(request, targets=file)
    if request.targets is not None and request.id_column is None:
        request = replace(request, id_column=shared_column(file, request.targets))
    given = references_of(request, beside=file)
    named = request.named
    if request.targets is not None:
        told = Named(request.id_column, (), request.split_column, request.weight_column)
        named = _told_in(file, request.targets, told)
    n_samples = None if given is None else len(given.values)
    if len(files) > 1 or file not in request.files:  # images, also one that a folder holds
        samples = samples_of_images(files)
    else:
        samples = read_samples(file, named, request.key, n_samples)
    own = samples.references
    references = given or own
    if references is None or not references.names:
        raise DataError(
            f"targets must be given by {option}, got none beside {file.name}: name them by"
            " --target-key if they are among its arrays"
            if ending(file) in ARRAYS
            else f"targets must be given by {option}, got none beside {file.name}"
        )
    by_id = given is not None and samples.ids is not None and references.ids is not None
    remarks += samples.remarks
    if by_id:
        remarks.append(f"rows joined by {request.id_column or 'their ids'}")
    elif given is not None and given.ids is not None:
        remarks.append(f"rows joined by their order, since {file.name} does not name its samples")
    found = references.at(_rows(samples, references, by_id))
    if given is None or own is None:
        return samples, found
    split = own.split if found.split is None else found.split
    return samples, replace(
        found, split=split, weights=own.weights if found.weights is None else found.weights
    )


def _told_in(path: Path, other: Path, named: Named) -> Named:
    """Return what is named without the columns of parts and weights that ``other`` alone has."""
    columns, others = (
        {column.name for column in read_table(each)} if ending(each) in TABLES else set()
        for each in (path, other)
    )
    split, weights = (
        None if name in others - columns else name for name in (named.split, named.weights)
    )
    return replace(named, split=split, weights=weights)


def followed_by(
    samples: Samples, references: References, test: Samples, of_test: References
) -> tuple[Samples, References]:
    """Return samples and their references with those to test behind them."""
    same_axis = test.axis is not None and test.axis.is_that_of(samples.axis)
    by_name = ending(of_test.path) in TABLES  # arrays of one file have different names
    for what, own, wanted in (
        ("shape", test.values.shape[1:], samples.values.shape[1:]),
        ("channels", test.channels, samples.channels),
        ("axis", samples.axis if same_axis else test.axis, samples.axis),
        ("targets", of_test.names if by_name else references.names, references.names),
        ("number of targets", len(of_test.names), len(references.names)),
        ("units", of_test.units, references.units),
        ("column of weights", of_test.weights is None, references.weights is None),
    ):
        if own != wanted:
            raise DataError(
                f"samples to test must have the same {what}, got {wanted} in"
                f" {references.path.name} and {own} in {of_test.path.name}"
            )
    ids = None
    if samples.ids is not None or test.ids is not None:
        known_ids, test_ids = (
            list(map(str, range(len(each.values)))) if each.ids is None else each.ids
            for each in (samples, test)
        )
        # where ids count from one in each file, or are those of one file alone, none are shared
        apart = numbers_in(test_ids) is not None or numbers_in(known_ids) is not None
        ids = [*known_ids, *(f"test {each}" if apart else each for each in test_ids)]
    values = np.concatenate([samples.values, test.values])
    weights = None
    if references.weights is not None and of_test.weights is not None:
        weights = np.concatenate([references.weights, of_test.weights])
    known = references.split or ["train"] * len(references.values)
    if "val" not in known:  # there, a second part validates
        known = ["val" if part == "test" else part for part in known]
    return replace(samples, values=values, ids=ids), replace(
        references,
        values=np.concatenate([references.values, of_test.values]),
        split=[*known, *["test"] * len(of_test.values)],
        weights=weights,
    )


def _rows(samples: Samples, references: References, by_id: bool) -> NDArray[np.int64]:
    """Return the row of the targets of each sample, by its id or by its order."""
    if by_id:
        return references.rows_of(samples.ids or [])
    if len(samples.values) != len(references.values):
        raise DataError(
            f"inputs and targets must have as many rows, got {len(samples.values)} and"
            f" {len(references.values)}: name the rows of both by an id, or correct them"
        )
    return np.arange(len(samples.values))


def references_of(request: Request, beside: Path | None = None) -> References | None:
    """Return the targets that stand in a file of their own; None if none is named.

    Parts and weights may stand in the table of samples ``beside`` it instead.
    """
    if request.targets is None:
        return None
    if not (request.targets.is_file() or is_store(request.targets)):
        raise DataError(f"--targets must name a file, got {request.targets}")
    named = request.named
    if beside is not None:
        named = _told_in(request.targets, beside, named)
    return read_references(request.targets, request.target_key, named)
