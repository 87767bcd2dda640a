import json
import re

import numpy as np
import pytest
from conftest import PUBLIC_DATA

from hpo_utils.base.config import load_config
from hpo_utils.data.audit import MAX_NAMED, audit_leakage
from hpo_utils.data.preparation import prepare_data

public_data = pytest.mark.skipif(not PUBLIC_DATA.is_dir(), reason="the public data are absent")
N = 120


def findings(cfg):
    return {finding.check: finding for finding in audit_leakage(prepare_data(cfg))}


def verdicts(cfg):
    return {check: finding.verdict for check, finding in findings(cfg).items()}


def noise(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, 2, 32)).astype(np.float32), rng.normal(size=(N, 2)).astype("f4")


def test_noise_has_no_leak(make_config, make_arrays):
    assert verdicts(make_config(**make_arrays(*noise()))) == {
        "exact copies": "fine", "near copies": "fine", "neighbours in the file": "fine",
        "groups": "look", "statistics": "fine", "constant channels": "fine",
        "channels that copy a target": "fine",
    }  # fmt: skip


def test_planted_copies_are_counted(make_config, make_arrays):
    x, t = noise()
    x[60:], t[60:] = x[:60], t[:60]
    found = findings(make_config(**make_arrays(x, t)))["exact copies"]
    assert found.text.startswith("60 samples repeat another one")
    first, second = map(int, re.search(r"parts: samples \((\d+), (\d+)\), \(", found.text).groups())
    assert second == first + 60
    assert found.verdict == "leak"


def test_copies_kept_together_by_groups_are_no_leak(make_config, make_arrays, tmp_path):
    x, t = noise()
    x[60:], t[60:] = x[:60], t[:60]
    np.save(tmp_path / "g.npy", np.arange(N) % 60)
    arrays = make_arrays(x, t, **{"dataset.groups": str(tmp_path / "g.npy")})
    found = findings(make_config(**arrays))
    assert found["exact copies"].text.startswith("60 samples repeat")
    assert (found["exact copies"].verdict, found["groups"].verdict) == ("fine", "fine")
    torn = verdicts(make_config(**arrays, **{"data_split.method": "random"}))
    assert (torn["exact copies"], torn["groups"]) == ("leak", "leak")


def test_copies_with_a_little_noise_deserve_a_look(make_config, make_arrays):
    x, t = noise()
    x[60:], t[60:] = x[:60] + 1e-3, t[:60] + 1e-3
    found = findings(make_config(**make_arrays(x, t)))
    near = found["near copies"]
    assert (found["exact copies"].verdict, near.verdict) == ("fine", "look")
    pairs = re.findall(r"\((\d+), (\d+)\)", near.text)
    assert 0 < len(pairs) <= MAX_NAMED
    assert {int(second) - int(first) for first, second in pairs} == {60}


def test_what_validation_and_test_part_share_deserves_a_look(make_config, make_arrays):
    x, t = noise()
    data = prepare_data(make_config(**make_arrays(x, t)))
    pair = [int(data.sample_numbers(part)[0]) for part in ("val", "test")]
    x[pair[1]], t[pair[1]] = x[pair[0]] + 1e-3, t[pair[0]] + 1e-3
    near = findings(make_config(**make_arrays(x, t)))["near copies"]
    assert near.verdict == "look"
    assert near.text.endswith(f"samples ({min(pair)}, {max(pair)})")


def test_windows_of_one_recording_are_told_by_their_neighbours(make_config, make_arrays):
    x, t = noise()
    x += np.repeat(np.random.default_rng(1).normal(0, 3, (N // 4, 2, 32)), 4, axis=0)
    finding = findings(make_config(**make_arrays(x, t)))["neighbours in the file"]
    assert finding.verdict == "look"
    assert "if recordings were cut into windows, name them" in finding.text


def test_a_channel_that_holds_a_target_is_named(make_config, make_arrays):
    x, t = noise()
    x[:, 1] = (0.01 * t[:, :1] - 3) + 1e-6 * x[:, 1]
    finding = findings(make_config(**make_arrays(x, t)))["channels that copy a target"]
    assert finding.verdict == "look"
    assert "of channel 1 with target 0: correlation 1.000" in finding.text


def test_a_channel_that_is_a_setting_is_named(make_config, make_arrays):
    x, t = noise()
    x[:, 0] = np.random.default_rng(2).normal(size=(N, 1))
    finding = findings(make_config(**make_arrays(x, t)))["constant channels"]
    assert "a setting rather than a signal: channel 0" in finding.text


def test_scalers_fitted_elsewhere_are_found(make_config, make_arrays):
    cfg = make_config(**make_arrays(*noise()))
    file = prepare_data(cfg).directory / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["target_scaler"]["mean"][0] += 0.1
    file.write_text(json.dumps(manifest))
    assert verdicts(cfg)["statistics"] == "leak"


def test_what_was_found_is_remembered(make_config, make_arrays):
    data = prepare_data(make_config(**make_arrays(*noise())))
    first = audit_leakage(data)
    (data.directory / "x_test.npy").unlink()
    assert audit_leakage(data) == first


@public_data
def test_all_24_repeated_spectra_of_tecator_are_found(tmp_path):
    root = f"paths.outputs_root={tmp_path}"
    by_group = findings(load_config("params/tecator.yaml", [root]))["exact copies"]
    assert by_group.text == "24 samples repeat another one, 0 of these contents lie in two parts"
    assert by_group.verdict == "fine"
    at_random = load_config("params/tecator.yaml", [root, "data_split.method=random"])
    assert verdicts(at_random)["exact copies"] == "leak"


@public_data
def test_a_random_split_of_the_riser_deserves_a_look_even_if_nobody_names_the_runs(tmp_path):
    overrides = [f"paths.outputs_root={tmp_path}", "dataset.groups=null"]
    assert verdicts(load_config("params/cranfield.yaml", overrides))["neighbours in the file"] == (
        "look"
    )


def test_findings_speak_of_channels_by_their_names_of_today(make_config, make_arrays):
    x, t = noise()
    x[:, 0] = np.random.default_rng(2).normal(size=(N, 1))
    arrays = make_arrays(x, t)
    assert "channel 0" in findings(make_config(**arrays))["constant channels"].text
    renamed = make_config(**arrays, **{"dataset.channel_names": ["p", "q"]})
    assert "rather than a signal: p" in findings(renamed)["constant channels"].text
