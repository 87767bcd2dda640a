"""The bundle of a small study, for all tests of this folder."""

import numpy as np
import pytest

from hpo_utils.base.paths import resolve
from hpo_utils.data.prepared import load_prepared
from hpo_utils.winner.settle import winner_directory


@pytest.fixture(scope="module")
def home(settled):
    """The bundle's directory, the raw arrays it was made from, and its data."""
    cfg, study = settled
    root = resolve(cfg.paths.outputs_root)
    data = load_prepared(root, study.user_attrs["signature"]["dataset_id"])
    raw = np.load(data.manifest["sources"][0]["path"])
    return winner_directory(root, study.study_name) / "bundle", raw, data
