import numpy as np
import torch

from hpo_utils.base.config import updated
from hpo_utils.baselines.components import sight_of
from hpo_utils.data.preparation import prepare_data
from hpo_utils.network.augmentation import Augmentation
from hpo_utils.network.models import create_network, predict
from hpo_utils.network.seen import SeenOnDisk
from hpo_utils.training import batches
from hpo_utils.training.batches import MicroBatches, count_batches, load_part, make_batches

CPU = torch.device("cpu")


def test_a_part_is_the_prepared_one(make_config, monkeypatch):
    cfg = make_config("dataset.downsample_factor=3")
    data = prepare_data(cfg)
    monkeypatch.setattr(batches, "PIECE", 3 * data.inputs("train", 3)[0].nbytes)  # three at a time
    part = load_part(data, "train", cfg, CPU)
    prepared = data.inputs("train", 3, averaged=True)
    np.testing.assert_array_equal(part.x.numpy(), prepared)
    assert part.x.is_contiguous(memory_format=torch.channels_last)
    index = torch.tensor([4, 0])
    (x,), z = part.batch(index)
    np.testing.assert_array_equal(x.numpy(), prepared[[4, 0]])
    torch.testing.assert_close(z, part.z[[4, 0]])
    assert abs(part.z.mean()) < 1e-5  # standardised by this part


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
    pieces = MicroBatches()
    batch = torch.arange(9)
    assert [len(piece) for piece in pieces.split(batch)] == [9]
    sizes = []
    while pieces.halve(batch):
        parts = pieces.split(batch)
        assert torch.equal(torch.cat(parts), batch)
        sizes.append([len(piece) for piece in parts])
    assert sizes == [[5, 4], [3, 2, 2, 2]]
    pieces = MicroBatches(2)
    assert pieces.halve(batch[:7])  # three pieces are finer than two, if not four
    assert [len(piece) for piece in pieces.split(batch[:7])] == [3, 2, 2]
    assert not pieces.halve(batch[:7])
    assert [len(piece) for piece in pieces.split(torch.arange(3))] == [3]


def test_the_number_of_batches_is_known_before():
    generator = torch.Generator().manual_seed(0)
    for n_samples in range(1, 20):
        for batch_size in range(2, 9):
            made = make_batches(n_samples, batch_size, generator, torch.device("cpu"))
            assert count_batches(n_samples, batch_size) == len(made)


def test_what_is_seen_of_a_part_is_kept_for_the_next_training(make_config):
    cfg, cpu = make_config(), torch.device("cpu")
    data = prepare_data(cfg)

    def seen(part, factor=1, how="mean"):
        asked = {"dataset.downsample_factor": factor, "dataset.thinning": how}
        own = updated(cfg, asked)
        found = load_part(data, part, own, cpu)
        sight = sight_of(own, data)
        found.look(create_network(own, found.x, data.target_scaler, data.physics, cpu, sight))
        return found.seen

    first = seen("train")
    (file,) = data.directory.glob("seen-*")
    written = file.stat().st_mtime_ns
    assert torch.equal(seen("train"), first)
    assert torch.equal(seen("train", how="pick"), first)  # nothing is thinned
    assert file.stat().st_mtime_ns == written
    file.write_bytes(file.read_bytes()[:-9])
    assert torch.equal(seen("train"), first)  # it is damaged, and written again
    assert len(file.read_bytes()) > 9
    assert not torch.equal(seen("train", 2), seen("train", 2, "pick"))
    assert len(seen("val")) == data.input_shape("val")[0]


def test_what_is_seen_of_many_samples_stays_on_the_disk(make_config, monkeypatch):
    cfg = make_config("augmentation.mixup=0.5")
    data = prepare_data(cfg)

    def part(most):
        monkeypatch.setattr(batches, "MOST_IN_MEMORY", most)
        found = load_part(data, "train", cfg, CPU)
        scaler, physics, sight = data.target_scaler, data.physics, sight_of(cfg, data)
        model = create_network(cfg, found.x, scaler, physics, CPU, sight)
        found.look(model)
        model.begin_at_ridge(found.seen, found.z, data.groups("train"))
        return found, model

    (stays, at_disk), (held, in_memory) = part(0), part(2**28)
    assert isinstance(stays.seen, SeenOnDisk)
    assert isinstance(held.seen, torch.Tensor)
    index = torch.tensor([5, 1, 4])
    for augmentation in (None, Augmentation.of(cfg)):
        torch.manual_seed(0)
        own, z = stays.batch(index, augmentation)
        torch.manual_seed(0)
        known, z_known = held.batch(index, augmentation)
        assert all(torch.equal(a, b) for a, b in zip((*own, z), (*known, z_known), strict=True))
    for a, b in zip(at_disk.linear.buffers(), in_memory.linear.buffers(), strict=True):
        assert torch.equal(a, b)
    x, batch_size = held.x, 4
    at_once, in_rows = (predict(in_memory, x, batch_size, each.seen) for each in (held, stays))
    assert torch.equal(at_once, in_rows)


def test_a_full_disk_keeps_nothing_of_what_is_seen(make_config, monkeypatch):
    cfg = make_config()
    data = prepare_data(cfg)

    def full(*_):
        raise OSError("no space left")

    found = load_part(data, "train", cfg, CPU)
    monkeypatch.setattr(batches, "write_seen", full)
    model = create_network(cfg, found.x, data.target_scaler, data.physics, CPU, sight_of(cfg, data))
    found.look(model)
    assert torch.equal(found.seen, model.sight(found.x))
    assert list(data.directory.glob("seen-*")) == []
