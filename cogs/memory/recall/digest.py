"""What was talked about in a span of time, by conversation: which turns stand for each, and how they were chosen. Pure.

Messages of a channel belong to one conversation while no more than :data:`PAUSE` passes between them, or while one
answers another; a thread or forum post is one of its own. Of each the turns that carry most are quoted, by a sum that
anybody can check (:func:`weigh`):

- 2 for each reply that it drew, at most 6
- 3 if it asks and somebody else replied to it, or it is that reply
- 2 if it mentions the reader
- up to 4 for saying what nothing else in the span says: the mean rarity of its terms, of 4
- 1 if it holds a link or a file
- nothing for a bot's message, for one of under three terms, and for one that repeats an earlier one
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cogs.memory.recall.asking import asks
from cogs.memory.records import StoredMessage
from cogs.memory.text.terms import terms

PAUSE = dt.timedelta(minutes=30)
TURNS = 3
CONVERSATIONS = 12
RAREST = 4.0
_DECIDED = re.compile(
    r"\b(decided|agreed|settled|it's a deal|let's (?:do|go|take)|we(?:'ll| will) (?:do|go|take|meet)|beschlossen|"
    r"abgemacht|machen wir|wir nehmen|einverstanden|decidido|acordado|quedamos|d[ée]cid[ée]|convenu|on prend|combinado|"
    r"fechado|решили|договорились|решено)\b|決定|決まり|で行こう|就这么定|决定|說定|결정|정했",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Digest:
    """One conversation. ``turns`` carry most, in order of time; ``people`` are its authors, the most active first.

    ``decided`` and ``open`` are messages: the last that says something is settled, the last question nobody answered.
    """

    channel_id: int
    messages: int
    first: StoredMessage
    last: StoredMessage
    people: tuple[str, ...]
    turns: tuple[StoredMessage, ...]
    decided: StoredMessage | None
    open: StoredMessage | None
    mentions_reader: bool
    weight: float


def digests(messages: Sequence[StoredMessage], reader_id: int, apart: Iterable[int] = ()) -> list[Digest]:
    """Return the conversations of a span: those that mention the reader first, then by what they carry.

    ``messages`` are in order of their ids; ``apart`` names the channels that are one conversation each (threads).
    """
    units = frozenset(apart)
    rarity = _rarity(messages)
    replies = _replies(messages)
    found = [_digest(part, reader_id, rarity, replies) for part in conversations(messages, units)]
    found.sort(key=lambda digest: (not digest.mentions_reader, -digest.weight, digest.first.id))
    return found


def conversations(messages: Sequence[StoredMessage], units: frozenset[int]) -> list[list[StoredMessage]]:
    """Return the messages by conversation, each in order of time."""
    parts: list[list[StoredMessage]] = []
    current: dict[int, int] = {}
    part_of: dict[int, int] = {}
    for message in messages:
        place = part_of.get(message.reply_to_id) if message.reply_to_id is not None else None
        if place is not None and parts[place][0].channel_id != message.channel_id:
            place = None  # a forward or a reply from elsewhere joins no talk here
        last = current.get(message.channel_id)
        if place is None and last is not None:
            near = message.created_at - parts[last][-1].created_at <= PAUSE
            place = last if near or message.channel_id in units else None
        if place is None:
            place = len(parts)
            parts.append([])
        parts[place].append(message)
        current[message.channel_id] = part_of[message.id] = place
    return parts


def weigh(
    message: StoredMessage, reader_id: int, rarity: Mapping[str, float], replies: Mapping[int, Sequence[StoredMessage]]
) -> float:
    """Return how much a turn carries, as the module says."""
    words = set(terms(message.content))
    if message.author_is_bot or len(words) < 3:
        return 0.0
    drawn = [reply for reply in replies.get(message.id, ()) if reply.author_id != message.author_id]
    weight = 2.0 * min(len(drawn), 3)
    weight += 3.0 if asks(message.content) and drawn else 0.0
    weight += 2.0 if _mentions(message, reader_id) else 0.0
    weight += sum(rarity[word] for word in words) / len(words)
    weight += 1.0 if message.attachments or "http" in message.content else 0.0
    return weight


def _digest(
    part: list[StoredMessage],
    reader_id: int,
    rarity: Mapping[str, float],
    replies: Mapping[int, Sequence[StoredMessage]],
) -> Digest:
    weights: dict[int, float] = {}
    said: set[str] = set()
    for message in part:
        key = " ".join(terms(message.content))
        weights[message.id] = 0.0 if key in said else weigh(message, reader_id, rarity, replies)
        said.add(key)
    for message in part:  # what answers a question carries as much as the question
        if asks(message.content):
            for reply in replies.get(message.id, ())[:1]:
                if reply.id in weights and weights[reply.id] and reply.author_id != message.author_id:
                    weights[reply.id] += 3.0
    best = sorted(part, key=lambda message: (-weights[message.id], message.id))[:TURNS]
    people = Counter(message.author_name for message in part if not message.author_is_bot)
    return Digest(
        channel_id=part[0].channel_id,
        messages=len(part),
        first=part[0],
        last=part[-1],
        people=tuple(name for name, _ in people.most_common()),
        turns=tuple(sorted((m for m in best if weights[m.id] > 0 or m is part[0]), key=lambda m: m.id)),
        decided=next((m for m in reversed(part) if _DECIDED.search(m.content) and not asks(m.content)), None),
        open=_open_question(part, replies),
        mentions_reader=any(_mentions(message, reader_id) for message in part),
        weight=sum(weights.values()),
    )


def _open_question(
    part: Sequence[StoredMessage], replies: Mapping[int, Sequence[StoredMessage]]
) -> StoredMessage | None:
    """Return the last question that drew no reply and after which nobody else spoke."""
    for place in range(len(part) - 1, -1, -1):
        message = part[place]
        if message.author_is_bot or not asks(message.content):
            continue
        others = [m for m in part[place + 1 :] if m.author_id != message.author_id]
        return message if not others and not replies.get(message.id) else None
    return None


def _mentions(message: StoredMessage, reader_id: int) -> bool:
    return f"<@{reader_id}>" in message.content or f"<@!{reader_id}>" in message.content


def _replies(messages: Iterable[StoredMessage]) -> dict[int, list[StoredMessage]]:
    found: dict[int, list[StoredMessage]] = {}
    for message in messages:
        if message.reply_to_id is not None:
            found.setdefault(message.reply_to_id, []).append(message)
    return found


def _rarity(messages: Sequence[StoredMessage]) -> dict[str, float]:
    """Map each term to its rarity among the messages, from 0 (in all of them) to :data:`RAREST` (in one)."""
    counts: Counter[str] = Counter()
    for message in messages:
        counts.update(set(terms(message.content)))
    top = math.log(len(messages) + 1) or 1.0
    return {term: RAREST * math.log((len(messages) + 1) / count) / top for term, count in counts.items()}
