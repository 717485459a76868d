"""The loaded models in use: each request holds them while it runs, and the last one to leave closes them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """Something with memory to give back."""

    def close(self) -> None:
        """Free it."""


M = TypeVar("M", bound=Closable)


@dataclass
class _Held(Generic[M]):
    model: M
    users: int = 0
    retired: bool = False


class ModelSlot(Generic[M]):
    """The model in use. A swap lets requests in flight finish on the old one, which is closed when the last leaves.

    ``close_model`` says how the last to leave closes it, by default by calling ``close()`` where it stands; pass a
    function where closing takes long and the last to leave may be the event loop.
    """

    def __init__(self, model: M, close_model: Callable[[M], None] | None = None) -> None:
        self._held = _Held(model)
        self._lock = threading.Lock()
        self._close_model = close_model or (lambda model: model.close())

    @property
    def current(self) -> M:
        """The model that new requests get; only to look at, for it may be closed once swapped."""
        return self._held.model

    @contextmanager
    def acquire(self) -> Iterator[M]:
        """Hold the current model for one request; it stays open until the end of the ``with`` block."""
        with self._lock:
            held = self._held
            held.users += 1
        try:
            yield held.model
        finally:
            self._leave(held)

    def _leave(self, held: _Held[M]) -> None:
        with self._lock:
            held.users -= 1
            last = held.retired and held.users == 0
        if last:
            self._close_model(held.model)

    def swap(self, model: M) -> None:
        """Give new requests ``model``; the old one is closed at once where nobody uses it."""
        with self._lock:
            old, self._held = self._held, _Held(model)
            old.retired = True
            unused = old.users == 0
        if unused:
            self._close_model(old.model)
