"""Helpers of the notebooks that tune CNN regressors on measured signals.

The names below can be imported from here; what stands behind them is imported when one is asked
for, so that ``python -m hpo_utils --help`` need not wait for PyTorch. docs/architecture.md says
what lies in which folder.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_PLACES = {
    # the names of the specification
    "WeightedMSELoss": "network.losses",
    "suggest_hyperparameters": "trials.search_space",
    "objective": "trials.objective",
    "create_trial_output_dir": "training.directory",
    "save_trial_results": "training.results",
    "find_trial_output_dir": "training.directory",
    "generate_study_summary": "study.summary",
    # the way through the project, from a configuration to a prediction
    "load_config": "base.config",
    "prepare_data": "data.preparation",
    "create_model": "network.models",
    "train_trial": "training.train",
    "train_one_epoch": "training.train",
    "run_study": "study.search",
    "settle_winner": "winner.settle",
    "load_bundle": "bundle.bundle",
    "predict": "bundle.bundle",
    "evaluate": "upkeep.acceptance",
}

__all__ = [*_PLACES]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
