"""Answers of servers that cannot grow beyond what was allowed for: what is decoded is bounded, not what is received."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import httpx

PLAIN: Final = {"Accept-Encoding": "identity"}
"""Nothing is asked for in compressed form: a megabyte on the wire can be two gigabytes in memory."""


class TooLarge(httpx.TransportError):
    """A server sends more than was allowed for, or sends it compressed although that was not asked for."""


class BoundedTransport(httpx.HTTPTransport):
    """Passes on at most ``most_bytes`` of an answer, and nothing that would have to be decompressed.

    Use it with the headers :data:`PLAIN`.
    """

    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self._most_bytes = most_bytes

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request.

        Raises:
            TooLarge: at once where the answer is compressed, and while it is read where it becomes too long.
        """
        response = super().handle_request(request)
        if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            response.close()
            raise TooLarge("the answer is compressed")
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Bounded(response.stream, self._most_bytes)
        return response


class _Bounded(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, most_bytes: int) -> None:
        self._stream = stream
        self._left = most_bytes

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            self._left -= len(chunk)
            if self._left < 0:
                raise TooLarge("the answer is too long")
            yield chunk

    def close(self) -> None:
        self._stream.close()
