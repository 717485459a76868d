"""The public conversation sets, converted to folders of conversations with questions: training and development parts.

Everything here is deterministic. A split is by episode, log or meeting, never by question, so that no line of a
development conversation is ever trained on.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from cogs.lab.datasets.conversations import ChatTurn, Conversation, Question

Part = Literal["train", "dev"]
_SPACED = [
    (re.compile(r"\s+([,.!?;:%)\]])"), r"\1"),
    (re.compile(r"([(\[])\s+"), r"\1"),
    (re.compile(r"\s+(n't|'s|'re|'ve|'ll|'d|'m)\b"), r"\1"),
    (re.compile(r"\b(gon|wan) na\b"), r"\1na"),
    (re.compile(r"\s{2,}"), " "),
]
_IRC_LINE = re.compile(r"^\[\d\d:\d\d\] <([^>]+)> (.*)$")
_ADDRESSED = re.compile(r"^([A-Za-z0-9_\-\[\]`^|{}]+)[:,]\s+")
LONG_TURNS = 600
_BOTS = frozenset({"ubottu", "ubotu", "ubot", "ubotwo"})


def untokenized(text: str) -> str:
    """Return ``text`` as a person would type it: no space before a full stop, ``don't`` in one piece."""
    text = re.sub(r"\bdo n't\b", "don't", text)
    for pattern, replacement in _SPACED:
        text = pattern.sub(replacement, text)
    return text.strip()


def is_development(key: str, share: float) -> bool:
    """Put ``share`` of all keys into the development part, the same ones on every machine."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF < share


def friendsqa(root: Path, part: Part) -> Iterator[Conversation]:
    """Questions over scenes of a series; the turn that holds the answer is the evidence; split by episode."""
    for name in ("dev", "test"):
        scenes = json.loads((root / "friendsqa" / f"{name}.json").read_text(encoding="utf-8"))["data"]
        held_out = sorted({scene["title"].rsplit("_", 1)[0] for scene in scenes})[::4]
        for scene in scenes:
            title = scene["title"]
            if (title.rsplit("_", 1)[0] in held_out) != (part == "dev"):
                continue
            for number, paragraph in enumerate(scene["paragraphs"]):
                prefix = f"friendsqa-{title}-{number}"
                turns = []
                for row in paragraph["utterances:"]:
                    author = " and ".join(speaker.split()[0] for speaker in row["speakers"]) or "Someone"
                    turns.append(ChatTurn(f"{prefix}-{row['uid']}", author, untokenized(row["utterance"])))
                known = {turn.id for turn in turns}
                questions = []
                for row in paragraph["qas"]:
                    positives = sorted({f"{prefix}-{answer['utterance_id']}" for answer in row["answers"]} & known)
                    if positives:
                        text = untokenized(row["question"])
                        questions.append(
                            Question(f"{prefix}-{row['id']}", text, tuple(positives), text.split()[0].lower())
                        )
                yield Conversation(prefix, tuple(turns), tuple(questions))


def molweni(root: Path, part: Part) -> Iterator[Conversation]:
    """Questions over Ubuntu IRC; a training dialogue that shares a line with a development one is left out."""
    dialogues = json.loads((root / "molweni" / "test.json").read_text(encoding="utf-8"))["data"]["dialogues"]
    held_out = dialogues[: len(dialogues) * 3 // 10]
    seen = {edu["text"] for dialogue in held_out for edu in dialogue["edus"] if len(edu["text"].split()) > 3}
    for number, dialogue in enumerate(dialogues):
        if (number < len(held_out)) != (part == "dev"):
            continue
        if part == "train" and any(edu["text"] in seen for edu in dialogue["edus"]):
            continue
        prefix = f"molweni-{number}"
        turns, ends, position = [], [], 0
        for index, edu in enumerate(dialogue["edus"]):
            turns.append(ChatTurn(f"{prefix}-{index}", edu["speaker"], untokenized(edu["text"])))
            position += len(f"{edu['speaker']}: {edu['text']} ")
            ends.append(position)
        questions = []
        for row in dialogue["qas"]:
            starts = {answer["answer_start"] for answer in row["answers"]}
            hits = sorted(
                {next(i for i, end in enumerate(ends) if start < end) for start in starts if start < ends[-1]}
            )
            if hits and not row["is_impossible"]:
                text = untokenized(row["question"])
                positives = tuple(turns[hit].id for hit in hits)
                questions.append(Question(f"{prefix}-{row['id']}", text, positives, text.split()[0].lower()))
        yield Conversation(prefix, tuple(turns), tuple(questions))


def irc(root: Path, part: Part) -> Iterator[Conversation]:
    """Raw channel logs: a question and the lines linked to it as answers by another person (weak evidence).

    The asking line itself is left out of the conversation, or it would be its own best match.
    """
    for log in sorted((root / "irc" / part).glob("*.ascii.txt")):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        answers: dict[int, list[int]] = {}
        for row in log.with_name(log.name.replace(".ascii.", ".annotation.")).read_text().splitlines():
            first, second = sorted(int(number) for number in row.split()[:2])
            if first != second:
                answers.setdefault(first, []).append(second)
        prefix = f"irc-{log.name.split('.')[0]}"
        parsed = {i: match.groups() for i, line in enumerate(lines) if (match := _IRC_LINE.match(line))}
        parsed = {i: pair for i, pair in parsed.items() if pair[0] not in _BOTS and not pair[1].startswith("!")}
        asked: dict[int, Question] = {}
        for index, linked in answers.items():
            if index not in parsed:
                continue
            author, text = parsed[index]
            text = _ADDRESSED.sub("", text).strip()
            good = [
                i
                for i in linked
                if i in parsed
                and parsed[i][0] != author
                and len(parsed[i][1].split()) > 5
                and not parsed[i][1].rstrip().endswith("?")
            ]
            if good and "?" in text and 6 <= len(text.split()) <= 40:
                positives = tuple(f"{prefix}-{i}" for i in good)
                asked[index] = Question(f"{prefix}-q{index}", text, positives, "reply")
        low = min(answers, default=0) - 200
        kept = [i for i in sorted(parsed) if i >= low and i not in asked and len(parsed[i][1].split()) > 2]
        turns = tuple(ChatTurn(f"{prefix}-{i}", parsed[i][0], parsed[i][1]) for i in kept)
        known = {turn.id for turn in turns}
        questions = tuple(question for question in asked.values() if known.issuperset(question.positives))
        yield Conversation(prefix, turns, questions)


def qmsum(root: Path, part: Part) -> Iterator[Conversation]:
    """Queries over meetings; every substantial turn of the marked spans is (wide, weak) evidence."""
    names = ("val",) if part == "dev" else ("Academic_train", "Committee_train", "test")
    for name in names:
        rows = (root / "qmsum" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        for number, meeting in enumerate(json.loads(row) for row in rows):
            prefix = f"qmsum-{name}-{number}"
            kept = {
                i: ChatTurn(f"{prefix}-{i}", row["speaker"], cleaned)
                for i, row in enumerate(meeting["meeting_transcripts"])
                if len((cleaned := untokenized(re.sub(r"\{[a-z]+\}", "", row["content"]))).split()) > 3
            }
            questions = []
            for index, row in enumerate(meeting["specific_query_list"]):
                spans = [range(int(low), int(high) + 1) for low, high in row["relevant_text_span"]]
                positives = tuple(
                    kept[i].id for span in spans for i in span if i in kept and len(kept[i].text.split()) > 7
                )
                if positives and len(positives) <= 60:
                    questions.append(Question(f"{prefix}-q{index}", untokenized(row["query"]), positives, "meeting"))
            yield Conversation(prefix, tuple(kept.values()), tuple(questions))


def hindsight(root: Path, part: Part) -> Iterator[Conversation]:
    """The published recipe's training triplets, one channel of two memories each; its evaluation file is not read."""
    rows = (root / "hindsight" / "train_300.jsonl").read_text(encoding="utf-8").splitlines()
    for number, row in enumerate(json.loads(line) for line in rows):
        if is_development(row["query"], 0.2) != (part == "dev"):
            continue
        prefix = f"hindsight-{number}"
        turns = tuple(
            ChatTurn(f"{prefix}-{side}", "Memory", row[side]["text"], _instant(row[side].get("occurred_start")))
            for side in ("positive", "negative")
        )
        question = Question(f"{prefix}-q", row["query"], (turns[0].id,), "triplet", negatives=(turns[1].id,))
        # The evidence must not always stand first: its place would be learnt instead of its words.
        order = turns if random.Random(number).random() < 0.5 else turns[::-1]
        yield Conversation(prefix, order, (question,))


SOURCES: dict[str, Callable[[Path, Part], Iterator[Conversation]]] = {
    "friendsqa": friendsqa,
    "molweni": molweni,
    "irc": irc,
    "qmsum": qmsum,
    "hindsight": hindsight,
}


def joined(conversations: Iterable[Conversation], turns: int = LONG_TURNS) -> Iterator[Conversation]:
    """Yield conversations joined until each has ``turns`` turns or more: scenes that are long like a channel."""
    whole = Conversation("joined", ())
    for number, part in enumerate(conversations):
        whole = Conversation(f"joined-{number}", whole.turns + part.turns, whole.questions + part.questions)
        if len(whole.turns) >= turns:
            yield whole
            whole = Conversation("joined", ())
    if whole.turns:
        yield whole


def followed_up(conversations: Iterable[Conversation]) -> Iterator[Conversation]:
    """Yield the conversations with the questions that name one person, asked as people go on: the name stands in the
    turn before, the question says "they". Without that turn nobody could know who is meant."""
    for conversation in conversations:
        names = {turn.author for turn in conversation.turns}
        asked = []
        for question in conversation.questions:
            named = [name for name in names if re.search(rf"\b{re.escape(name)}\b", question.text)]
            if len(named) != 1 or question.text.startswith(named[0]):
                continue
            text = re.sub(rf"\b{re.escape(named[0])}['’]s\b", "their", question.text)
            text = re.sub(rf"\b{re.escape(named[0])}\b", "they", text)
            before = (("Somebody", f"I was talking with {named[0]} yesterday"),)
            asked.append(replace(question, id=f"{question.id}-next", text=text, asked_after=before))
        yield replace(conversation, questions=tuple(asked))


def answered(conversation: Conversation) -> Conversation:
    """Return the conversation without the questions that nobody answered."""
    return replace(conversation, questions=tuple(question for question in conversation.questions if question.positives))


def _instant(value: Any) -> str | None:
    return f"{value}+00:00" if isinstance(value, str) and "+" not in value and not value.endswith("Z") else value
