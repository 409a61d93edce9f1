"""Activity is kept in memory until the budget is used up, then in mapped files; it is read a block after the other."""

from pathlib import Path

import numpy as np
import pytest

from neuromvm.data import memory
from neuromvm.data.memory import MemoryBudget, available_memory, default_budget, is_mapped
from neuromvm.errors import DataFormatError


def test_room_is_given_until_it_is_taken():
    small = MemoryBudget(250)
    arrays = [small.array((100,), np.uint8) for _ in range(4)]
    assert [is_mapped(array) for array in arrays] == [False, False, True, True]
    for number, array in enumerate(arrays):
        array[:] = number
    assert [int(array.sum()) for array in arrays] == [0, 100, 200, 300]
    assert is_mapped(arrays[3].reshape(10, 10)[2:])
    assert not is_mapped(arrays[3] + 1)


@pytest.mark.parametrize("budget", [0, 10**9])
def test_blocks_are_joined_in_the_widest_of_their_types(budget):
    random = np.random.default_rng(0)
    blocks = [random.integers(0, 2**bits, (7, 3)).astype(f"u{1 if bits == 8 else 2}") for bits in (8, 8, 12, 8)]
    joined = MemoryBudget(budget).concatenate(28, iter(blocks))
    assert joined.dtype == np.uint16
    assert is_mapped(joined) == (budget == 0)
    np.testing.assert_array_equal(joined, np.concatenate(blocks))


def test_the_environment_says_how_much_memory_may_be_taken(monkeypatch):
    monkeypatch.setenv("NEUROMVM_MEMORY", "1.5")
    assert default_budget() == 1_500_000_000
    for wrong in ("much", "-1", "inf"):
        monkeypatch.setenv("NEUROMVM_MEMORY", wrong)
        with pytest.raises(DataFormatError, match="a number of GB"):
            default_budget()
    monkeypatch.delenv("NEUROMVM_MEMORY")
    assert 0 < default_budget() < available_memory() * 1.5


def test_a_limit_of_the_job_counts_and_not_only_the_memory_of_the_machine(tmp_path, monkeypatch):
    for name, most, taken in (("outer", "3000000", "1000000"), ("inner", "max", "500000")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "memory.max").write_text(f"{most}\n")
        (tmp_path / name / "memory.current").write_text(f"{taken}\n")
    monkeypatch.setattr(memory, "_control_groups", lambda: [tmp_path / "inner", tmp_path / "outer", Path("absent")])
    assert available_memory() == 2_000_000


def test_a_disk_without_room_is_named(monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(memory.os, "posix_fallocate", full, raising=False)
    with pytest.raises(DataFormatError, match=r"No space left on device.*Set TMPDIR"):
        MemoryBudget(0).array((10,), np.uint8)
