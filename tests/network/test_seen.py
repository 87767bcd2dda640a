import numpy as np
import pytest
import torch

from hpo_utils.network import seen
from hpo_utils.network.seen import SeenOnDisk, write_seen

ROWS = torch.randn(25, 7, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def stored(tmp_path):
    write_seen(tmp_path / "seen.npz", (25, 7), torch.split(ROWS, 4))
    return SeenOnDisk.found(tmp_path / "seen.npz", (25, 7))


def test_rows_are_read_as_they_were_written(stored, monkeypatch):
    monkeypatch.setattr(seen, "ROWS", 10)
    assert (len(stored), stored.nbytes) == (25, ROWS.nbytes)
    assert torch.equal(stored[:], ROWS)
    assert torch.equal(stored[3:9], ROWS[3:9])
    index = torch.tensor([24, 0, 7, 7])
    assert torch.equal(stored[index], ROWS[index])
    assert torch.equal(stored.columns(3), ROWS[:, :3])
    rows = stored[index]
    rows += 1  # what was read is a copy
    assert torch.equal(stored[:], ROWS)


def test_the_file_is_one_that_numpy_reads(stored):
    with np.load(stored.file) as archive:
        np.testing.assert_array_equal(archive["seen"], ROWS.numpy())


def test_a_file_of_another_shape_or_with_an_error_is_not_found(stored, tmp_path):
    file = stored.file
    assert SeenOnDisk.found(file, (25, 8)) is None
    assert SeenOnDisk.found(tmp_path / "none.npz", (25, 7)) is None
    content = bytearray(file.read_bytes())
    content[300] ^= 1
    file.write_bytes(bytes(content))
    assert SeenOnDisk.found(file, (25, 7)) is None
    np.savez(file, other=ROWS.numpy())
    assert SeenOnDisk.found(file, (25, 7)) is None


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path):
    def pieces():
        yield ROWS[:4]
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        write_seen(tmp_path / "seen.npz", (25, 7), pieces())
    assert list(tmp_path.iterdir()) == []
