"""What the allocator keeps for the next layer and returns afterwards: its own statistics, in a separate process."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

from config.settings import PROJECT_DIR

LAYERS = """
import ctypes, json
import torch
from cogs.memory.inference import allocator

FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()

class Statistics(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Statistics

def in_memory():
    lines = dict(line.split(":") for line in open("/proc/self/status"))
    return sum(int(lines[name].split()[0]) << 10 for name in ("VmRSS", "VmSwap"))

def layer():
    before = libc.mallinfo2().hblkhd
    blocks = [torch.empty(6 << 20, dtype=torch.uint8).fill_(1) for _ in range(4)]
    return libc.mallinfo2().hblkhd - before

# glibc's documented defaults, set so that it does not move them by itself.
libc.mallopt(allocator.M_MMAP_THRESHOLD, 128 << 10)
libc.mallopt(allocator.M_TRIM_THRESHOLD, 128 << 10)
mapped_by_default = layer()

allocator.keep_freed_memory()
mapped_when_kept = [layer() for _ in range(3)]
first = libc.mallinfo2()
for _ in range(20):
    layer()
last, held = libc.mallinfo2(), in_memory()
allocator.release_freed_memory()
print(json.dumps({
    "mapped by default": mapped_by_default,
    "mapped when kept": max(mapped_when_kept),
    "free when kept": first.fordblks,
    "asked of the system by 20 more layers": last.arena - first.arena,
    "returned": held - in_memory(),
}))
"""
LAYER_BYTES = 24 << 20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_layers_reuse_what_the_last_one_freed_and_it_can_be_returned() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LAYERS], capture_output=True, text=True, cwd=PROJECT_DIR, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)

    assert seen["mapped by default"] >= LAYER_BYTES  # each block is fetched from the system, and returned at once
    assert seen["mapped when kept"] == 0
    assert seen["free when kept"] >= LAYER_BYTES
    assert seen["asked of the system by 20 more layers"] == 0
    assert seen["returned"] >= LAYER_BYTES * 3 // 4
