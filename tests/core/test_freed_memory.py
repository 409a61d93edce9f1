"""Memory that was freed is there for the next step and given back in the end; seen in processes that hold nothing else."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's memory")

STEPS = """
import resource, torch
from contextlib import nullcontext
from neuromvm.training.device import freed_memory_kept

def pages(steps, context):
    with context:
        for step in range(steps):
            if step == 3:
                before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            held = [torch.ones(16 * 2**20, dtype=torch.uint8) for _ in range(12)]
            del held
        return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // (steps - 3)
print(pages(13, nullcontext()), pages(13, freed_memory_kept()))
"""
HELD = """
import torch
from pathlib import Path
from neuromvm.training.device import freed_memory_kept

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

before = held()
with freed_memory_kept():
    blocks = [torch.ones(2**20, dtype=torch.uint8) for _ in range(200)]
    del blocks
    kept = held() - before
print(kept // 2**20, (held() - before) // 2**20)
"""


def numbers_of(code: str) -> list[int]:
    """Run Python and return the numbers that it prints."""
    return [*map(int, subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())]


def test_what_a_step_frees_the_next_one_takes():
    usual, kept = numbers_of(STEPS)
    assert usual > 50  # pages that the kernel hands out anew for 192 MiB, some of them of 2 MiB
    assert kept < 10


def test_memory_is_given_back_at_the_end():
    kept, left = numbers_of(HELD)
    assert kept > 150  # MiB of 200
    assert left < 50
