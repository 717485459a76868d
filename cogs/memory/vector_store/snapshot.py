"""The snapshot of one server's index on disk: a header, then slots that are checked and rewritten one by one.

The header says what the vectors are and up to which change of the database they reach. A slot holds one segment: a
page with its own header, the ids, the change numbers, the codes. A slot's checksum covers its place, its channel and
everything in it. A slot that was half written, or damaged since, is not read: it is wiped, and its rows come back
from the database. No text and nothing about a person is in the file.

The format is the project's own because of what a deletion asks for: the bytes of one vector must be overwritten on
disk at once, without writing the whole index, which is hundreds of megabytes on a large server.
``faiss.write_index`` and NumPy's ``.npz`` can only write a whole file. LMDB keeps old pages until they are reused.
SQLite, where the vectors lie already, reads them row by row: that is the slow start which the snapshot avoids. And
damage must cost one slot, not the index, which one checksum over a whole file cannot give.
"""

from __future__ import annotations

import logging
import os
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cogs.memory.vector_store.base import Ids
from cogs.memory.vector_store.segment import CAPACITIES, Codes, Segment

log = logging.getLogger(__name__)
VERSION = 1
PAGE = 4096
READERS = 4
READ_AHEAD = 16
"""Slots that are read at the same time, of 3 MB at most with 384 dimensions."""
_HEADER = struct.Struct("<8sIIq256sI")  # magic, version, dim, watermark, model key and kind, checksum
_SLOT = struct.Struct("<8sqIII")  # magic, channel id, capacity, rows, checksum
_MAGIC, _SLOT_MAGIC = b"MNEMEIDX", b"MNEMESLT"


@dataclass(frozen=True, slots=True)
class Header:
    """What a slot says of itself; ``slot`` is where it begins in the file."""

    slot: int
    channel_id: int
    capacity: int
    rows: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Contents:
    """The rows of one sound slot."""

    slot: int
    channel_id: int
    capacity: int
    ids: Ids
    seqs: Ids
    codes: Codes


class Snapshot:
    """Not thread-safe: the store guards it."""

    def __init__(self, directory: Path, dim: int, code_size: int, identity: str) -> None:
        self.path = directory / "vectors.idx"
        self._dim = dim
        self._code_size = code_size
        self._identity = identity.encode()[:256]
        self._file: int | None = None
        self._end = PAGE
        self._free: dict[int, list[int]] = {capacity: [] for capacity in CAPACITIES}
        self._capacities: dict[int, int] = {}

    @property
    def is_open(self) -> bool:
        """Whether there is a file that this object keeps."""
        return self._file is not None

    def _slot_size(self, capacity: int) -> int:
        return PAGE + -(-capacity * (16 + self._code_size) // PAGE) * PAGE

    def _header(self, watermark: int) -> bytes:
        body = _HEADER.pack(_MAGIC, VERSION, self._dim, watermark, self._identity, 0)[:-4]
        return body + struct.pack("<I", zlib.crc32(body))

    # -- reading ----------------------------------------------------------------------------------------------------

    def read_watermark(self) -> int | None:
        """Open the file and return its watermark; ``None`` where there is none that may be read.

        A file of another embedder, dimension, kind or version, or with a damaged header, is deleted.
        """
        try:
            self._file = os.open(self.path, os.O_RDWR)
        except FileNotFoundError:
            return None
        raw = os.pread(self._file, _HEADER.size, 0)
        if len(raw) == _HEADER.size and zlib.crc32(raw[:-4]) == struct.unpack("<I", raw[-4:])[0]:
            magic, version, dim, watermark, identity, _ = _HEADER.unpack(raw)
            found = (magic, version, dim, identity.rstrip(b"\0"))
            if found == (_MAGIC, VERSION, self._dim, self._identity):
                return int(watermark)
        log.warning("the index snapshot %s is damaged or of another model and is made anew", self.path)
        self.delete()
        return None

    def slots(self) -> Iterator[Contents]:
        """Yield every sound slot in the order of the file; wipe the others."""
        taken = list(self._taken())
        with ThreadPoolExecutor(READERS) as pool:  # reading and summing up hold no interpreter lock
            for start in range(0, len(taken), READ_AHEAD):
                part = taken[start : start + READ_AHEAD]
                for header, contents in zip(part, pool.map(self._read, part), strict=True):
                    if contents is None:
                        log.warning("a part of the index snapshot %s is damaged; its rows are made anew", self.path)
                        self.free(header.slot)
                    else:
                        yield contents

    def _taken(self) -> Iterator[Header]:
        """Yield the headers of slots that hold rows, and note all slots; cut the file where a header is none."""
        assert self._file is not None
        size = os.fstat(self._file).st_size
        while self._end + PAGE <= size:
            slot = self._end
            magic, channel_id, capacity, rows, checksum = _SLOT.unpack(os.pread(self._file, _SLOT.size, slot))
            if magic != _SLOT_MAGIC or capacity not in CAPACITIES or rows > capacity:
                # Where the next slot begins stands in this header alone, so nothing behind it can be trusted.
                log.warning("the index snapshot %s is damaged from byte %d on", self.path, slot)
                os.ftruncate(self._file, slot)
                return
            self._end += self._slot_size(capacity)
            self._capacities[slot] = capacity
            if rows:
                yield Header(slot, channel_id, capacity, rows, checksum)
            else:
                self._free[capacity].append(slot)

    def _read(self, header: Header) -> Contents | None:
        assert self._file is not None
        slot, rows, capacity = header.slot, header.rows, header.capacity
        ids, seqs = np.empty(rows, dtype=np.int64), np.empty(rows, dtype=np.int64)
        codes = np.empty((rows, self._code_size), dtype=np.uint8)
        start = slot + PAGE
        for values, offset in ((ids, start), (seqs, start + capacity * 8), (codes, start + capacity * 16)):
            if os.preadv(self._file, [values.data], offset) != values.nbytes:
                return None
        if self._checksum(slot, header.channel_id, capacity, ids, seqs, codes) != header.checksum:
            return None
        return Contents(slot, header.channel_id, capacity, ids, seqs, codes)

    @staticmethod
    def _checksum(slot: int, channel_id: int, capacity: int, ids: Ids, seqs: Ids, codes: Codes) -> int:
        value = zlib.crc32(struct.pack("<qqII", slot, channel_id, capacity, len(ids)))
        for part in (ids, seqs, codes):
            value = zlib.crc32(np.ascontiguousarray(part).data, value)
        return value

    # -- writing ----------------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Begin an empty file; its header is whole from the first moment that it has its name."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        file = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.pwrite(file, self._header(0).ljust(PAGE, b"\0"), 0)
            os.fsync(file)
            os.replace(temporary, self.path)
            self._sync_directory()
        except BaseException:
            os.close(file)
            raise
        self._file = file

    def _sync_directory(self) -> None:
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def write(self, segment: Segment) -> None:
        """Write a segment to its slot, or to a new one where it has none or has outgrown it."""
        assert self._file is not None
        if segment.slot is not None and self._capacities[segment.slot] != segment.capacity:
            self.free(segment.slot)
            segment.slot = None
        if not len(segment):
            if segment.slot is not None:
                self.free(segment.slot)
                segment.slot = None
            segment.changed = False
            return
        slot = segment.slot if segment.slot is not None else self._allocate(segment.capacity)
        segment.slot, segment.changed = slot, True  # until it is written whole
        capacity, ids, seqs, codes = segment.capacity, segment.ids, segment.seqs, segment.codes
        checksum = self._checksum(slot, segment.channel_id, capacity, ids, seqs, codes)
        header = _SLOT.pack(_SLOT_MAGIC, segment.channel_id, capacity, len(segment), checksum)
        start = slot + PAGE
        self._pwrite(header, slot)
        # What rows were taken out of lies behind the rest, and is overwritten with nothing.
        self._pwrite(ids.tobytes().ljust(capacity * 8, b"\0"), start)
        self._pwrite(seqs.tobytes().ljust(capacity * 8, b"\0"), start + capacity * 8)
        self._pwrite(np.ascontiguousarray(codes).data.cast("B"), start + capacity * 16)
        self._wipe(start + capacity * 16 + codes.nbytes, slot + self._slot_size(capacity))
        segment.changed = False

    def _allocate(self, capacity: int) -> int:
        if self._free[capacity]:
            return self._free[capacity].pop()
        assert self._file is not None
        slot, end = self._end, self._end + self._slot_size(capacity)
        os.ftruncate(self._file, end)  # first: where it fails, nothing was given out
        self._end = end
        self._capacities[slot] = capacity
        return slot

    def free(self, slot: int) -> None:
        """Wipe a slot; it may be used again."""
        capacity = self._capacities[slot]
        self._pwrite(_SLOT.pack(_SLOT_MAGIC, 0, capacity, 0, 0), slot)
        self._wipe(slot + PAGE, slot + self._slot_size(capacity))
        self._free[capacity].append(slot)

    def _pwrite(self, data: bytes | memoryview, offset: int) -> None:
        assert self._file is not None
        view = memoryview(data).cast("B")
        while view:
            written = os.pwrite(self._file, view, offset)
            view, offset = view[written:], offset + written

    def _wipe(self, start: int, end: int) -> None:
        """Overwrite a range with zeros, leaving alone what the file system never stored."""
        assert self._file is not None
        while start < end:
            try:
                start = os.lseek(self._file, start, os.SEEK_DATA)
            except OSError:
                return  # no data from here to the end of the file
            if start >= end:
                return
            hole = min(end, os.lseek(self._file, start, os.SEEK_HOLE))
            self._pwrite(bytes(hole - start), start)
            start = hole

    def sync(self, watermark: int | None = None) -> None:
        """Bring what was written to the disk, then the watermark."""
        assert self._file is not None
        os.fsync(self._file)
        if watermark is not None:
            self._pwrite(self._header(watermark), 0)
            os.fsync(self._file)

    def delete(self) -> None:
        """Delete the file."""
        self.close()
        self.path.unlink(missing_ok=True)
        self._end = PAGE
        self._free = {capacity: [] for capacity in CAPACITIES}
        self._capacities = {}

    def close(self) -> None:
        """Close the file, which stays."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
