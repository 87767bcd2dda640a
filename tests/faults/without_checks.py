"""See each row of test_bad_input fail when the check that answers it is taken out.

    python tests/faults/without_checks.py

A row shows nothing if it would pass anyway. So each is run once, to find the ``raise`` statement
that its sentence comes from, and again in a process whose hpo_utils lacks that statement: it does
nothing there, or lets the error pass that it would have translated. The row must then fail. What
is printed is how, and at the end which rows still pass since another check says the same.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import multiprocessing
import sys
import tempfile
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import optuna
import pandas as pd
import sklearn.ensemble
import torch

PACKAGE = Path(__file__).parents[2] / "hpo_utils"
PATIENCE = 120.0  # seconds for a row without its check; what goes on training has failed as well
HEAVY = (np, optuna, pd, sklearn, torch)  # imported before the processes fork: it takes seconds


class Without(ast.NodeTransformer):
    """Take the ``raise`` that covers a line out of a module."""

    def __init__(self, line: int) -> None:
        self._line, self._handlers, self.taken = line, 0, 0

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        self._handlers += 1
        self.generic_visit(node)
        self._handlers -= 1
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if not node.lineno <= self._line <= (node.end_lineno or node.lineno):
            return node
        self.taken += 1
        nothing: ast.AST = ast.Raise() if self._handlers else ast.Pass()
        return ast.copy_location(nothing, node)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Import one module of the package from its changed source."""

    def __init__(self, file: Path, line: int) -> None:
        self._file, self._line = file, line
        self._name = ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != self._name:
            return None
        return importlib.util.spec_from_file_location(name, self._file, loader=self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        change = Without(self._line)
        tree = ast.fix_missing_locations(change.visit(ast.parse(self._file.read_text("utf-8"))))
        assert change.taken == 1, (self._file, self._line)
        exec(compile(tree, str(self._file), "exec"), module.__dict__)


def run_row(name: str, line: tuple[str, int] | None, answers: Any) -> None:
    """Run a row; answer with where its error was raised, or how the row failed."""
    if line is not None:
        sys.meta_path.insert(0, Finder(Path(line[0]), line[1]))
    from test_bad_input import CASES, test_it_is_one_sentence_and_nothing_is_written

    from hpo_utils.base.errors import HpoError

    raised: list[tuple[str, int]] = []
    spoil, message = CASES[name]

    def note(given: Any) -> None:
        spoil(given)
        run = given.run

        def run_and_note() -> None:
            try:
                run()
            except HpoError as error:
                frame = traceback.extract_tb(error.__traceback__)[-1]
                raised.append((frame.filename, frame.lineno or 0))
                raise

        given.run = run_and_note

    CASES[name] = note, message
    with tempfile.TemporaryDirectory() as folder:
        try:
            test_it_is_one_sentence_and_nothing_is_written(Path(folder), name)
        except BaseException as error:  # whatever it is, the row has failed
            said = " ".join(str(error).split()) or "no text"
            answers.put(("failed", f"{type(error).__name__}: {said[:150]}"))
        else:
            answers.put(("passed", raised[-1]))


def ask(name: str, line: tuple[str, int] | None = None) -> tuple[str, Any]:
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=run_row, args=(name, line, answers))
    process.start()
    process.join(PATIENCE)
    if process.is_alive():
        process.terminate()
        process.join()
        return "failed", f"not ended after {PATIENCE:.0f} s"
    return answers.get() if not answers.empty() else ("failed", f"died, {process.exitcode}")


def row_names() -> list[str]:
    """Return the names of the rows, without importing the package here."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_row_names)


def _row_names() -> list[str]:
    from test_bad_input import CASES

    return list(CASES)


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    names = row_names()
    still: list[str] = []
    for name in names:
        state, line = ask(name)
        if state != "passed":
            print(f"{name}: FAILS WITH ITS CHECK: {line}", flush=True)
            continue
        if PACKAGE not in Path(line[0]).parents:
            still.append(name)
            print(f"{name}: raised outside of the package, {line}", flush=True)
            continue
        state, how = ask(name, line)
        place = f"{Path(line[0]).name}:{line[1]}"
        print(f"{name} ({place}): {state if state == 'passed' else how}", flush=True)
        if state == "passed":
            still.append(name)
    print(f"{len(names) - len(still)} of {len(names)} rows fail without their check; not: {still}")


if __name__ == "__main__":
    main()
