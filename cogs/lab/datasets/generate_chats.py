"""Memory-like chats written from ``grammar.yaml``: pairs, groups and assistants over weeks, with their evidence.

Each conversation tells events, facts that are later replaced, and opinions; beside each stand its hard negatives: the
reaction that repeats the words, the same person on another day, another person on the same thing, what was never done,
and the answer that only makes sense after the question before it.
"""

from __future__ import annotations

import datetime as dt
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from cogs.lab.datasets.conversations import ChatTurn, Conversation, Question
from cogs.lab.datasets.generate_words import NAMES

Part = Literal["train", "dev"]
ASSISTANT = "Assistant"
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_DETAILS = ("place", "with", "why", "feel")
_PERSON = {"my": "their", "me": "them", "i": "they", "our": "their", "we": "they", "us": "them", "mine": "theirs"}
_LISTENER = {"my": "your", "me": "you", "i": "you", "our": "your", "we": "you", "us": "you"}
_DROPPED = frozenset("a an the my some two three new old big huge own really".split())


@dataclass(slots=True)
class _Told:
    """Something that a turn told, and what questions need to know of it."""

    author: str
    kind: Literal["event", "fact", "opinion"]
    entry: Mapping[str, Any]
    value: str
    turn: int
    slots: dict[str, str]
    details: dict[str, int] = field(default_factory=dict)
    current: bool = True
    near: list[int] = field(default_factory=list)


@cache
def grammar() -> Mapping[str, Any]:
    """Return the grammar beside this module, read once."""
    text = Path(__file__).with_name("grammar.yaml").read_text(encoding="utf-8")
    loaded: Mapping[str, Any] = yaml.safe_load(text)
    return loaded


def expand(template: str, slots: Mapping[str, str], rng: random.Random) -> str:
    """Return ``template`` with one of each ``[a|b|]`` chosen, innermost first, and each ``{slot}`` filled in."""
    while match := _CHOICE.search(template):
        template = template[: match.start()] + rng.choice(match[1].split("|")) + template[match.end() :]
    filled = re.sub(r"\{(\w+)\}", lambda match: str(slots[match[1]]), template)
    return re.sub(r"\s+([,.!?])", r"\1", " ".join(filled.split()))


def turned(text: str, words: Mapping[str, str]) -> str:
    """Return ``text`` with its pronouns as another person would say them."""
    return " ".join(words.get(word.lower(), word) for word in text.split())


def paraphrased(thing: str, rng: random.Random) -> str:
    """Return a thing as somebody remembers it: now and then without its article, a describing word or its tail."""
    words = turned(thing, _PERSON).split()
    if rng.random() < 0.5 and len(words) > 2:
        keep = [word for word in words if word.lower() not in _DROPPED or rng.random() < 0.5]
        words = keep if len(keep) >= 1 else words
    if rng.random() < 0.25 and len(words) > 3:
        del words[rng.randrange(1, len(words) - 1)]
    if rng.random() < 0.15 and len(words) > 3:
        words = words[: len(words) - 1]
    return " ".join(words)


class _Chat:
    """One conversation being written."""

    def __init__(self, name: str, part: Part, rng: random.Random) -> None:
        self.rng = rng
        self.part = part
        self.grammar = grammar()
        self.name = name
        style = rng.choices(("pair", "group", "assistant"), (5, 4, 1.5))[0]
        self.assistant = style == "assistant"
        drawn = rng.sample(NAMES, rng.randint(3, 6) if style == "group" else 2)
        self.cast = [self._handle(each) for each in drawn] if rng.random() < 0.3 else drawn
        if self.assistant:
            self.cast = [self.cast[0], ASSISTANT]
        self.time = dt.datetime(2021, 1, 1, 9, tzinfo=dt.UTC) + dt.timedelta(minutes=rng.randrange(60 * 24 * 1500))
        self.turns: list[ChatTurn] = []
        self.told: list[_Told] = []

    def write(self) -> Conversation:
        """Write all sessions and ask of what was told."""
        for _ in range(self.rng.randint(5, 14)):
            self.time += dt.timedelta(hours=self.rng.randint(10, 24 * 25))
            for _ in range(self.rng.randint(2, 5)):
                self.rng.choices((self.event, self.fact, self.opinion, self.near, self.filler), (58, 16, 9, 9, 12))[0]()
        return Conversation(self.name, tuple(self.turns), tuple(self.questions()))

    # -- turns ---------------------------------------------------------------------------------------------------

    def event(self) -> None:
        """Tell an event with some of its details, then react, ask and answer."""
        entry = self.rng.choice(self._share(self.grammar["events"], whole=True))
        earlier = [told for told in self.told if told.kind == "event"]
        if earlier and self.rng.random() < 0.3:
            entry = self.rng.choice(earlier).entry
        author, other = self._speakers()
        thing = self.rng.choice(self._share(entry["things"]))
        slots = self._slots(author, other, entry, thing)
        parts = [expand(self.rng.choice(self.grammar["say"]["event"]), slots, self.rng)]
        said = [key for key in _DETAILS if self.rng.random() < 0.22]
        parts += [expand(self.rng.choice(self.grammar["say"][key]), slots, self.rng) for key in said]
        opened = expand(self.rng.choice(self.grammar["say"]["open"]), slots, self.rng)
        closed = expand(self.rng.choice(self.grammar["say"]["close"]), slots, self.rng)
        text = " ".join(part for part in (opened, *parts, closed) if part)
        if self.assistant:
            text = self._aside(text, slots)
        turn = self.add(author, text)
        told = _Told(author, "event", entry, thing, turn, slots, dict.fromkeys(said, turn))
        self.told.append(told)
        if self.assistant:
            self.add(ASSISTANT, self._assist(slots))
            return
        theirs = {**slots, "obj": turned(thing, _LISTENER)}
        theirs["Obj"] = theirs["obj"][0].upper() + theirs["obj"][1:]
        if self.rng.random() < 0.75:
            self.add(other, expand(self.rng.choice(self.grammar["react"]), theirs, self.rng), turn, 0.3)
        open_details = [key for key in (*_DETAILS, "when") if key not in told.details]
        if open_details and self.rng.random() < 0.55:
            key = self.rng.choice(open_details)
            asked = self.add(other, expand(self.rng.choice(self.grammar["follow"][key]), theirs, self.rng), turn, 0.3)
            answer = expand(self.rng.choice(self.grammar["answer"][key]), slots, self.rng)
            told.details[key] = self.add(author, answer, asked, 0.5)

    def fact(self) -> None:
        """State a fact, or replace one that was stated."""
        known = [told for told in self.told if told.kind == "fact" and told.current]
        if known and self.rng.random() < 0.5:
            old = self.rng.choice(known)
            values = [v for v in self._share(old.entry["values"]) if v != old.value]
            if values:
                old.current = False
                self._state(old.author, old.entry, self.rng.choice(values), "change")
            return
        author, _ = self._speakers()
        entry = self.rng.choice(self._share(self.grammar["facts"], whole=True))
        owned = {told.entry["name"]: told.author for told in known}
        if entry["name"] in owned and (entry["owner"] == "group" or owned[entry["name"]] == author):
            return
        self._state(author, entry, self.rng.choice(self._share(entry["values"])), "say")

    def opinion(self) -> None:
        """Say what somebody thinks of something; another may think otherwise."""
        author, other = self._speakers()
        thing = self.rng.choice(self._share(self.grammar["opinions"]["things"]))
        for speaker in (author, other) if self.rng.random() < 0.35 and not self.assistant else (author,):
            side = self.rng.choice(("likes", "dislikes"))
            text = expand(self.rng.choice(self.grammar["opinions"][side]), {"t": thing}, self.rng)
            turn = self.add(speaker, text)
            self.told.append(
                _Told(speaker, "opinion", self.grammar["opinions"], thing, turn, {"A": speaker, "t": thing})
            )

    def near(self) -> None:
        """Say something that is near to an event and is none."""
        events = [told for told in self.told if told.kind == "event"]
        if not events:
            return
        told = self.rng.choice(events)
        author, other = self._speakers()
        slots = {**told.slots, "B": other, "kin": self.rng.choice(self.grammar["kin"])}
        told.near.append(self.add(author, expand(self.rng.choice(self.grammar["near"]), slots, self.rng)))

    def filler(self) -> None:
        """Say something that nobody will ask about."""
        author, other = self._speakers()
        self.add(author, expand(self.rng.choice(self.grammar["chat"]), self._common(author, other), self.rng))
        if self.assistant:
            self.add(ASSISTANT, self._assist(self._common(author, other)))

    def add(self, author: str, text: str, reply_to: int | None = None, chance: float = 0.0) -> int:
        """Append a turn, which names what it replies to with the given chance; return its place."""
        self.time += dt.timedelta(seconds=self.rng.randint(5, 900))
        text = text.strip() or "ok"
        text = text[0].upper() + text[1:] if self.rng.random() < 0.6 else text
        parent = f"{self.name}-{reply_to}" if reply_to is not None and self.rng.random() < chance else None
        self.turns.append(ChatTurn(f"{self.name}-{len(self.turns)}", author, text, self.time.isoformat(), parent))
        return len(self.turns) - 1

    # -- questions -----------------------------------------------------------------------------------------------

    def questions(self) -> Iterator[Question]:
        """Yield up to thirty questions of what was told, each category about as often as it can be asked."""
        for number, told in enumerate(self.rng.sample(self.told, min(30, len(self.told)))):
            if told.kind == "event":
                made = self._ask_event(told)
            elif told.kind == "fact":
                same = [each for each in self.told if each.kind == "fact" and each.entry is told.entry]
                same = [each for each in same if told.entry["owner"] == "group" or each.author == told.author]
                made = (
                    self._asked(told.entry["ask"], told.slots),
                    "fact",
                    [each.turn for each in same if each.current],
                    [each.turn for each in same if not each.current],
                )
            else:
                same = [each for each in self.told if each.kind == "opinion" and each.value == told.value]
                mine = [each.turn for each in same if each.author == told.author]
                made = (self._asked(told.entry["ask"], told.slots), "opinion", mine, [])
            text, category, positives, ignored = made
            if positives:
                yield Question(
                    f"{self.name}-q{number}",
                    text,
                    tuple(self.turns[place].id for place in dict.fromkeys(positives)),
                    f"chat-{category}",
                    ignored=tuple(self.turns[place].id for place in {*ignored} - {*positives}),
                )

    def _ask_event(self, told: _Told) -> tuple[str, str, list[int], list[int]]:
        slots = {**told.slots, "obj": paraphrased(told.value, self.rng)}
        slots["kind"] = self.rng.choice(told.entry["kind"])
        when = dt.datetime.fromisoformat(self.turns[told.turn].timestamp or "")
        slots |= {"month": f"{when:%B}", "date": f"{when.day} {when:%B}"}
        details = [key for key in told.details if key != "when"]
        categories = ["what", "what", "what_when", "when", "when", "who", True, "words", "list", *details, *details]
        category = self.rng.choice(categories)
        events = [each for each in self.told if each.kind == "event"]
        alike = [each for each in events if each.entry is told.entry and each.author == told.author]
        same = [each.turn for each in events if each.value == told.value]
        text = self._asked(self.grammar["ask"][category], slots)
        kin = [each.turn for each in events if each.author == told.author and each not in alike]
        if category in ("what", "list"):
            return text, "what", [each.turn for each in alike], kin if "{kind}" in text else []
        if category == "what_when":
            month = [each.turn for each in alike if (self.turns[each.turn].timestamp or "")[:7] == f"{when:%Y-%m}"]
            return text, "what", month, []
        if category == "who":
            return text, "who", same, told.near
        if category in ("place", "with", "why", "feel"):
            place = told.details[str(category)]
            return text, str(category), [place], [told.turn, *(turn for turn in same if turn != told.turn)]
        mine = [each.turn for each in alike if each.value == told.value]
        if category == "when" and "when" in told.details:
            mine.append(told.details["when"])
        others = [place for each in alike for place in each.near if self.turns[place].author == told.author]
        return text, "yes" if category is True else str(category), mine, others

    def _asked(self, templates: list[str], slots: Mapping[str, str]) -> str:
        text = expand(self.rng.choice(templates), slots, self.rng)
        return text.rstrip("?") if self.rng.random() < 0.1 else text

    # -- words ---------------------------------------------------------------------------------------------------

    def _state(self, author: str, entry: Mapping[str, Any], value: str, way: str) -> None:
        slots = {"v": value, "A": author}
        text = expand(self.rng.choice(entry[way]), slots, self.rng)
        if self.assistant:
            text = self._aside(text, slots)
        turn = self.add(author, text)
        self.told.append(_Told(author, "fact", entry, value, turn, slots))
        if self.assistant:
            self.add(ASSISTANT, self._assist(self._common(author, ASSISTANT)))

    def _slots(self, author: str, other: str, entry: Mapping[str, Any], thing: str) -> dict[str, str]:
        past, base, ing = entry["verb"]
        return self._common(author, other) | {
            "obj": thing,
            "Obj": thing[0].upper() + thing[1:],
            "past": past,
            "base": base,
            "ing": ing,
            "place": self.rng.choice(entry.get("places") or ["home"]),
            "kind": self.rng.choice(entry["kind"]),
        }

    def _common(self, author: str, other: str) -> dict[str, str]:
        drawn = {key: self.rng.choice(self.grammar[key]) for key in ("who", "why", "feel", "when", "kin")}
        topic = self.rng.choice(self._share(self.grammar["assistant"]["topic"]))
        return drawn | {"A": author, "B": other, "obj": "that", "Obj": "That", "topic": topic} | self._dates()

    def _dates(self) -> dict[str, str]:
        return {"month": f"{self.time:%B}", "date": f"{self.time.day} {self.time:%B}"}

    def _aside(self, text: str, slots: Mapping[str, str]) -> str:
        texts = self.grammar["assistant"]
        fact = text.rstrip(".!")
        filled = self._common(slots["A"], ASSISTANT) | dict(slots)
        filled |= {"fact": fact[0].lower() + fact[1:] if not fact.startswith("I") else fact}
        filled["Fact"] = fact[0].upper() + fact[1:]
        return expand(self.rng.choice(texts["ask"]) + self.rng.choice(texts["aside"]), filled, self.rng)

    def _assist(self, slots: Mapping[str, str]) -> str:
        return expand(self.rng.choice(self.grammar["assistant"]["reply"]), slots, self.rng)

    def _speakers(self) -> tuple[str, str]:
        if self.assistant:
            return self.cast[0], ASSISTANT
        author, other = self.rng.sample(self.cast, 2)
        return author, other

    def _handle(self, name: str) -> str:
        """Return a name as people write it on a server: whole, in lower case, or with something behind it."""
        tail = self.rng.choice(("", "", "_", str(self.rng.randint(2, 99)), "xo", "_dev", "TV"))
        return self.rng.choice((name, name.lower(), name)) + tail

    def _share(self, entries: list[Any], *, whole: bool = False) -> list[Any]:
        """Return the part's share: every sixth of the entries (every fourth of the things) is for development only."""
        every = 6 if whole else 4
        held = [entry for place, entry in enumerate(entries) if place % every == every - 1]
        if self.part == "dev":
            return held or entries
        return [entry for entry in entries if entry not in held]


def generate_chats(count: int, part: Part, seed: int) -> Iterator[Conversation]:
    """Yield ``count`` conversations, each of its own seed; development ones use words that training never sees."""
    for number in range(count):
        name = f"chat-{part}-{number}"
        yield _Chat(name, part, random.Random(f"{seed}-{name}")).write()
