"""Group chats in thirteen languages from ``phrases.yaml``: what people tell of themselves, change, ask and answer.

Beside each fact stand its hard negatives: the same fact of another person, what was true before, and messages that only
ask. The newest statement answers a question, an older one is lesser; a question about before turns that round. The
topics ``instrument`` and ``trip`` are for development alone.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from cogs.lab.datasets.conversations import ChatTurn, Conversation, Question

Part = Literal["train", "dev"]
HELD_OUT: Final = frozenset({"instrument", "trip"})
GROUP_WIDE: Final = "meeting"
VALUES: Final = 6
_OTHER_LANGUAGE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Told:
    """A conversation, and by question the turns that answered it once and do no longer."""

    conversation: Conversation
    lesser: Mapping[str, tuple[str, ...]]


@dataclass(slots=True)
class Channel:
    """Turns being written by a few people, over days."""

    name: str
    rng: random.Random
    cast: list[str]
    turns: list[ChatTurn] = field(default_factory=list)
    time: dt.datetime = dt.datetime(2022, 1, 1, 9, tzinfo=dt.UTC)

    @classmethod
    def of(cls, name: str, rng: random.Random, names: Sequence[str]) -> Channel:
        """Begin a channel of two to five people at some time of three years and a half."""
        cast = rng.sample(list(names), min(len(names), rng.randint(2, 5)))
        start = dt.datetime(2022, 1, 1, 9, tzinfo=dt.UTC) + dt.timedelta(minutes=rng.randrange(60 * 24 * 1300))
        return cls(name, rng, cast, [], start)

    def add(self, text: str, author: str, reply_to: str | None = None) -> str:
        """Append a turn minutes or, seldom, weeks after the one before; return its id."""
        if self.rng.random() < 0.93:
            self.time += dt.timedelta(seconds=self.rng.randint(10, 2400))
        else:
            self.time += dt.timedelta(days=self.rng.randint(1, 40))
        key = f"{self.name}-{len(self.turns)}"
        self.turns.append(ChatTurn(key, author, " ".join(text.split()), self.time.isoformat(), reply_to))
        return key

    def other(self, author: str) -> str:
        """Return somebody else."""
        return self.rng.choice([name for name in self.cast if name != author] or self.cast)


@cache
def phrases() -> Mapping[str, Any]:
    """Return the phrases by language, read once."""
    loaded: Mapping[str, Any] = yaml.safe_load(Path(__file__).with_name("phrases.yaml").read_text(encoding="utf-8"))
    return loaded


def phrase_chats(count: int, part: Part, seed: int = 0) -> Iterator[Told]:
    """Yield ``count`` chats of every language, the same ones for the same seed."""
    for language in phrases():
        for number in range(count):
            name = f"multichat-{language}-{part}-{seed}-{number}"
            yield _chat(name, language, part)


def _chat(name: str, language: str, part: Part) -> Told:
    table, rng = phrases(), random.Random(name)
    own = table[language]
    allowed = [topic for topic in table["en"]["topics"] if part == "dev" or topic not in HELD_OUT]
    mixed = own["names"][:3] + table[rng.choice(list(table))]["names"][:4] if rng.random() >= 0.8 else own["names"]
    channel = Channel.of(name, rng, mixed)
    channel.cast = channel.cast[:4]
    told = _tell(channel, own, allowed)
    return _asked(channel, told, language, allowed)


def _tell(channel: Channel, own: Mapping[str, Any], allowed: Sequence[str]) -> dict[tuple[str, str], list[str]]:
    """Write the turns; return the ids of the statements by (person, topic), the oldest first."""
    rng = channel.rng
    facts = [
        (person, topic)
        for person in channel.cast
        for topic in rng.sample(list(allowed), rng.randint(3, len(allowed) - 1))
        if topic != GROUP_WIDE
    ]
    if rng.random() < 0.7:
        facts.append((rng.choice(channel.cast), GROUP_WIDE))
    rng.shuffle(facts)
    facts = facts[: rng.randint(8, 16)]
    order = {fact: number for number, fact in enumerate(facts)}
    plan = [(fact, "say") for fact in facts] + [(fact, "change") for fact in facts if rng.random() < 0.4]
    plan.sort(key=lambda row: order[row[0]] + (rng.uniform(1, 14) if row[1] == "change" else 0))
    told: dict[tuple[str, str], list[str]] = {}
    used: dict[tuple[str, str], int] = {}
    for fact, kind in plan:
        for _ in range(rng.choice((0, 1, 1, 2))):
            channel.add(rng.choice(own["chat"]), rng.choice(channel.cast))
        used[fact] = rng.choice([place for place in range(VALUES) if place != used.get(fact)])
        told.setdefault(fact, []).append(_state(channel, own["topics"][fact[1]], fact[0], kind, used[fact]))
    return told


def _state(channel: Channel, entry: Mapping[str, Any], person: str, kind: str, place: int) -> str:
    """Write one statement, now and then as the short answer to a question; return its turn's id."""
    rng, value = channel.rng, entry["values"][place]
    if kind == "say" and rng.random() < 0.35:
        asked = channel.add(entry["you"][0].format(A=person), channel.other(person))
        if rng.random() < 0.5:
            return channel.add(entry["short"][0].format(v=value), person, asked)
    key = channel.add(rng.choice(entry[kind]).format(v=value), person)
    if rng.random() < 0.2:
        channel.add(rng.choice(entry["ask"]).format(A=person), channel.other(person))
    return key


def _asked(channel: Channel, told: Mapping[tuple[str, str], list[str]], language: str, allowed: Sequence[str]) -> Told:
    rng, table, questions, lesser = channel.rng, phrases(), [], {}
    others = [other for other in table if other != language]
    for number, ((person, topic), keys) in enumerate(told.items()):
        asked_in = rng.choice(others) if rng.random() < _OTHER_LANGUAGE else language
        entry = table[asked_in]["topics"][topic]
        category = language if asked_in == language else f"{asked_in}>{language}"
        one = Question(f"{channel.name}-q{number}", rng.choice(entry["ask"]).format(A=person), (keys[-1],), category)
        questions.append(one)
        lesser[one.id] = tuple(keys[:-1])
        if len(keys) > 1 and entry["was"]:
            before = Question(f"{one.id}-was", entry["was"][0].format(A=person), (keys[0],), f"{category}-was")
            questions.append(before)
            lesser[before.id] = tuple(keys[1:])
    nobody = [
        (person, topic)
        for person in channel.cast
        for topic in allowed
        if topic != GROUP_WIDE and (person, topic) not in told and rng.random() < 0.12
    ]
    for person, topic in nobody:
        text = rng.choice(table[language]["topics"][topic]["ask"]).format(A=person)
        questions.append(Question(f"{channel.name}-none-{person}-{topic}", text, (), f"{language}-none"))
    return Told(Conversation(channel.name, tuple(channel.turns), tuple(questions)), lesser)
