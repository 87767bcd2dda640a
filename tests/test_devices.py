import subprocess
import sys
import threading

import pytest
import torch

from hpo_utils import devices
from hpo_utils.errors import ConfigError


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


def test_a_container_has_no_more_memory_than_its_limit(tmp_path, monkeypatch):
    job = tmp_path / "pods" / "job"
    job.mkdir(parents=True)
    monkeypatch.setattr(devices, "CGROUPS", tmp_path)
    monkeypatch.setattr(devices, "OWN_GROUP", tmp_path / "own")
    whole = devices.free_memory(torch.device("cpu"))
    assert devices._room_in_groups() == []
    (tmp_path / "own").write_text("4:memory:/old\n0::/pods/job\n")
    for group, limit in ((job, "max"), (job.parent, "3000000")):
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.current").write_text("2000000\n")
        (group / "memory.stat").write_text(
            "anon 9\nfile 700000\ninactive_file 500000\nactive_file 100000\nworkingset 1\n"
        )
    assert devices._room_in_groups() == [1_600_000]
    assert devices.free_memory(torch.device("cpu")) == 1_600_000 < whole


def test_a_device_that_is_not_there_is_said():
    with pytest.raises(ConfigError, match="training.device must be auto, cpu or .* got 'gpu7'"):
        devices.select_device("gpu7")
    assert devices.select_device("auto").type in ("cpu", "cuda")


def test_threads_are_as_before_behind_the_block():
    def fail() -> None:
        with devices.using_threads(before + 1):
            assert torch.get_num_threads() == before + 1
            raise KeyError

    before = torch.get_num_threads()
    with pytest.raises(KeyError):
        fail()
    assert torch.get_num_threads() == before


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


STEPS = """
import ctypes, resource, torch
from hpo_utils.devices import keep_freed_memory, release_memory

layers = torch.nn.Sequential(torch.nn.Conv2d(2, 16, 3), torch.nn.ReLU(), torch.nn.Conv2d(16, 2, 3))
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # no huge pages, which a single fault would fetch

def faults_of_a_step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    layers(torch.ones(4, 2, 512, 512)).sum().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

print(min(faults_of_a_step() for _ in range(5)) > 10_000)
keep_freed_memory()
print([faults_of_a_step() for _ in range(5)][-1] < 100)
kept = resident()
release_memory(torch.device("cpu"))
print(kept - resident() > 10_000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of Linux's C library")
def test_freed_memory_is_kept_until_it_is_released():
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    many_at_first, few_later, given_back = (line == "True" for line in done.stdout.split())
    asked = f"import ctypes; print(ctypes.CDLL(None).mallopt(-3, {devices.KEPT_BLOCKS}))"
    answer = subprocess.check_output([sys.executable, "-c", asked], text=True)
    # glibc before 2.35 refuses so high a threshold, and then nothing may be changed
    assert few_later == (answer.strip() == "1")
    assert many_at_first
    assert given_back or not few_later


LIMITED = """
resource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))
keep_freed_memory()
print(min(faults_of_a_step() for _ in range(5)) > 10_000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of Linux's C library")
def test_freed_memory_is_not_kept_where_memory_is_limited():
    script = STEPS.split("print")[0] + LIMITED
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True"]


def test_freed_memory_is_kept_only_where_the_c_library_takes_both_settings(monkeypatch):
    """With the second alone each step takes twice as long."""
    told = []

    def refusing(function, *arguments):
        told.append(arguments[0])
        return False

    monkeypatch.setattr(devices, "_refuses_memory", lambda: False)
    monkeypatch.setattr(devices, "_call_c_library", refusing)
    devices.keep_freed_memory.__wrapped__()
    assert told == [devices.M_MMAP_THRESHOLD]


@pytest.mark.parametrize(
    ("said", "limited", "expected"),
    [
        ("could not create a primitive", False, False),
        ("could not create a primitive", True, True),
        ("could not create a primitive descriptor for a convolution", True, False),
        ("could not create a memory object", False, True),
        ("DefaultCPUAllocator: can't allocate memory: you tried", False, True),
        ("mat1 and mat2 shapes cannot be multiplied", True, False),
    ],
)
def test_what_onednn_says_is_a_lack_of_memory_only_where_there_is_one(
    monkeypatch, said, limited, expected
):
    monkeypatch.setattr(devices, "_refuses_memory", lambda: limited)
    assert devices.is_out_of_memory(RuntimeError(said)) is expected
