"""The data card of a bundle, and what of it a person sees."""

import json

import pytest

from hpo_utils.base.errors import ConfigError, DataError
from hpo_utils.bundle.data_card import CROISSANT, data_card
from hpo_utils.data.preparation import prepare_data

CARD = {"creator": "A. Weber", "recorded": "2026-03-01/2026-05-31", "license": "CC-BY-4.0",
        "reference_method": "Kjeldahl", "instrument": "spectrometer 3"}  # fmt: skip


@pytest.fixture
def data(make_config, make_arrays):
    given = {"dataset.card": CARD, "dataset.target_units": ["%", "-"]}
    return prepare_data(make_config(**make_arrays(**given)))


def test_it_names_files_with_their_digests_and_targets_with_their_units(data):
    card = data_card(data)
    assert card["conformsTo"] == f"{CROISSANT}1.0"
    assert (card["creator"]["name"], card["license"]) == ("A. Weber", "CC-BY-4.0")
    assert card["temporalCoverage"] == CARD["recorded"]
    assert [file["sha256"] for file in card["distribution"]] == [
        source["sha256"] for source in data.manifest["sources"]
    ]
    target, without_unit = card["variableMeasured"][-2:]
    assert (target["unitText"], target["measurementTechnique"]) == ("%", "Kjeldahl")
    assert "unitText" not in without_unit
    assert json.loads(json.dumps(card)) == card


def test_another_card_is_not_other_data(data, make_config, make_arrays):
    changed = prepare_data(make_config(**make_arrays(**{"dataset.card": {"creator": "B. Ito"}})))
    assert changed.dataset_id == data.dataset_id
    assert changed.manifest["card"] == {"creator": "B. Ito"}


def test_an_unknown_entry_is_named(make_config, make_arrays):
    cfg = make_config(**make_arrays(**{"dataset.card": {"author": "A. Weber"}}))
    with pytest.raises(DataError, match="entries of description, creator, .* got 'author'"):
        prepare_data(cfg)


def test_a_card_is_read_as_it_is_written(make_config):
    cfg = make_config("dataset.card={recorded: 2026-03-01, version: 1.10}")
    assert dict(cfg.dataset.card) == {"recorded": "2026-03-01", "version": "1.10"}
    with pytest.raises(ConfigError, match="must be text"):
        make_config("dataset.card={creator: null}")
