import copy
import threading

import pytest
import torch
from threadpoolctl import threadpool_info

from hpo_utils.base.config import load_config, updated
from hpo_utils.base.errors import ConfigError
from hpo_utils.network import devices


@pytest.mark.parametrize(
    ("device", "n_gpus", "expected"),
    [("cuda", 2, True), ("cuda:0", 2, False), ("cuda", 1, False), ("cpu", 2, False)],
)
def test_when_batches_are_shared_out(monkeypatch, device, n_gpus, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    assert devices.several_gpus(torch.device(device)) is expected


def test_no_gpu_gets_a_single_sample(monkeypatch):
    shared = devices.SharedOut(torch.nn.BatchNorm1d(3), torch.float32)
    dealt = []
    monkeypatch.setattr(torch.nn.DataParallel, "forward", lambda self, x: dealt.append(len(x)) or x)
    for n_gpus in range(1, 5):
        shared.device_ids = list(range(n_gpus))
        dealt.clear()
        for n_samples in range(2, 33):
            assert shared(torch.rand(n_samples, 3)).shape == (n_samples, 3)
            shares = {len(share) for share in torch.arange(n_samples).chunk(n_gpus)}
            assert (dealt[-1:] == [n_samples]) == (1 not in shares)


def test_a_network_keeps_its_precision_in_another_thread():
    """As PyTorch's threads for several GPUs call it, within an autocast that names no precision."""
    network, found = devices.InPrecision(torch.nn.Linear(3, 2), torch.bfloat16), []

    def compute():
        with torch.autocast("cpu", enabled=True, dtype=torch.float16):
            found.append(network(torch.ones(4, 3)).dtype)

    thread = threading.Thread(target=compute)
    thread.start()
    thread.join()
    assert found == [torch.bfloat16]


def test_a_device_that_is_not_there_is_said():
    with pytest.raises(ConfigError, match="training.device must be auto, cpu or .* got 'gpu7'"):
        devices.select_device("gpu7")
    assert devices.select_device("auto").type in ("cpu", "cuda")


def test_threads_are_as_before_behind_the_block():
    def fail() -> None:
        with devices.using_threads(before + 1):
            assert torch.get_num_threads() == before + 1
            with devices.using_threads(1):
                assert threads_of_linear_algebra() == {1}
            raise KeyError

    before, of_linear_algebra = torch.get_num_threads(), threads_of_linear_algebra()
    with pytest.raises(KeyError):
        fail()
    assert torch.get_num_threads() == before
    assert threads_of_linear_algebra() == of_linear_algebra


def threads_of_linear_algebra() -> set[int]:
    found = threadpool_info()
    return {library["num_threads"] for library in found if library["user_api"] == "blas"}


@pytest.mark.parametrize("native", [True, False])
def test_the_precision_is_what_the_hardware_has(monkeypatch, native):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: native)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    expected = torch.bfloat16 if native else torch.float32
    for device in ("cpu", "cuda"):
        assert devices.select_precision("auto", torch.device(device)) == expected
    assert devices.select_precision("auto", torch.device("mps")) == torch.float32
    assert devices.select_precision("bfloat16", torch.device("cpu")) == torch.bfloat16


def test_a_small_step_takes_one_thread_and_a_large_one_all(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    cfg = load_config(**{"model.hidden": 64, "training.batch_size": 8})
    shapes = [(2, 32, 128), (2, 64, 128), (2, 128, 256), (2, 1400, 2500), (2, 4096), (2, 8192)]
    assert [devices.useful_threads(cfg, shape) for shape in shapes] == [1, 2, 8, 16, 1, 2]


def test_what_a_training_computes_with_leaves_its_configuration_alone(make_config):
    cfg = make_config()
    before = copy.deepcopy(cfg)
    compute = devices.choose_compute(cfg, (2, 16, 24))
    assert cfg == before
    assert cfg.training.n_threads is None
    assert compute.settings["training.n_threads"] == 1
    chosen = updated(cfg, compute.settings)
    assert devices.choose_compute(chosen, (2, 16, 24)) == compute
