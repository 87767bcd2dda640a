# Everything below needs Python 3.11 or newer and make; the rest is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Tests wait for processes and servers a third of their time, so there is one more than there are
# cores; with two more, Ray does not always start within the 30 s that it gives itself.
AT_ONCE = $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
PYTEST = $(BIN)/python -m pytest -n $(AT_ONCE) --dist loadfile --no-loadscope-reorder

# another environment that is active would make IPython warn of it, which tests take for an error
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help demo test quick test-faults lint format lab dashboard clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/make \1|\2/' | column -t -s '|'

demo: $(VENV)/installed  ## install, run the four notebooks on the demo data, say where the results are
	$(BIN)/python -m hpo_utils run

test: lint  ## install the test tools and run everything that CI runs
	$(PYTEST) --durations=10

quick: lint  ## while you work: style, types and the quick tests, 2 min on two cores
	$(PYTEST) -m "not slow"

test-faults: $(VENV)/installed-test  ## kill studies 200 times and damage every file in every way, for an hour
	$(BIN)/python tests/faults/driver.py --kills 200
	HPO_ALL_FAULTS=1 $(BIN)/python -m pytest -q tests/faults/test_damaged_files.py

lint: $(VENV)/installed-test  ## check the style of package, tests and notebooks, and the package's types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-test  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lab: $(VENV)/installed  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

dashboard: $(VENV)/installed  ## open optuna-dashboard on the demo's studies, with the curves of every trial
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dashboard]'
	$(BIN)/python -m hpo_utils dashboard

clean:  ## remove the environment and the caches, not the results in runs/
	rm -rf $(VENV) *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/installed-test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@ $(VENV)/installed
