"""Data preparation: find prepared data, or check, split, standardise and write them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from hpo_utils.base.config import Config, as_dict, updated
from hpo_utils.base.errors import DataError
from hpo_utils.base.paths import (
    read_mapping,
    resolve,
    whole_directory,
    writable_directory,
    write_json,
    write_npy,
)
from hpo_utils.base.settings import DatasetConfig
from hpo_utils.data import synthetic
from hpo_utils.data.checks import (
    channel_indices,
    check_downsampling,
    check_measured,
    check_shapes,
    count_rows,
    fit_target_scaler,
    sample_weights,
    scan_inputs,
    scan_targets,
)
from hpo_utils.data.labels import find_labels, labelled_physics
from hpo_utils.data.outliers import without_codes
from hpo_utils.data.physics import check_positive, check_targets
from hpo_utils.data.prepared import MANIFEST_VERSION, PreparedData, input_scaler
from hpo_utils.data.scaling import in_blocks
from hpo_utils.data.split import PARTS, group_ids, part_words, split_indices
from hpo_utils.data.whole import is_whole, opens
from hpo_utils.formats.opening import open_array
from hpo_utils.formats.references import Named, shared_column
from hpo_utils.formats.sources import ArraySource, describe, sha256

RATIOS = ("train_ratio", "val_ratio", "test_ratio")
DECISIVE = ("name", "x_key", "t_key", "groups_key", "exclude_channels", "limit")


@dataclass(frozen=True)
class Source:
    """The arrays of a configuration, with checked headers; no value has been read.

    ``arrays`` are inputs, targets and, if given, groups; ``labels`` is the result of
    ``find_labels``; ``split`` (n_samples,) is the given part of each sample and ``weights``
    (n_samples,) how much it counts, None if not given.
    ``cfg`` contains the paths of the arrays, also for the demo data.
    """

    cfg: Config
    arrays: list[ArraySource]
    labels: dict[str, Any]
    split: NDArray[np.str_] | None = None
    weights: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Header:
    """Properties of the data known before anything is written.

    ``shape`` is that of the inputs in the source; ``n_rows`` is the length of H (or L), the axis
    that is downsampled; ``source`` is None as long as the demo data have not been simulated.
    """

    target_names: list[str]
    shape: tuple[int, ...]
    n_rows: int
    source: Source | None


def read_header(cfg: Config) -> Header:
    """Read and check the headers of the arrays; write nothing.

    Raises
    ------
    DataError
        If the arrays are missing, malformed, or do not fit each other.
    """
    if cfg.dataset.x_train is None and not opens(_simulated(cfg)):
        check_downsampling(cfg.synthetic.n_pulses, cfg.dataset.downsample_factor)
        simulated = cfg.synthetic
        names = list(synthetic.TARGET_NAMES)
        size = len(synthetic.CHANNEL_NAMES), simulated.n_pulses, simulated.n_depths
        return Header(names, (simulated.n_samples, *size), simulated.n_pulses, None)
    source = _open_source(cfg)
    shape = source.arrays[0].shape
    n_rows = count_rows(shape)
    return Header(list(source.labels["target_names"]), tuple(shape), n_rows, source)


def prepare_data(cfg: Config, header: Header | None = None) -> PreparedData:
    """Prepare the data for ``cfg``, or find data prepared earlier.

    A second call with the same sources and settings reads only headers and manifests; with
    ``header`` it does not read the headers either.

    Raises
    ------
    DataError
        If the arrays are missing, malformed, or do not fit each other or the split. In that case
        nothing has been written.
    """
    source = header.source if header is not None else None
    source = _open_source(cfg) if source is None else source
    found = _find_prepared(source)
    if found is None:
        return _prepare(source)
    found, names = _without_outliers(found, source), source.labels
    if any(found.manifest.get(key) != value for key, value in names.items()):
        check_targets(found.all_targets(), labelled_physics(names), names["target_names"])
        return _with_manifest(found.directory, {**found.manifest, **names})
    return found


def find_prepared(header: Header) -> PreparedData | None:
    """Return the data if they are already prepared, otherwise None; write nothing."""
    if header.source is None:
        return None
    found = _find_prepared(header.source)
    if found is None:
        return None
    return PreparedData(found.directory, {**found.manifest, **header.source.labels})


def with_source(cfg: Config) -> Config:
    """Return ``cfg`` with array paths; if it has none, simulate the demo data and add theirs.

    The demo data are written once, to ``<outputs_root>/data/source/``, and then treated like a
    user's own arrays.
    """
    if cfg.dataset.x_train is not None:
        return cfg
    size, directory = cfg.synthetic, _simulated(cfg)
    if not opens(directory):
        writable_directory(cfg.paths.outputs_root, "paths.outputs_root")
        x, t = synthetic.make_demo_data(size.n_samples, size.n_pulses, size.n_depths, size.seed)
        with whole_directory(directory, replace=directory.is_dir()) as partial:
            write_npy(partial / "x_train.npy", x)
            write_npy(partial / "t_train.npy", t)
    return updated(
        cfg,
        {
            "dataset.x_train": str(directory / "x_train.npy"),
            "dataset.t_train": str(directory / "t_train.npy"),
            "dataset.channel_names": list(synthetic.CHANNEL_NAMES),
            "dataset.target_names": list(synthetic.TARGET_NAMES),
            "dataset.target_units": list(synthetic.TARGET_UNITS),
            "dataset.axis_names": ["pulse", "depth"],
            "dataset.fractions": list(synthetic.FRACTIONS),
            "dataset.non_negative": list(synthetic.VELOCITIES),
        },
    )


def _simulated(cfg: Config) -> Path:
    """Return the directory for simulated arrays of this size and seed; it may not exist yet."""
    size = cfg.synthetic
    folder = f"demo-{size.n_samples}x{size.n_pulses}x{size.n_depths}-seed{size.seed}"
    return _data_root(cfg) / "source" / folder


def _open_source(cfg: Config) -> Source:
    """Open the arrays of a configuration and check their headers; simulate demo data if needed."""
    cfg = with_source(cfg)
    own = cfg.dataset
    files = [resolve(str(file)) for file in (own.x_train, own.t_train)]
    named = _columns(own, *(file.resolve() for file in files))  # whichever way they are written
    x = open_array(files[0], own.x_key, "dataset.x_train", named=named)
    t = open_array(files[1], own.t_key, "dataset.t_train", named=named, inputs=files[0])
    if x.ids and t.ids and x.ids != t.ids:
        raise DataError(
            f"{x.path.name} and {t.path.name} must name the same samples in the same order, but do"
            " not: python -m hpo_utils import joins them by their ids"
        )
    check_shapes(x, t, cfg.dataset.downsample_factor, cfg.dataset.channel_names)
    arrays = [x, t]
    if cfg.dataset.groups is not None:
        path = resolve(cfg.dataset.groups)
        arrays.append(open_array(path, cfg.dataset.groups_key, "dataset.groups", kinds="iufbUS"))
    split = None
    if cfg.dataset.split is not None:
        file, key = resolve(cfg.dataset.split), cfg.dataset.split_key
        split = part_words(open_array(file, key, "dataset.split", kinds="iufUS").read(), x.shape[0])
    weights = None
    if cfg.dataset.weights is not None:
        file, key = resolve(cfg.dataset.weights), cfg.dataset.weights_key
        weights = sample_weights(open_array(file, key, "dataset.weights").read(), x.shape[0])
    return Source(cfg, arrays, find_labels(cfg, x, t), split, weights)


def _columns(own: DatasetConfig, x: Path, t: Path) -> Named:
    """Return what is known of the columns, where inputs and targets are in tables."""
    beside = [(own.groups, own.groups_key), (own.split, own.split_key),
              (own.weights, own.weights_key)]  # fmt: skip
    others = [
        key for file, key in beside
        if file is not None and key is not None and resolve(file).resolve() in (x, t)
    ]  # fmt: skip
    shared = shared_column(x, t) if x.is_file() and t.is_file() else None
    return Named(ids=shared, targets=own.target_names or (), others=others)


def _settings(source: Source) -> dict[str, Any]:
    """Return the settings that determine the prepared arrays; names and units do not."""
    cfg = source.cfg
    sections = as_dict(cfg)
    given: dict[str, Any] = {}
    if cfg.dataset.missing_values:
        given["missing_values"] = [str(code) for code in cfg.dataset.missing_values]
    if cfg.dataset.partly_measured:
        given["partly_measured"] = True
    if source.labels["logarithmic"]:
        given["logarithmic"] = source.labels["logarithmic"]
    if source.split is not None:
        given |= {"split": hashlib.sha256("".join(source.split.tolist()).encode()).hexdigest()}
    if source.weights is not None:
        given |= {"weights": hashlib.sha256(source.weights.tobytes()).hexdigest()}
    unused = ("val_fold", *(RATIOS if cfg.data_split.n_folds else ("n_folds", "fold")))
    return {
        "dataset": {**{key: sections["dataset"][key] for key in DECISIVE}, **given},
        "data_split": {k: v for k, v in sections["data_split"].items() if k not in unused},
    }


def _find_prepared(source: Source) -> PreparedData | None:
    """Return data prepared earlier with the same settings from files that are unchanged."""
    stamps, settings = [array.stamp() for array in source.arrays], _settings(source)
    # skip directories that are still being written
    for file in sorted(_data_root(source.cfg).glob("[!.]*/manifest.json")):
        manifest = read_mapping(file) or {}  # may belong to other, damaged data
        if manifest.get("version") != MANIFEST_VERSION or manifest.get("settings") != settings:
            continue
        with suppress(KeyError, TypeError):
            known = [{key: array[key] for key in stamps[0]} for array in manifest["sources"]]
            if known == stamps and is_whole(file.parent, manifest):
                return PreparedData(file.parent, manifest)
    return None


def _data_root(cfg: Config) -> Path:
    return resolve(cfg.paths.outputs_root) / "data"


def _prepare(source: Source) -> PreparedData:
    """Check the arrays, compute the statistics, then write the parts."""
    cfg, names, settings = source.cfg, source.labels, _settings(source)
    x, t, *groups = source.arrays
    for remark in x.remarks:
        print(f"{x.path.name}: {remark}", flush=True)
    n_samples = min(x.shape[0], cfg.dataset.limit or x.shape[0])
    channels = channel_indices(x, cfg.dataset.exclude_channels)
    meant = _meant(cfg)
    codes, partly = cfg.dataset.missing_values or [], cfg.dataset.partly_measured
    targets = scan_targets(t, n_samples, names["target_names"], meant, codes, partly)
    ids = group_ids(groups[0].read(), x.shape[0])[:n_samples] if groups else None
    given = None if source.split is None else source.split[:n_samples]
    split = split_indices(n_samples, cfg.data_split, ids, given)
    check_measured(targets, split, names["target_names"])
    check_targets(targets, labelled_physics(names), names["target_names"])
    check_positive(targets, names["logarithmic"], names["target_names"])
    target_scaler = fit_target_scaler(
        targets[split["train"]], names["target_names"], names["logarithmic"]
    )
    channel_names = names["channel_names"]
    statistics = scan_inputs(x, n_samples, split["train"], channels, channel_names, meant, codes)
    described = [describe(array) for array in source.arrays]
    manifest = {
        "version": MANIFEST_VERSION,
        "id": f"{cfg.dataset.name}-{_digest(settings, described)}",
        **names,
        "n_samples": {part: len(split[part]) for part in PARTS},
        "n_groups": None if ids is None else len(np.unique(ids)),
        "weighted": source.weights is not None,
        "group_ids": [] if ids is None else np.unique(ids).astype(str).tolist(),
        "channels": channels,
        "sample_shape": [len(channels), *(x.shape[1:] if len(x.shape) == 2 else x.shape[2:])],
        "target_scaler": {"mean": target_scaler.mean.tolist(), "std": target_scaler.std.tolist()},
        **statistics,
        "accept_outliers": meant,
        "settings": settings,
        "sources": described,
    }
    directory = _data_root(cfg) / manifest["id"]
    old = read_mapping(directory / "manifest.json") or {}
    outdated = directory.is_dir() and not (
        old.get("version") == MANIFEST_VERSION and is_whole(directory, manifest)
    )
    if directory.is_dir() and not outdated:  # same content: the files were copied or touched
        return _with_manifest(directory, manifest)
    writable_directory(cfg.paths.outputs_root, "paths.outputs_root")
    with whole_directory(directory, replace=outdated) as partial:
        _write_inputs(partial, x, n_samples, split, manifest, codes)
        _write_rows(partial, split, targets, ids, source.weights)
        manifest["digests"] = {
            file.name: sha256(file) for file in sorted(partial.glob("[!x]*_*.npy"))
        }
        write_json(partial / "manifest.json", manifest)
    return PreparedData(directory, manifest)


def _write_rows(
    directory: Path,
    split: dict[str, NDArray[np.int64]],
    targets: NDArray[np.float32],
    ids: NDArray[Any] | None,
    weights: NDArray[np.float64] | None,
) -> None:
    """Write what has one row a sample, part by part; weights relative to the training part's."""
    rows: dict[str, NDArray[Any]] = {"t": targets}
    if ids is not None:
        rows["group"] = np.unique(ids, return_inverse=True)[1]
    if weights is not None:
        rows["weight"] = (weights / weights[split["train"]].mean()).astype(np.float32)
    for part in PARTS:
        write_npy(directory / f"index_{part}.npy", split[part])
        for kind, values in rows.items():
            write_npy(directory / f"{kind}_{part}.npy", values[split[part]])


def _meant(cfg: Config) -> list[str]:
    """Return the names whose far values are real; over decades, many are far."""
    return [*(cfg.dataset.accept_outliers or []), *(cfg.dataset.logarithmic or [])]


def _without_outliers(found: PreparedData, source: Source) -> PreparedData:
    """Check prepared data for codes, unless an earlier check was at least as strict."""
    cfg, names = source.cfg, source.labels
    meant = _meant(cfg)
    known = found.manifest.get("accept_outliers")
    if known is not None and set(known) <= set(meant):
        return found
    x, t, *_ = source.arrays
    n_samples = min(x.shape[0], cfg.dataset.limit or x.shape[0])
    codes, partly = cfg.dataset.missing_values or [], cfg.dataset.partly_measured
    scan_targets(t, n_samples, names["target_names"], meant, codes, partly)
    train, channels = found.sample_numbers("train"), found.manifest["channels"]
    scan_inputs(x, n_samples, train, channels, names["channel_names"], meant, codes)
    return _with_manifest(found.directory, {**found.manifest, "accept_outliers": meant})


def _with_manifest(directory: Path, manifest: dict[str, Any]) -> PreparedData:
    write_json(directory / "manifest.json", manifest)
    return PreparedData(directory, manifest)


def _digest(settings: dict[str, Any], described: list[dict[str, Any]]) -> str:
    """Return eight hex digits that depend on the sources' content and the settings."""
    content = [settings, [source["sha256"] for source in described]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]


def _write_inputs(
    directory: Path,
    x: ArraySource,
    n_samples: int,
    split: dict[str, NDArray[np.int64]],
    manifest: dict[str, Any],
    codes: Sequence[float],
) -> None:
    """Read the source again and append each standardised sample to the file of its part.

    The channel's mean, zero, takes the place of the ``codes`` for what was not measured.
    """
    channels, scaler = manifest["channels"], input_scaler(manifest)
    part_of = np.full(n_samples, "none", dtype="<U5")  # none: in a gap between parts
    for part, indices in split.items():
        part_of[indices] = part
    with ExitStack() as stack:
        files: dict[str, IO[bytes]] = {}
        for part in PARTS:
            files[part] = stack.enter_context((directory / f"x_{part}.npy").open("wb"))
            shape = (len(split[part]), *manifest["sample_shape"])
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            npy_format.write_array_header_1_0(files[part], header)
        for place, piece in x.channel_chunks(n_samples):
            for block in in_blocks(piece):
                used = without_codes(block[:, channels], codes)
                standardised = scaler.transform(used).astype("<f4")
                if codes:
                    standardised = np.nan_to_num(standardised, nan=0.0)
                where = part_of[place : place + len(block)]
                for part, file in files.items():
                    file.write(standardised[where == part].tobytes())
                place += len(block)
