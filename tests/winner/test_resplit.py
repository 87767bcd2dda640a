import numpy as np

from hpo_utils.data.preparation import prepare_data
from hpo_utils.winner.resplit import split_at_random


def test_the_same_samples_are_dealt_out_anew(make_config):
    data = prepare_data(make_config())
    dealt = split_at_random(data)
    (data.directory / "x_test.npy").unlink()  # stays shut
    assert dealt.dataset_id == f"{data.dataset_id}-random-split"
    both = {name: np.concatenate([d.targets("train"), d.targets("val")])
            for name, d in (("old", data), ("new", dealt))}  # fmt: skip
    assert not np.array_equal(both["old"], both["new"])
    key = lambda rows: sorted(map(tuple, rows))  # noqa: E731
    assert key(both["old"]) == key(both["new"])
    for part in ("train", "val"):
        assert dealt.targets(part).shape == data.targets(part).shape
        assert dealt.inputs(part, 2).shape == data.inputs(part, 2).shape


def test_inputs_and_targets_stay_together(make_config, make_arrays):
    x = np.random.default_rng(0).normal(size=(40, 1, 8)).astype(np.float32)
    data = prepare_data(make_config(**make_arrays(x, x.mean(axis=2))))
    dealt = split_at_random(data)
    for part in ("train", "val"):
        z = data.target_scaler.transform(dealt.targets(part))[:, 0]
        means = dealt.inputs(part).mean(axis=(1, 2))
        assert np.corrcoef(z, means)[0, 1] > 0.999
