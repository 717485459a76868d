"""What a large model's layers cost beside their work: memory that is fetched anew, seen from a process of its own."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

LAYERS = """
import resource, sys
import torch
from cogs.memory import heap

if sys.argv[1] == "kept":
    heap.keep_blocks()

def layer():
    blocks = [torch.empty(6 << 20, dtype=torch.uint8).fill_(1) for _ in range(4)]

for _ in range(3):
    layer()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    layer()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
if sys.argv[1] == "kept":
    status = lambda: int(next(l for l in open("/proc/self/status") if l.startswith("VmRSS")).split()[1])
    held = status()
    heap.give_back()
    print(held - status())
"""


def run(how: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", LAYERS, how],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        check=True,
    )
    return [int(line) for line in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these switches")
def test_layers_write_to_memory_that_is_there_already_and_it_can_be_given_back() -> None:
    (as_it_comes,) = run("as it comes")
    kept, given_back = run("kept")

    assert kept * 20 < as_it_comes
    assert given_back > 20 << 10  # KiB: the 24 MiB that the layers used
