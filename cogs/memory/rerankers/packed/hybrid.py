"""Decoders with recurrent layers, which no packed row can feed: their state after the shared beginning is kept.

Each document continues from a copy of that state. Documents are padded on the right, after everything that is read,
because padding before them would enter the recurrent state; batches are of similar length.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from cachetools import LRUCache
from torch import Tensor, nn
from transformers import DynamicCache

from cogs.memory.rerankers.packed.budget import Budget
from cogs.memory.rerankers.packed.prompt_tokens import PromptTokens


class SharedStateScorer:
    """Reads numbers off the last token of each prompt, continuing from the state of the shared beginning.

    Args:
        backbone: a transformers decoder without its head, whose cache can be copied and repeated.
        readout: the rows of the output head to read, of shape (numbers, hidden size).
        batch_tokens: the padded tokens of one forward pass.
    """

    def __init__(self, backbone: nn.Module, readout: Tensor, batch_tokens: int, *, beginnings: int = 4) -> None:
        self._backbone = backbone
        self._readout = readout
        self._budget = Budget(batch_tokens, padded=True)
        self._states: LRUCache[tuple[int, ...], Any] = LRUCache(beginnings)

    @torch.inference_mode()
    def read(self, prompt: PromptTokens) -> Tensor:
        """Return a float32 tensor of shape (documents, numbers) on the CPU."""
        if not prompt.tails:
            return torch.empty(0, len(self._readout))
        state = self._state(prompt.constant, prompt.query)
        order = sorted(range(len(prompt.tails)), key=lambda place: len(prompt.tails[place]))
        tails = [prompt.tails[place] for place in order]
        rows = self._budget.spend([len(tail) for tail in tails], lambda run: self._run(state, [tails[i] for i in run]))
        numbers = torch.empty(len(rows), len(self._readout))
        numbers[order] = torch.stack(rows)
        return numbers

    def _run(self, state: Any, tails: Sequence[Sequence[int]]) -> list[Tensor]:
        device = self._readout.device
        longest = max(map(len, tails))
        ids = torch.tensor([[*tail, *[0] * (longest - len(tail))] for tail in tails], device=device)
        cache = copy.deepcopy(state)
        if cache is not None:
            cache.reorder_cache(torch.zeros(len(tails), dtype=torch.long, device=device))
        hidden = self._backbone(input_ids=ids, past_key_values=cache, use_cache=cache is not None).last_hidden_state
        last = torch.tensor([len(tail) - 1 for tail in tails], device=device)
        return list(nn.functional.linear(hidden[torch.arange(len(tails)), last], self._readout).float().cpu())

    def _state(self, constant: Sequence[int], query: Sequence[int]) -> Any:
        """Return the state after the beginning, ``None`` after none; kept for the next call."""
        beginning = (*constant, *query)
        if not beginning:
            return None
        if beginning not in self._states:
            state = copy.deepcopy(self._state(constant, ())) if query and constant else None
            if state is None:
                state = DynamicCache(config=self._backbone.config)
            fresh = torch.tensor([list(query or constant)], device=self._readout.device)
            self._backbone(input_ids=fresh, past_key_values=state, use_cache=True)
            self._states[beginning] = state
        return self._states[beginning]

    def close(self) -> None:
        """Free the kept states."""
        self._states.clear()
