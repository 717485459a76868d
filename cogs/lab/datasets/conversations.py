"""A conversation with questions and evidence, and its folder on disk (the layout of BEIR, one channel each)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """One message. ``timestamp`` is ISO 8601 with an offset; ``reply_to`` is the id of a turn before it."""

    id: str
    author: str
    text: str
    timestamp: str | None = None
    reply_to: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the turns that answer it. ``negatives`` are turns known not to, where the source names them.

    ``ignored`` turns are neither: too near to the evidence to be called wrong. ``asked_after`` are ``(author, text)``
    of the turns that the question itself stands behind.
    """

    id: str
    text: str
    positives: tuple[str, ...]
    category: str = "question"
    asked_at: str | None = None
    negatives: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    asked_after: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """One channel: its turns in order, and the questions asked of it."""

    id: str
    turns: tuple[ChatTurn, ...]
    questions: tuple[Question, ...] = field(default=())


def write_folder(folder: Path, conversations: Iterable[Conversation]) -> tuple[int, int]:
    """Write ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/test.tsv``; return the numbers of turns and questions.

    ``negatives`` and ``ignored`` travel in a query's metadata; a reader of plain BEIR folders passes over them.
    """
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    turns = questions = 0
    with (
        (folder / "corpus.jsonl").open("w", encoding="utf-8") as corpus,
        (folder / "queries.jsonl").open("w", encoding="utf-8") as queries,
        (folder / "qrels" / "test.tsv").open("w", encoding="utf-8") as qrels,
    ):
        qrels.write("query-id\tcorpus-id\tscore\n")
        for conversation in conversations:
            for turn in conversation.turns:
                metadata = {"author": turn.author, "channel": conversation.id, "timestamp": turn.timestamp}
                if turn.reply_to is not None:
                    metadata["reply_to"] = turn.reply_to
                corpus.write(_line({"_id": turn.id, "text": turn.text, "metadata": metadata}))
                turns += 1
            for question in conversation.questions:
                about: dict[str, Any] = {
                    "channel": conversation.id,
                    "category": question.category,
                    "asked_at": question.asked_at,
                }
                about |= {"negatives": question.negatives} if question.negatives else {}
                about |= {"ignored": question.ignored} if question.ignored else {}
                if question.asked_after:
                    about["turns"] = [{"author": author, "text": said} for author, said in question.asked_after]
                queries.write(_line({"_id": question.id, "text": question.text, "metadata": about}))
                qrels.writelines(f"{question.id}\t{turn_id}\t1\n" for turn_id in question.positives)
                questions += 1
    return turns, questions


def read_folder(folder: Path) -> list[Conversation]:
    """Read a folder that :func:`write_folder` (or anybody's converter to BEIR's layout) wrote.

    Raises:
        FileNotFoundError: one of the three files is missing.
    """
    turns: dict[str, list[ChatTurn]] = {}
    for row in _rows(folder / "corpus.jsonl"):
        about = row.get("metadata") or {}
        turn = ChatTurn(
            row["_id"], about.get("author") or "", row["text"], about.get("timestamp"), about.get("reply_to")
        )
        turns.setdefault(about.get("channel") or "", []).append(turn)
    positives: dict[str, list[str]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query_id, turn_id, score = line.split("\t")
        if int(score) > 0:
            positives.setdefault(query_id, []).append(turn_id)
    questions: dict[str, list[Question]] = {}
    for row in _rows(folder / "queries.jsonl"):
        about = row.get("metadata") or {}
        questions.setdefault(about.get("channel") or "", []).append(
            Question(
                row["_id"],
                row["text"],
                tuple(positives.get(row["_id"], ())),
                about.get("category") or "question",
                about.get("asked_at"),
                tuple(about.get("negatives") or ()),
                tuple(about.get("ignored") or ()),
            )
        )
    return [Conversation(channel, tuple(rows), tuple(questions.get(channel, ()))) for channel, rows in turns.items()]


def _rows(path: Path) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
