"""The command line: ``python -m hpo_utils run`` chains the four notebooks."""

from __future__ import annotations

import argparse
import sys

from hpo_utils.errors import HpoError


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return the exit status: 2 with one sentence for an error of the user's."""
    parser = argparse.ArgumentParser(prog="python -m hpo_utils", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="execute the four notebooks in order with papermill")
    run.add_argument("--params-file", default="params/demo.yaml", help="YAML below the project")
    run.add_argument("--overrides", default="", help='such as "training.epochs=30 model.hidden=48"')
    run.add_argument("--n-trials", type=int, default=None, help="trials that the study should have")
    run.add_argument("--n-workers", type=int, default=None, help="processes that share the trials")
    options = parser.parse_args(arguments)
    # imported here, so that --help need not wait for PyTorch
    from hpo_utils.parameters import load_notebook_config
    from hpo_utils.pipeline import print_results, run_pipeline

    counts = {"n_trials": options.n_trials, "n_workers": options.n_workers}
    given = {name: value for name, value in counts.items() if value is not None}
    try:
        folder = run_pipeline(options.params_file, options.overrides, given)
        print(f"\nnotebooks   {folder}")
        print_results(load_notebook_config(options.params_file, options.overrides))
    except HpoError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
