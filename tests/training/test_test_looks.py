import json

from hpo_utils.data.preparation import prepare_data
from hpo_utils.training.test_looks import (
    BY_HAND,
    TRIAL,
    WINNER,
    looks_at_test,
    looks_directory,
    note_look,
    winners_heard,
)


def test_looks_are_told_in_their_order(make_config, make_arrays):
    data = prepare_data(make_config(**make_arrays()))
    assert looks_at_test(data) == []
    for by, kind in (("a", TRIAL), ("b", WINNER), ("b", WINNER), ("c", BY_HAND)):
        note_look(data, by, kind)
    assert [look.by for look in looks_at_test(data)] == ["a", "b", "b", "c"]
    assert winners_heard(data) == ["b"]


def test_the_same_samples_have_spoken_whatever_is_made_of_them(make_config, make_arrays):
    arrays = make_arrays()
    data = prepare_data(make_config(**arrays))
    note_look(data, "a", WINNER)
    for change in ({"dataset.exclude_channels": [0]}, {"dataset.name": "again"}):
        again = prepare_data(make_config(**arrays, **change))
        assert again.directory != data.directory
        assert winners_heard(again) == ["a"]
    assert looks_at_test(prepare_data(make_config("data_split.seed=1", **arrays))) == []


def test_every_machine_has_a_file_of_its_own(make_config, make_arrays):
    data = prepare_data(make_config(**make_arrays()))
    note_look(data, "a", TRIAL)
    (ours,) = looks_directory(data).iterdir()
    theirs = ours.with_name(f"{ours.name.split('-')[0]}-another.jsonl")
    theirs.write_text(json.dumps({"time": "2020-01-01T00:00:00", "by": "b", "kind": TRIAL}) + "\n")
    assert [look.by for look in looks_at_test(data)] == ["b", "a"]
