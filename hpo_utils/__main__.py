"""The command line: import data, run the notebooks, follow a study, predict, evaluate."""

from __future__ import annotations

import argparse
import csv
import sys
from io import StringIO
from pathlib import Path
from typing import Any

from hpo_utils.base.errors import BundleError, HpoError, StudyError

INTERRUPTED = 130  # 128 plus the number of SIGINT, as in shells
MAX_NAMED = 5  # maximum number of samples named in a warning


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return the exit status; a user error prints one sentence and gives 2."""
    parser = argparse.ArgumentParser(prog="python -m hpo_utils", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_import(commands.add_parser("import", help="turn measured files into arrays to train on"))
    run = commands.add_parser("run", help="execute the four notebooks in order with papermill")
    run.set_defaults(execute=_run)
    run.add_argument(
        "--n-trials", type=int, default=None, help="trials the study should have in all"
    )
    run.add_argument("--n-workers", type=int, default=None, help="processes that share the trials")
    status = commands.add_parser("status", help="say how far a study is, while it runs or after")
    status.set_defaults(execute=_status)
    status.add_argument("--trials", type=Path, help=".csv to write all trials to")
    dashboard = commands.add_parser("dashboard", help="open optuna-dashboard on the studies")
    dashboard.set_defaults(execute=_dashboard)
    dashboard.add_argument(
        "--port",
        type=int,
        default=8080,
        help="port on this machine, which only this machine can reach",
    )
    proxy = commands.add_parser("proxy", help="serve a database to hundreds of workers")
    proxy.set_defaults(execute=_proxy)
    proxy.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; there is no authentication, so keep it private",
    )
    proxy.add_argument("--port", type=int, default=13000)
    for command in (run, status, dashboard, proxy):
        _add_settings(command)
    _add_bundle_commands(commands)
    options = parser.parse_args(arguments)
    try:
        options.execute(options)
    except HpoError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:  # where only predictions are made, see docs/formats.md
        advice = "is not installed: install all that the README says"
        print(f"{options.command} needs a package: {error.name} {advice}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the same command goes on where it was", file=sys.stderr)
        return INTERRUPTED
    return 0


def _add_bundle_commands(commands: Any) -> None:
    """Add the commands that take a bundle; ``commands`` are the parser's subparsers."""
    predict = commands.add_parser("predict", help="predict from raw arrays with a bundle")
    predict.set_defaults(execute=_predict)
    evaluate = commands.add_parser("evaluate", help="compare a bundle with later measurements")
    evaluate.set_defaults(execute=_evaluate)
    adapt = commands.add_parser("adapt", help="correct a bundle by a few new measurements")
    adapt.set_defaults(execute=_adapt)
    monitor = commands.add_parser("monitor", help="add control samples to a bundle's control chart")
    monitor.set_defaults(execute=_monitor)
    for command in (predict, evaluate, adapt, monitor):
        command.add_argument("bundle", type=Path, help="directory that 03_optimize wrote")
        command.add_argument(
            "x", type=Path, help="raw inputs, all channels included: docs/formats.md"
        )
        command.add_argument(
            "--x-key", default=None, help="name of the array in a file that holds several"
        )
        command.add_argument("--device", default="auto", help="where to compute: auto, cpu, cuda")
    for command in (predict, evaluate, monitor):
        command.add_argument(
            "--accept-outliers", action="store_true", help="values such as -9999 are measurements"
        )
    predict.add_argument(
        "--out", type=Path, required=True, help=".npy, .csv or .xlsx for the predictions"
    )
    predict.add_argument(
        "--half-width",
        type=Path,
        default=None,
        help=".npy, .csv or .xlsx for half the widths of intervals",
    )
    predict.add_argument(
        "--domain", type=Path, default=None,
        help=".npy, .csv or .xlsx for T², Q and the nearest neighbour of the inputs over limits",
    )  # fmt: skip
    predict.add_argument(
        "--joint",
        action="store_true",
        help="half widths within which all targets of a sample lie at once",
    )
    for command in (evaluate, adapt, monitor):
        command.add_argument("t", type=Path, help="what was measured, in the same units")
        command.add_argument(
            "--t-key", default=None, help="name of the array in a file that holds several"
        )
        command.add_argument(
            "--groups",
            type=Path,
            default=None,
            help="array of the recording that each sample is from; its samples err together",
        )
        command.add_argument(
            "--groups-key", default=None, help="name of the group array inside its file"
        )
    adapt.add_argument("--out", type=Path, required=True, help="new directory for the bundle")


def _add_import(command: argparse.ArgumentParser) -> None:
    command.set_defaults(execute=_import)
    command.add_argument(
        "files", type=Path, nargs="+", help="a table or array of all samples, recordings, a folder"
    )
    command.add_argument(
        "--out", type=Path, required=True, help="new directory, such as data/flow; its name is used"
    )
    for option, kind, meaning in (
        ("--targets", Path, "table or array of what was measured beside; may be left out if a table"
         " of samples holds it"),
        ("--key", str, "name of the inputs in a file of several arrays"),
        ("--target-key", str, "name of the targets in a file of several arrays"),
        ("--test", Path, "table or array of the samples to test, if it is another file"),
        ("--test-targets", Path, "their targets"),
        ("--test-key", str, "as --key, of the samples to test"),
        ("--test-target-key", str, "as --target-key, of the samples to test"),
        ("--id-column", str, "column that names samples or files"),
        ("--split-column", str, "column of train, val and test, or of folds"),
        ("--weight-column", str, "column of how much each sample counts"),
        ("--window", _count, "values of each window of a recording"),
        ("--step", _count, "values from window to window; default: one window"),
        ("--rate", float, "rate in Hz to resample recordings to"),
    ):  # fmt: skip
        command.add_argument(option, type=kind, help=meaning)
    for option, kind, meaning in (
        ("--target-columns", str, "columns to predict"),
        ("--missing", float, "codes for missing values, such as -9999"),
    ):
        command.add_argument(option, type=kind, nargs="+", default=(), help=meaning)
    for option, meaning in (
        ("--pad", "repeat the last value of recordings that are shorter"),
        ("--partly-measured", "keep samples that lack some of the targets"),
        ("--replace", "write over an earlier import"),
    ):
        command.add_argument(option, action="store_true", help=meaning)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text}")
    return int(text)


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument("--params-file", default="params/demo.yaml", help="YAML below the project")
    command.add_argument(
        "--overrides", default="", help='such as "training.epochs=30 model.hidden=48"'
    )


# each command imports what it needs once its settings are known to be right: PyTorch takes seconds


def _import(options: argparse.Namespace) -> None:
    from hpo_utils.importing.importing import import_files
    from hpo_utils.importing.request import Request

    given = {
        name: value for name, value in vars(options).items() if name in Request.__annotations__
    }
    given |= {"files": [f.absolute() for f in options.files], "out": options.out.absolute()}
    for name in ("targets", "test", "test_targets"):
        given[name] = given[name] and given[name].absolute()
    for line in import_files(Request(**given)).sentences():
        print(line)


def _run(options: argparse.Namespace) -> None:
    from hpo_utils.base.parameters import load_notebook_config
    from hpo_utils.base.paths import relative_to_root

    counts = {"n_trials": options.n_trials, "n_workers": options.n_workers}
    given = {name: value for name, value in counts.items() if value is not None}
    load_notebook_config(options.params_file, options.overrides, **given)  # wrong ones end here
    from hpo_utils.pipeline import print_results, run_pipeline  # takes seconds

    folder = run_pipeline(options.params_file, options.overrides, given)
    print(f"\nnotebooks   {relative_to_root(folder)}")
    print_results(load_notebook_config(options.params_file, options.overrides))


def _status(options: argparse.Namespace) -> None:
    from hpo_utils.base.parameters import load_notebook_config
    from hpo_utils.base.paths import resolve

    cfg, file = load_notebook_config(options.params_file, options.overrides), options.trials
    if file is not None and not (file.suffix == ".csv" and file.absolute().parent.is_dir()):
        where = "a .csv file in a directory that exists"
        raise StudyError(f"trials must be written to {where}, got {file}")
    from hpo_utils.study.progress import status
    from hpo_utils.study.search import differs_from, load_existing_study, with_those_after

    shown = load_existing_study(cfg)
    if sentence := differs_from(shown, cfg):
        print(sentence.replace("*", "").replace("`", ""))
    studies = with_those_after(shown, resolve(cfg.paths.outputs_root)).items()
    for i, (title, study) in enumerate(studies):
        print(status(study, title, with_best=i == 0))
    if file is not None:
        shown.trials_dataframe().to_csv(file.absolute(), index=False)


def _dashboard(options: argparse.Namespace) -> None:
    from hpo_utils.base.parameters import load_notebook_config
    from hpo_utils.serving import serve

    serve(load_notebook_config(options.params_file, options.overrides), options.port)


def _proxy(options: argparse.Namespace) -> None:
    from hpo_utils.base.parameters import load_notebook_config
    from hpo_utils.serving import serve_proxy

    cfg = load_notebook_config(options.params_file, options.overrides)
    serve_proxy(cfg, options.host, options.port)


def _predict(options: argparse.Namespace) -> None:
    _check_outputs([options.out, options.half_width, options.domain], [options.x])
    from hpo_utils.base.formatting import with_units
    from hpo_utils.bundle.layout import DISTANCES

    layout, found, ids = _predicted(options)
    named = with_units(layout.target_names, layout.target_units)
    outputs = {options.out: (found.y, named)}
    if options.half_width is not None:
        if found.half_width is None:
            raise BundleError(
                f"a bundle must hold several networks to give intervals, got {options.bundle} with"
                " one: leave out --half-width"
            )
        wanted = found.joint_half_width if options.joint else found.half_width
        if wanted is None:
            raise BundleError(
                f"a bundle must know joint intervals for --joint, got {options.bundle}, which does"
                " not: settle its study again, or leave out --joint"
            )
        outputs[options.half_width] = wanted, named
    if options.domain is not None:
        if found.domain is None:
            raise BundleError(
                f"a bundle must know its domain for --domain, got {options.bundle}, which does not:"
                " settle its study again, or leave out --domain"
            )
        named = [f"{distance} / limit" for distance in DISTANCES[: found.domain.shape[1]]]
        outputs[options.domain] = found.domain, named
    for path, (array, columns) in outputs.items():
        try:
            _write_predictions(path.absolute(), array, columns, ids)
        except OSError as error:
            raise BundleError(
                f"predictions must be written to a file, got {path}: {error.strerror}"
            ) from None
    level = "" if options.half_width is None else f" (intervals of {found.confidence:.1%})"
    written = ", ".join(map(str, outputs))
    print(f"{len(found.y)} samples, {found.y.shape[1]} targets: {written}{level}")
    if new := [str(number) for number in found.is_new.nonzero()[0]]:
        first = ", ".join(new[:MAX_NAMED]) + (", …" if len(new) > MAX_NAMED else "")
        print(
            f"{len(new)} of {len(found.y)} samples are unlike all that was trained on ({first},"
            " counted from 0), so their predictions are guesses: are gain, unit and sensor those of"
            " the training?",
            file=sys.stderr,
        )


def _predicted(options: argparse.Namespace) -> tuple[Any, Any, list[str] | None]:
    """Return layout, predictions and ids, by onnxruntime where it serves, else by PyTorch."""
    from hpo_utils.bundle.onnx_prediction import load_onnx, predict_by_onnx

    directory = options.bundle.absolute()
    asked = (options.x_key, options.accept_outliers)
    if (quick := load_onnx(directory, options.device)) is not None:
        x, ids = quick.layout.inputs(options.x.absolute(), options.x_key)
        return quick.layout, predict_by_onnx(quick, x, *asked), ids
    from hpo_utils.bundle.bundle import load_bundle, predict

    bundle = load_bundle(directory)
    x, ids = bundle.layout.inputs(options.x.absolute(), options.x_key)
    return bundle.layout, predict(bundle, x, options.device, *asked), ids


def _evaluate(options: argparse.Namespace) -> None:
    from hpo_utils.upkeep.acceptance import evaluate

    table = evaluate(**_compared(options)[0], accept_outliers=options.accept_outliers)
    print(table.to_string(float_format="{:.4g}".format))
    for remark in table.attrs["remarks"]:
        print(remark, file=sys.stderr)


def _adapt(options: argparse.Namespace) -> None:
    from hpo_utils.upkeep.adaptation import adapt

    found = adapt(**_compared(options)[0], out=options.out.absolute())
    print(found.table.to_string(float_format="{:.4g}".format))
    print(
        "nothing is shown to help: nothing was written"
        if found.directory is None
        else f"the adapted bundle: {options.out}"
    )


def _monitor(options: argparse.Namespace) -> None:
    from hpo_utils.upkeep.monitoring import monitor

    given, ids = _compared(options)
    table = monitor(**given, ids=ids, accept_outliers=options.accept_outliers)
    print(table.to_string())
    print(f"log and charts: {options.bundle}-monitor.csv, {options.bundle}-monitor.png")


def _compared(options: argparse.Namespace) -> tuple[dict[str, Any], list[str] | None]:
    """Return bundle, inputs, measured values and groups as ``evaluate`` takes them, and the ids."""
    from hpo_utils.bundle.bundle import load_bundle
    from hpo_utils.formats.references import shared_column
    from hpo_utils.importing.later import read_measured

    bundle = load_bundle(options.bundle.absolute())
    files, layout = (options.x.absolute(), options.t.absolute()), bundle.layout
    by = shared_column(*files)
    x, ids = layout.inputs(files[0], options.x_key, by)
    t = read_measured(files[1], options.t_key, layout.target_names, ids, by, layout.target_units)
    groups = None if options.groups is None else options.groups.absolute()
    keys = {"x_key": options.x_key, "t_key": options.t_key, "groups_key": options.groups_key}
    given = {"bundle": bundle, "x": x, "t": t, "groups": groups, "device": options.device, **keys}
    return given, ids


def _check_outputs(outputs: list[Path | None], inputs: list[Path]) -> None:
    """Raise BundleError if an output has a wrong suffix or would overwrite another file."""
    taken = {file.resolve(): file for file in inputs}
    for path in (output for output in outputs if output is not None):
        if path.suffix not in (".npy", ".csv", ".xlsx"):
            raise BundleError(
                f"predictions must be written to an .npy, .csv or .xlsx file, got {path.name}"
            )
        others = [file for file in taken if path.exists() and file.exists() and path.samefile(file)]
        if others or path.resolve() in taken:
            raise BundleError(
                f"predictions must not take the place of another file of this command, got {path}"
                " twice: choose another name"
            )
        taken[path.resolve()] = path


def _write_predictions(path: Path, array: Any, names: list[str], ids: list[str] | None) -> None:
    """Write predictions (n_samples, n_targets) as .npy, or as a table with names, units and ids."""
    from hpo_utils.base.paths import write_npy, write_text, write_with

    rows = [names, *array]
    if ids is not None:
        rows = [["id", *names], *([i, *y] for i, y in zip(ids, array, strict=True))]
    if path.suffix == ".npy":
        write_npy(path, array)
    elif path.suffix == ".xlsx":
        try:
            from openpyxl import Workbook
        except ImportError:
            raise BundleError(
                f"Excel files need the package openpyxl, to write {path.name}:"
                " pip install 'hpo_utils[formats]'"
            ) from None
        book = Workbook()
        for row in rows:
            book.active.append(list(row))
        write_with(path, book.save)
    else:
        with StringIO(newline="") as text:
            csv.writer(text, lineterminator="\n").writerows(rows)
            write_text(path, text.getvalue())


if __name__ == "__main__":
    sys.exit(main())
