import numpy as np
import torch

from hpo_utils import batches, folding
from hpo_utils.batches import Pieces, count_batches, load_moments, load_part, make_batches
from hpo_utils.convolutions import Conv2d
from hpo_utils.data import prepare_data
from hpo_utils.folding import patch_moments

CPU = torch.device("cpu")


def test_a_part_is_the_prepared_one(make_config, monkeypatch):
    cfg = make_config("dataset.downsample_factor=3")
    data = prepare_data(cfg)
    monkeypatch.setattr(batches, "PIECE", 3 * data.inputs("train", 3)[0].nbytes)  # three at a time
    part = load_part(data, "train", cfg, CPU)
    np.testing.assert_array_equal(part.x.numpy(), data.inputs("train", 3))
    assert part.x.is_contiguous(memory_format=torch.channels_last)
    index = torch.tensor([4, 0])
    (x,), z = part.batch(index)
    np.testing.assert_array_equal(x.numpy(), data.inputs("train", 3)[[4, 0]])
    torch.testing.assert_close(z, part.z[[4, 0]])
    assert abs(part.z.mean()) < 1e-5  # standardised by this part


def test_moments_are_taken_once_and_added_up_for_each_batch(make_config, monkeypatch):
    monkeypatch.setattr(folding, "FEWEST_OUTPUTS", 0)
    cfg = make_config("training.precision=float32")
    data = prepare_data(cfg)
    part = load_part(data, "train", cfg, CPU)
    conv = Conv2d(part.x.shape[1], 4, 3, padding=1, bias=False)
    part.moments = load_moments(data, cfg, part.x, conv)
    torch.testing.assert_close(part.moments, patch_moments(part.x, conv))
    (x, moments), _ = part.batch(torch.tensor([4, 0]))
    torch.testing.assert_close(moments, patch_moments(x, conv).sum(0))
    monkeypatch.setattr(batches, "patch_moments", None)  # not called again
    torch.testing.assert_close(load_moments(data, cfg, part.x, conv), part.moments)


def test_moments_are_left_where_they_do_not_pay(make_config, monkeypatch):
    cfg = make_config("training.precision=float32")
    data = prepare_data(cfg)
    x = load_part(data, "train", cfg, CPU).x
    conv = Conv2d(x.shape[1], 4, 7, stride=2, padding=3, bias=False)
    n_outputs = cfg.training.batch_size * 4 * -(-x.shape[2] // 2) * -(-x.shape[3] // 2)
    monkeypatch.setattr(folding, "FEWEST_OUTPUTS", n_outputs + 1)
    assert load_moments(data, cfg, x, conv) is None
    monkeypatch.setattr(folding, "FEWEST_OUTPUTS", n_outputs)
    assert load_moments(data, cfg, x, conv) is not None
    cfg.training.precision = "bfloat16"
    assert load_moments(data, cfg, x, conv) is None
    cfg.training.precision = "float32"
    elsewhere = Conv2d(x.shape[1], 4, 7, stride=2, padding=3, bias=False, device="meta")
    assert load_moments(data, cfg, x, elsewhere) is None
    monkeypatch.setattr(folding, "MOST_MOMENTS", 1000)
    assert load_moments(data, cfg, x, conv) is None


def test_batches_hold_every_sample_once_but_never_one_alone():
    generator = torch.Generator().manual_seed(0)
    batches = make_batches(10, 4, generator, CPU)
    assert sorted(torch.cat(batches).tolist()) == list(range(10))
    assert [len(b) for b in make_batches(9, 4, generator, CPU)] == [4, 4]
    assert [len(b) for b in make_batches(1, 4, generator, CPU)] == [1]
    left_out = {*range(9)} - {*torch.cat(make_batches(9, 4, generator, CPU)).tolist()}
    again = {*range(9)} - {*torch.cat(make_batches(9, 4, generator, CPU)).tolist()}
    assert left_out != again


def test_pieces_hold_the_batch_and_two_samples_at_least():
    pieces = Pieces()
    batch = torch.arange(9)
    assert [len(piece) for piece in pieces.split(batch)] == [9]
    sizes = []
    while pieces.halve(batch):
        parts = pieces.split(batch)
        assert torch.equal(torch.cat(parts), batch)
        sizes.append([len(piece) for piece in parts])
    assert sizes == [[5, 4], [3, 2, 2, 2]]
    assert [len(piece) for piece in pieces.split(torch.arange(3))] == [3]


def test_the_number_of_batches_is_known_before():
    generator = torch.Generator().manual_seed(0)
    for n_samples in range(1, 20):
        for batch_size in range(2, 9):
            made = make_batches(n_samples, batch_size, generator, torch.device("cpu"))
            assert count_batches(n_samples, batch_size) == len(made)
