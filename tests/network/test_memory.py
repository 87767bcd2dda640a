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
