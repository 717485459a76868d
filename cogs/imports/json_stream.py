"""A JSON file read piece by piece, so that memory does not grow with it.

The top level is an object or a list; what is asked of it comes as Python values, one at a time. Nothing that is built
is larger than :data:`MAX_VALUE` bytes of the file or nested deeper than :data:`MAX_DEPTH`.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from typing import Any, Final

import ijson
from ijson.common import JSONError, ObjectBuilder

from cogs.imports.errors import BadExport
from cogs.imports.sources import Source

CHUNK: Final = 1 << 16
MAX_VALUE: Final = 16 << 20
"""Bytes of the file that one message may take. Discord's own limits allow some 100,000."""

MAX_DEPTH: Final = 100
ITEM: Final = "[]"
"""The name under which the items of a top-level list come."""

_BOM = b"\xef\xbb\xbf"
_Event = tuple[str, Any]


class _Reader:
    """The bytes of a file, counted, up to a limit beyond the last :meth:`mark`."""

    def __init__(self, source: Source, stream: io.BufferedReader) -> None:
        self.position = 0
        self.last = b""
        self.ended = False
        self._source = source
        self._stream = stream
        self._marked = 0

    def read(self, size: int = CHUNK) -> bytes:
        """Return the next bytes for the parser."""
        if self.position - self._marked > MAX_VALUE:
            raise BadExport(f"{self._source.name} cannot be imported: it holds a value that no export holds.")
        data = self._stream.read(min(size, CHUNK)) if size else b""
        if size and not data:
            self.ended = True
        if self.position == 0 and data.startswith(_BOM):
            self.position, data = len(_BOM), data[len(_BOM) :] or self._stream.read(CHUNK)
        self.position += len(data)
        self.last = data or self.last
        return data

    def mark(self) -> None:
        """Say that what came so far is dealt with."""
        self._marked = self.position


class JsonStream:
    """The top level of a JSON file. ``position`` tells how many of its bytes have been read."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._reader: _Reader | None = None

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return 0 if self._reader is None else self._reader.position

    def members(self, wanted: Collection[str], listed: str = "") -> Iterator[tuple[str, Any]]:
        """Yield ``(name, value)`` of the top level.

        Args:
            wanted: The members that are built; others are passed over.
            listed: A member that is a list whose items come one by one. The list itself is announced by its name and
                ``None``. The items of a top-level list come under :data:`ITEM`.

        Raises:
            BadExport: the file cannot be read, is cut off or broken, or is neither an object nor a list.
        """
        try:
            with self.source.open() as stream:
                self._reader = reader = _Reader(self.source, stream)
                try:
                    yield from self._members(reader, wanted, listed)
                except JSONError as error:
                    raise self._broken(reader, error) from None
                except (ValueError, OverflowError):  # a number that is none
                    raise self._bad("it holds a value that no export holds") from None
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise BadExport(f"{self.source.name} cannot be read: {why}.") from error

    def _members(self, reader: _Reader, wanted: Collection[str], listed: str) -> Iterator[tuple[str, Any]]:
        events = iter(ijson.basic_parse(reader, use_float=True, buf_size=CHUNK))
        event, value = next(events)
        if event == "start_array":
            yield from self._items(events, reader, ITEM)
        elif event == "start_map":
            for event, value in events:
                if event == "end_map":
                    break
                name = str(value)
                event, value = next(events)
                if name == listed and event == "start_array":
                    yield name, None
                    yield from self._items(events, reader, name)
                elif name in wanted:
                    yield name, self._built(events, event, value)
                else:
                    self._passed_over(events, event, reader)
                reader.mark()
        else:
            raise self._bad("it is no export")
        for _ in events:  # to its end, where anything behind it is an error
            pass

    def _items(self, events: Iterator[_Event], reader: _Reader, name: str) -> Iterator[tuple[str, Any]]:
        for event, value in events:
            if event == "end_array":
                return
            yield name, self._built(events, event, value)
            reader.mark()

    def _built(self, events: Iterator[_Event], event: str, value: Any) -> Any:
        builder = ObjectBuilder()
        builder.event(event, value)
        depth = int(event.startswith("start_"))
        while depth:
            event, value = next(events)
            builder.event(event, value)
            depth += event.startswith("start_") - event.startswith("end_")
            if depth > MAX_DEPTH:
                raise self._bad("it holds a value that no export holds")
        return builder.value

    def _passed_over(self, events: Iterator[_Event], event: str, reader: _Reader) -> None:
        depth = int(event.startswith("start_"))
        while depth:
            event, _ = next(events)
            depth += event.startswith("start_") - event.startswith("end_")
            reader.mark()

    # -- what is wrong -------------------------------------------------------------------------------------

    def _bad(self, what: str) -> BadExport:
        return BadExport(f"{self.source.name} cannot be imported: {what}.")

    def _broken(self, reader: _Reader, error: JSONError) -> BadExport:
        """Return what is wrong and where; the parser tells only the piece, so that is read again byte by byte."""
        line, column, at_end, text = self._place(reader)
        if at_end:
            what = "it ends in the middle"
        elif "UTF8" in str(error):
            what = "it is no UTF-8 text"
        elif not text:
            what = "it is no JSON"
        else:
            what = "it is broken there"
        return self._bad(f"{what} (line {line:,}, column {column:,})")

    def _place(self, reader: _Reader) -> tuple[int, int, bool, bool]:
        """Return line, column, whether the file ends there, and whether anything before it made sense."""
        events = ijson.sendable_list()
        parser = ijson.basic_parse_coro(events, use_float=True)
        line, column, left, some = 1, 1, reader.position - len(reader.last), False
        with self.source.open() as stream:
            again = _Reader(self.source, stream)
            while left > 0 and (piece := again.read(min(CHUNK, left))):
                again.mark()
                left -= len(piece) + (len(_BOM) if again.position == len(piece) + len(_BOM) else 0)
                line, column = _moved(line, column, piece)
                parser.send(piece)
                some = some or bool(events)
                events.clear()
            for byte in again.read(CHUNK):
                try:
                    parser.send(bytes([byte]))
                except JSONError:
                    return line, column, False, some
                some = some or bool(events)
                events.clear()
                line, column = _moved(line, column, bytes([byte]))
        return line, column, True, True


def _moved(line: int, column: int, data: bytes) -> tuple[int, int]:
    lines = data.count(b"\n")
    return line + lines, len(data) - data.rfind(b"\n") if lines else column + len(data)
