"""The memory of the process stays within bounds however big an export is, packed or not."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from config.settings import PROJECT_DIR
from tests.imports.test_importing import EXPORT, MESSAGE

LIMIT = 200 << 20
"""Bytes that an import may take beyond what the process has anyway."""

SIZE = 100 << 20
PROBE = """
import asyncio, sys
from pathlib import Path
from cogs.imports.importing import import_files

class Counting:
    messages = 0
    async def guild_ids(self): return []
    async def channels(self, guild_id): return []
    async def upsert_guild(self, *args): pass
    async def upsert_channels(self, *args): pass
    async def stored_versions(self, *args): return {}
    async def remember(self, messages, mark_seen=True):
        self.messages += len(messages)
        return len(messages)

def peak():
    # Not getrusage's, which begins with what the process held that this one was forked from.
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])

service, before = Counting(), peak()
steps = []
async def told(step, done, total): steps.append((step, done / total))
report = asyncio.run(import_files(service, [Path(sys.argv[1])], told))
assert not report.not_imported, report.not_imported
assert report.imported == service.messages
assert steps == sorted(steps, key=lambda step: (step[0] != "Checking", step[1]))
assert steps[-1] == ("Importing", 1.0), steps[-1]
print(report.imported, peak() - before)
"""


def _write(path: Path) -> int:
    """Write an export of :data:`SIZE` bytes; return the number of its messages."""
    message = json.dumps({**MESSAGE, "content": "We meet at the lighthouse. " * 100, "id": "ID"}, indent=1)
    count = SIZE // len(message)
    head, tail = json.dumps({**EXPORT, "messages": "LIST", "messageCount": count}).split('"LIST"')
    with path.open("w", encoding="utf-8") as file:
        file.write(head + "[")
        for number in range(count):
            file.write((",\n" if number else "") + message.replace('"ID"', f'"{900_000_000_000_000_000 + number}"'))
        file.write("]" + tail)
    return count


@pytest.mark.parametrize("packed", [False, True])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "big.json"
    count = _write(path)
    if packed:
        with zipfile.ZipFile(tmp_path / "big.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.write(path, "big.json")
        path = tmp_path / "big.zip"
        assert path.stat().st_size * 200 > SIZE, "a real export packs less well"
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(path)], cwd=PROJECT_DIR, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    imported, grown = map(int, done.stdout.split())
    assert imported == count
    assert grown < LIMIT / 2
