"""Packed forward passes padded to few shapes, so that a GPU can replay a shape that comes again as a CUDA graph.

A pass over fifty chat messages takes a GPU less time than Python needs to start its thousand kernels. A CUDA graph
starts them all at once, but it is recorded for one shape and reads its inputs from fixed memory. So sizes are rounded
up in steps, and the inputs of a pass are copied to where the recording reads them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from cachetools import LRUCache
from torch import Tensor

from cogs.memory.rerankers.packed.attention import Attention, Padded
from cogs.memory.rerankers.packed.budget import Budget
from cogs.memory.rerankers.packed.decoder import PackedDecoder
from cogs.memory.rerankers.packed.kernels import Flex
from cogs.memory.rerankers.packed.prefix_cache import KeyValues, PrefixCache
from cogs.memory.rerankers.packed.prompt_tokens import PromptTokens
from cogs.memory.rerankers.packed.spans import Shape, Spans

log = logging.getLogger(__name__)

Compute = Callable[[], Tensor]
Record = Callable[[Compute], tuple[Callable[[], None], Tensor]]
"""Record a computation on tensors that stay where they are; returns how to play it again, and where its result will
then be."""

RECORDINGS: Final = 24
"""Shapes whose recordings are kept; they share one pool of memory."""
FAITHFUL: Final = 0.03
"""By how much of its length a recording's first result may differ from what it records."""


def shape_for(head: int, lengths: Sequence[int]) -> Shape:
    """Return the shape that a pass is padded to.

    Sizes are rounded up in steps of a third to a half; the rows, whose number decides the time, by an eighth at most.
    """
    shared = _step(head, 16) if head else 0
    rows = max(64, shared + sum(lengths))
    eighth = max(16, 1 << ((rows - 1).bit_length() - 4))
    return Shape(shared, -(-rows // eighth) * eighth, _step(len(lengths), 8), _step(max(lengths), 16))


def _step(size: int, least: int) -> int:
    """Return the smallest of ``least`` · (1, 1.5, 2, 3, 4, 6, …) that is no less than ``size``."""
    step = least
    while step < size:
        if step * 3 // 2 >= size:
            return step * 3 // 2
        step *= 2
    return step


@dataclass(slots=True)
class _Recording:
    """A recorded pass: what it reads, and where its result will be."""

    play: Callable[[], None]
    past: KeyValues | None
    inputs: tuple[Tensor, ...]
    hidden: Tensor


class ShapedDecoder:
    """Reads documents' last states by passes of few shapes.

    Args:
        decoder: the packed pass, which attends in any way but per document.
        record: how the device records; ``None`` where it cannot.
    """

    def __init__(self, decoder: PackedDecoder, record: Record | None) -> None:
        self._decoder = decoder
        self._record = None if decoder.attention is Flex else record
        self._recordings: LRUCache[tuple[Shape, int], _Recording | None] = LRUCache(RECORDINGS)

    @torch.inference_mode()
    def read(self, past: KeyValues | None, head: Sequence[int], tails: Sequence[Sequence[int]]) -> Tensor:
        """Return the normed state of each tail's last token, of shape (documents, hidden size).

        The second pass of a shape records it. ``past`` must be the same object for a recording to be played.
        """
        lengths = [len(tail) for tail in tails]
        known = 0 if past is None else len(past)
        if not known + len(head) or not all(lengths) or not tails:
            raise ValueError("a packed pass needs a shared beginning, documents, and no empty one")
        spans = Spans(known, len(head), tuple(lengths), shape_for(len(head), lengths))
        device = self._decoder.device
        ids, positions = spans.rows(head, tails).to(device), spans.positions().to(device)
        attention = self._decoder.attention(spans, device)
        key = (spans.shape, known)
        recording = self._recordings.get(key)
        if recording is not None and recording.past is past:
            for place, given in zip(recording.inputs, (ids, positions, *attention.tensors), strict=True):
                place.copy_(given)
            recording.play()
            return recording.hidden[: len(tails)].clone()
        hidden, _ = self._decoder.compute(ids, positions, past, attention)
        if self._record is not None:
            again = key in self._recordings
            self._recordings[key] = self._recorded(ids, positions, past, attention, hidden) if again else None
        return hidden[: len(tails)]

    def _recorded(
        self, ids: Tensor, positions: Tensor, past: KeyValues | None, attention: Attention, expected: Tensor
    ) -> _Recording | None:
        """Record a pass; if that fails, or its replay computes something else, nothing is recorded any more."""
        assert self._record is not None
        documents = len(attention.spans.lengths)
        try:
            play, hidden = self._record(lambda: self._decoder.compute(ids, positions, past, attention)[0])
            play()
            found, right = hidden[:documents].float(), expected[:documents].float()
            apart = float((found - right).norm() / right.norm())
        except RuntimeError as error:
            log.warning("passes are not recorded any more, for one could not be: %s", error)
            self.forget()
            self._record = None
            return None
        if not apart <= FAITHFUL:
            log.warning("passes are not recorded any more, for one played differently (by %.2g)", apart)
            self.forget()
            self._record = None
            return None
        return _Recording(play, past, (ids, positions, *attention.tensors), hidden)

    def forget(self) -> None:
        """Free the recordings."""
        self._recordings.clear()


class GraphRecorder:
    """Records CUDA graphs, which share one pool of memory: none is played while another's result is needed."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, compute: Compute) -> tuple[Callable[[], None], Tensor]:
        """See :data:`Record`."""
        stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            compute()  # what libraries set up at their first call on a stream cannot be recorded
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # The embedder may use the device from a thread of its own meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
            hidden = compute()
        return graph.replay, hidden


class ShapedScorer:
    """Reads numbers off the last token of each prompt by passes of few shapes.

    The instruction's state is kept; the query is computed in every pass, where a few more rows cost nothing.

    Args:
        readout: the rows of the output head to read, of shape (numbers, hidden size).
        batch_tokens: the tokens of one pass, counted as padded where the attention pads.
    """

    def __init__(self, decoder: PackedDecoder, readout: Tensor, batch_tokens: int, record: Record | None) -> None:
        self._decoder = decoder
        self._shaped = ShapedDecoder(decoder, record)
        self._readout = readout
        self._budget = Budget(batch_tokens, padded=decoder.attention is Padded)
        self._cache = PrefixCache(entries=1)

    @torch.inference_mode()
    def read(self, prompt: PromptTokens) -> Tensor:
        """Return a float32 tensor of shape (documents, numbers) on the CPU."""
        if not prompt.tails:
            return torch.empty(0, len(self._readout))
        past = self._instruction(prompt.constant)
        order = sorted(range(len(prompt.tails)), key=lambda place: len(prompt.tails[place]))

        def run(places: range) -> list[Tensor]:
            tails = [prompt.tails[order[place]] for place in places]
            try:
                hidden = self._shaped.read(past, prompt.query, tails)
            except torch.OutOfMemoryError:
                self._shaped.forget()  # what recordings hold is what the pass lacked
                raise
            return list(torch.nn.functional.linear(hidden, self._readout).float().cpu())

        rows = self._budget.spend([len(prompt.tails[place]) for place in order], run)
        numbers = torch.empty(len(rows), len(self._readout))
        numbers[order] = torch.stack(rows)
        return numbers

    def _instruction(self, constant: Sequence[int]) -> KeyValues | None:
        if not constant:
            return None
        _, state = self._cache.longest(constant, (len(constant),))
        if state is None:
            _, state = self._decoder.forward(None, constant, [])
            self._cache.put(constant, state)
            self._shaped.forget()
        return state

    def close(self) -> None:
        """Free the kept states and recordings."""
        self._shaped.forget()
        self._cache.clear()
