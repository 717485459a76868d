"""Channels read once by the lower layers: what training draws its lists from, kept in shards on disk."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch.nn import functional

from cogs.lab.datasets.conversations import ChatTurn, Conversation, Question
from cogs.lab.datasets.generate_phrases import Told
from cogs.lab.training.joint.model import Lower, Upper
from cogs.lab.training.lists import document
from cogs.memory.rerankers.chat_text import passages, render_chat
from cogs.memory.rerankers.formats.joint import MESSAGE, QUESTION

MESSAGE_TOKENS: Final = 96
QUESTION_TOKENS: Final = 48
MOST_QUESTIONS: Final = 40
SHARD_TURNS: Final = 600
_BATCH: Final = 16
_DATED = 0.8
_ASKED_AGAIN = 0.2


@dataclass(slots=True)
class ReadChannel:
    """Messages and questions of a channel: hidden states (tokens, width) each, and e5's cosines (questions, messages).

    ``positives`` and ``lesser`` are places of messages, by question; ``source`` is the name of the data set.
    """

    source: str
    messages: list[torch.Tensor]
    questions: list[torch.Tensor]
    texts: list[str]
    cosines: torch.Tensor
    positives: list[list[int]]
    lesser: list[list[int]]
    ignored: list[list[int]]


def with_askers(conversation: Conversation, rng: random.Random) -> Conversation:
    """Return a conversation with dates, in which some of its questions also stand as messages that only ask."""
    start = dt.datetime(2022, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=rng.randrange(1300))
    authors = sorted({turn.author for turn in conversation.turns})
    turns = [
        replace(turn, timestamp=turn.timestamp or (start + dt.timedelta(hours=3 * number)).isoformat())
        for number, turn in enumerate(conversation.turns)
    ]
    for question in conversation.questions:
        if rng.random() < _ASKED_AGAIN:
            asked = ChatTurn(f"ask-{question.id}", rng.choice(authors), question.text, start.isoformat())
            turns.insert(rng.randrange(len(turns)), asked)
    return replace(conversation, turns=tuple(turns))


def across(
    conversation: Conversation, texts: Mapping[str, Mapping[str, str]], language: str, rng: random.Random, share: float
) -> Conversation:
    """Return a conversation with ``share`` of its questions asked in another language.

    Args:
        conversation: in ``language``.
        texts: by the question's id, its text by language.
        language: its own, which is not drawn.
        rng: draws.
        share: in [0, 1].
    """
    questions = []
    for question in conversation.questions:
        others = sorted(set(texts.get(question.id, {})) - {language})
        if others and rng.random() < share:
            other = rng.choice(others)
            question = replace(question, text=texts[question.id][other], category=f"{other}>{language}")
        questions.append(question)
    return replace(conversation, questions=tuple(questions))


def chained(conversations: Iterable[Conversation], turns: int) -> Iterator[Conversation]:
    """Yield conversations one after the other in channels of at least ``turns`` turns; a rest is left out."""
    group: list[Conversation] = []
    for conversation in conversations:
        group.append(conversation)
        if sum(len(one.turns) for one in group) >= turns:
            yield Conversation(
                group[0].id,
                tuple(turn for one in group for turn in one.turns),
                tuple(question for one in group for question in one.questions),
            )
            group = []


class Reader:
    """The base over texts: hidden states of the lower layers, and the vectors of all layers for hard negatives."""

    def __init__(self, words: torch.Tensor, lower: Lower, rest: Upper, tokenizer: Any) -> None:
        self._words, self._lower, self._rest, self._tokenizer = words, lower, rest, tokenizer

    @torch.inference_mode()
    def read(self, texts: Sequence[str], prefix: str, limit: int) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return bfloat16 hidden states (tokens, width) and unit vectors (texts, width) of texts, in their order."""
        encoded = self._tokenizer.encode_batch([prefix + text for text in texts], add_special_tokens=False)
        rows = [[0, *row.ids[: limit - 2], 2] for row in encoded]
        order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
        hidden: list[torch.Tensor] = [torch.empty(0)] * len(rows)
        vectors = torch.zeros(len(rows), self._words.shape[1])
        for start in range(0, len(order), _BATCH):
            part = order[start : start + _BATCH]
            longest = max(len(rows[place]) for place in part)
            ids = torch.ones(len(part), longest, dtype=torch.long)
            real = torch.zeros(len(part), longest, dtype=torch.bool)
            for line, place in enumerate(part):
                ids[line, : len(rows[place])] = torch.tensor(rows[place])
                real[line, : len(rows[place])] = True
            mask = real[:, None, None, :]
            with torch.autocast("cpu", dtype=torch.bfloat16):
                low = self._lower(self._words[ids], torch.arange(longest)[None], mask)
                high = low
                for block in self._rest.blocks:
                    high = block(high, mask)
            weights = real.unsqueeze(-1).float()
            vectors[part] = functional.normalize((high.float() * weights).sum(1) / weights.sum(1), dim=1)
            for line, place in enumerate(part):
                hidden[place] = low[line, : len(rows[place])].to(torch.bfloat16).clone()
        return hidden, vectors

    def channel(self, source: str, told: Told) -> ReadChannel | None:
        """Read a channel as the product renders it, or return ``None`` where nothing can be asked of it."""
        conversation, rng = told.conversation, random.Random(told.conversation.id)
        places = {turn.id: place for place, turn in enumerate(conversation.turns)}
        rendered = []
        for turn in conversation.turns:
            said = document(conversation, turn, dated=rng.random() < _DATED)
            said = replace(said, author=None) if source == "hindsight" else said
            rendered.append(render_chat(passages("", said)[0]))
        questions: list[Question] = [q for q in conversation.questions if all(p in places for p in q.positives)]
        if len(questions) > MOST_QUESTIONS:
            questions = rng.sample(questions, MOST_QUESTIONS)
        if not questions:
            return None
        messages, passage_vectors = self.read(rendered, MESSAGE, MESSAGE_TOKENS)
        texts = [question.text for question in questions]
        asked, question_vectors = self.read(texts, QUESTION, QUESTION_TOKENS)
        return ReadChannel(
            source,
            messages,
            asked,
            texts,
            question_vectors @ passage_vectors.T,
            [[places[p] for p in question.positives] for question in questions],
            [[places[p] for p in told.lesser.get(question.id, ()) if p in places] for question in questions],
            [[places[p] for p in question.ignored if p in places] for question in questions],
        )


def write_shards(reader: Reader, channels: Iterable[tuple[str, Told]], folder: Path) -> int:
    """Read all channels into ``folder/shard-NNN.pt``, each of :data:`SHARD_TURNS` messages or more; return how many."""
    folder.mkdir(parents=True, exist_ok=True)
    kept: list[ReadChannel] = []
    count = 0

    def flush() -> None:
        nonlocal count
        file = folder / f"shard-{count:03d}.pt"
        plain = [{one.name: getattr(row, one.name) for one in fields(row)} for row in kept]
        torch.save(plain, file.with_suffix(".partial"))
        file.with_suffix(".partial").replace(file)
        kept.clear()
        count += 1

    for source, told in channels:
        if (found := reader.channel(source, told)) is not None:
            kept.append(found)
        if sum(len(one.messages) for one in kept) >= SHARD_TURNS:
            flush()
    if kept:
        flush()
    return count


def read_shards(folder: Path) -> list[ReadChannel]:
    """Return the channels of all shards of a folder, in order.

    Raises:
        FileNotFoundError: there is none.
    """
    files = sorted(folder.glob("shard-*.pt"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no shards: read the channels first")
    return [ReadChannel(**row) for file in files for row in torch.load(file, weights_only=True)]
