import subprocess
import sys

import pytest
import torch

from hpo_utils.network import memory


def test_a_container_has_no_more_memory_than_its_limit(tmp_path, monkeypatch):
    job = tmp_path / "pods" / "job"
    job.mkdir(parents=True)
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "OWN_GROUP", tmp_path / "own")
    whole = memory.free_memory(torch.device("cpu"))
    assert memory._room_in_groups() == []
    (tmp_path / "own").write_text("4:memory:/old\n0::/pods/job\n")
    for group, limit in ((job, "max"), (job.parent, "3000000")):
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.current").write_text("2000000\n")
        (group / "memory.stat").write_text(
            "anon 9\nfile 700000\ninactive_file 500000\nactive_file 100000\nworkingset 1\n"
        )
    assert memory._room_in_groups() == [1_600_000]
    assert memory.free_memory(torch.device("cpu")) == 1_600_000 < whole


STEPS = """
import ctypes, resource, torch
from hpo_utils.network.memory import keep_freed_memory, release_memory

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
    asked = f"import ctypes; print(ctypes.CDLL(None).mallopt(-3, {memory.KEPT_BLOCKS}))"
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

    monkeypatch.setattr(memory, "_refuses_memory", lambda: False)
    monkeypatch.setattr(memory, "_call_c_library", refusing)
    memory.keep_freed_memory.__wrapped__()
    assert told == [memory.M_MMAP_THRESHOLD]


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
    monkeypatch.setattr(memory, "_refuses_memory", lambda: limited)
    assert memory.is_out_of_memory(RuntimeError(said)) is expected
