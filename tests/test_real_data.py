"""The pipeline on public, measured data; skipped where they are not at hand."""

import numpy as np
import pytest
from conftest import PUBLIC_DATA

from hpo_utils.base.config import load_config
from hpo_utils.data.preparation import prepare_data
from hpo_utils.data.split import PARTS
from hpo_utils.study.search import run_study

pytestmark = pytest.mark.skipif(
    not PUBLIC_DATA.is_dir(), reason=f"public data sets are not at {PUBLIC_DATA}"
)


def public_config(name, folder, tmp_path, *overrides):
    directory = PUBLIC_DATA / folder
    paths = {"x_train": "x.npy", "t_train": "t.npy", "groups": "groups.npy"}
    return load_config(
        f"params/{name}.yaml", overrides,
        **{f"dataset.{key}": str(directory / file) for key, file in paths.items()},
        **{"paths.outputs_root": str(tmp_path / "runs")},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "folder", "shape", "n_targets"),
    [("cranfield", "cranfield_mff", (8, 64), 4), ("tecator", "tecator_meat", (1, 100), 3)],
)
def test_groups_stay_on_one_side(tmp_path, name, folder, shape, n_targets):
    data = prepare_data(public_config(name, folder, tmp_path))
    assert tuple(data.manifest["sample_shape"]) == shape
    assert data.n_targets == n_targets
    groups = np.load(PUBLIC_DATA / folder / "groups.npy")
    owners = [set(groups[data.sample_numbers(part)]) for part in PARTS]
    assert sum(map(len, owners)) == len(set().union(*owners)) == len(set(groups))


def test_a_study_of_the_riser_learns(tmp_path):
    """Two short trials of the params file's study: better than predicting the mean."""
    cfg = public_config("cranfield", "cranfield_mff", tmp_path, "training.epochs=3",
                        "study.n_trials=2", "training.batch_size=32")  # fmt: skip
    study = run_study(cfg)
    assert study.best_value < 0.9
    assert set(study.best_trial.user_attrs["val_r2"]) >= {"air flow", "riser top density"}


def test_twice_held_spectra_are_found_in_one_part(tmp_path):
    data = prepare_data(public_config("tecator", "tecator_meat", tmp_path))
    spectra = {part: {x.tobytes() for x in data.inputs(part)} for part in PARTS}
    assert not spectra["train"] & spectra["test"]
    assert not spectra["train"] & spectra["val"]
    assert not spectra["val"] & spectra["test"]
