"""The pipeline: run the four notebooks in order with papermill."""

from __future__ import annotations

import logging
import re
import sys
import textwrap
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import papermill
from papermill.exceptions import PapermillExecutionError

from hpo_utils.base.config import Config
from hpo_utils.base.errors import HpoError
from hpo_utils.base.formatting import clock
from hpo_utils.base.parameters import load_notebook_config
from hpo_utils.base.paths import new_directory, project_root, relative_to_root, resolve
from hpo_utils.report.certificate import certificate_path
from hpo_utils.report.page import report_path
from hpo_utils.report.verdict import (
    beats_baselines,
    number_one,
    sentence_on_folds,
    sentence_on_home,
)
from hpo_utils.scores.metrics import NETWORK
from hpo_utils.study.search import check_study, load_existing_study
from hpo_utils.study.summary import BEST_LINK
from hpo_utils.trials.storage import best_of, score_of
from hpo_utils.winner.examination import shares_at_home
from hpo_utils.winner.settle import load_evaluation, winner_directory

WIDTH = 100  # characters per line on the terminal
NOTEBOOKS = ("01_prepare_data", "02_train", "03_optimize", "04_analyze")


def run_pipeline(
    params_file: str = "params/demo.yaml",
    overrides: str = "",
    parameters: Mapping[str, Any] | None = None,
    notebooks: tuple[str, ...] = NOTEBOOKS,
) -> Path:
    """Execute notebooks in order and keep the executed copies.

    Parameters
    ----------
    params_file, overrides
        Passed to every notebook.
    parameters
        Further parameters of ``03_optimize``, such as ``n_trials``.
    notebooks
        The notebooks to execute, in this order.

    Returns
    -------
    Path
        ``<outputs_root>/notebooks/<time>/`` with the executed notebooks.

    Raises
    ------
    HpoError
        If a notebook fails; the message names the cell's error and the executed copy.
    """
    cfg = load_notebook_config(params_file, overrides, **(parameters or {}))
    check_study(cfg)  # fail now, not in the third notebook
    now = f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    folder = new_directory(resolve(cfg.paths.outputs_root) / "notebooks" / now)
    for name in notebooks:
        values: dict[str, Any] = {"params_file": params_file, "overrides": overrides}
        if name == "02_train":  # the test part is reserved for the winner
            values["overrides"] = f"{overrides} evaluation.strict_test=true"
        if name == "03_optimize":
            values |= dict(parameters or {})
        executed = folder / f"{name}.ipynb"
        started = time.monotonic()
        print(f"{name} ...", flush=True)
        try:
            papermill.execute_notebook(
                str(project_root() / "notebooks" / f"{name}.ipynb"),
                str(executed),
                parameters=values,
                progress_bar=False,
                stdout_file=sys.stdout,  # one line per trial while the study runs
                extra_arguments=[f"--IPKernelApp.log_level={logging.CRITICAL}"],
                iopub_timeout=60,
                cwd=str(project_root()),
            )
        except PapermillExecutionError as error:
            raise HpoError(
                f"{name} must run to its end, but stopped with {error.ename}: {error.evalue}"
                f" (executed copy: {relative_to_root(executed)})"
            ) from None
        print(f"{name} done in {clock(time.monotonic() - started)}", flush=True)
    return folder


def print_results(cfg: Config) -> None:
    """Print the study's results, and where the report, the best trial and the model are."""
    root = resolve(cfg.paths.outputs_root)
    study = load_existing_study(cfg)
    evaluation = load_evaluation(study, root)
    if evaluation is not None:
        found = evaluation["examination"]
        sentences = [
            beats_baselines(found),
            sentence_on_home(found, evaluation.get("take_home", "auto")),
            number_one(evaluation),
        ]
        if not isinstance(evaluation["all_folds"], str):
            sentences.insert(
                2, sentence_on_folds(evaluation["all_folds"], evaluation["target_names"])
            )
        for said in sentences:
            print(textwrap.fill(re.sub("[*`]", "", said), WIDTH, break_on_hyphens=False))
        print()
    best = best_of(study.get_trials(deepcopy=False))
    if best is not None:
        directory = root / best.user_attrs["output_dir"]
        print(f"best trial  {relative_to_root(directory)}, also as {BEST_LINK}")
        print(
            f"            number {best.number} of the search, validation score {score_of(best):.4f}"
        )
    print(f"report      {relative_to_root(report_path(root, study.study_name))}")
    if evaluation is not None:
        print(f"to sign     {relative_to_root(certificate_path(root, study.study_name))}")
        bundle = relative_to_root(winner_directory(root, study.study_name) / "bundle")
        with_network = NETWORK in shares_at_home(evaluation["examination"])
        trained = f", of {evaluation['contenders'][0]['name']}" if with_network else ""
        print(f"model       {bundle}{trained}:")
        print(f"            python -m hpo_utils predict {bundle} x.npy --out y.csv")
