"""Facts that change: of messages that answer the same question about the same subject, the newer stands first. Pure.

Whether one message replaces another is weighed from a few signs of both, with weights learned from chats in which
stated values change (``data/models/changes.json``, made by :mod:`cogs.lab.search.learn_changes`): who speaks, how well
each fits the question, whether the newer speaks of a change, what words they share. A date alone decides nothing: a
newer chat about something else does not win. A question about the past turns the order round.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cogs.memory.recall.asking import asking_share
from cogs.memory.recall.query import QueryInfo
from cogs.memory.records import Hit
from cogs.memory.text.terms import STOP_WORDS, terms
from config.settings import PROJECT_DIR

Vector = npt.NDArray[np.float32]
WEIGHTS_FILE = PROJECT_DIR / "data" / "models" / "changes.json"
LOOKED_AT = 8
"""So many of the best hits are compared with each other."""
SOON = 1800.0
LEAST = 1e-3
"""A probability below this counts as this."""
SIGNS = (
    "bias",
    "same_author",
    "newer_odds",  # the log-odds of the newer beside the best hit's
    "older_odds",
    "lead",  # the log-odds of the lesser of the two beside the best of all others
    "alike",  # the cosine of their vectors, beside the usual one among the best hits
    "shared_words",  # of the words that are not the question's
    "newer_asked",  # the share of the question's words that it holds
    "older_asked",
    "newer_changes",  # it speaks of a change
    "older_changes",
    "at_once",  # less than half an hour lies between them
    "days",  # the logarithm of the days between them
    "newer_asks",  # the share of its words that ask
    "older_asks",
    "longer",  # how much longer the newer is
)
_CHANGE = re.compile(
    r"\b(?:now|nowadays|these days|moved|changed?|switched|instead|anymore|any more|no longer|new|update[ds]?|"
    r"from now on|scratch that|since then|turns out|left|renamed|upgraded|replaced|"
    r"current(?:ly)?|meanwhile|finally|traded|swapped|"
    r"jetzt|nun|neu\w*|umgezogen|gewechselt|geändert|statt|nicht mehr|inzwischen|mittlerweile|seit|"
    r"maintenant|désormais|nouve\w+|changé|déménagé|plutôt|ne .{1,20} plus|ahora|nuev\w+|cambi\w+|mud[eéó]\w*|ya no|"
    r"agora|nov[oa]s?|mud[eouá]\w*|já não|adesso|ora|nuov\w+|cambiat\w+|trasferit\w+|non .{1,15} più|"
    r"nu|nieuw\w*|verhuisd|veranderd|niet meer|теперь|сейчас|уже не|больше не|нов\w+|переехал\w*|сменил\w*|"
    r"teraz|nowy|nowa|nowe|przeprowadził\w*|zmienił\w*|już nie|artık|şimdi|yeni\w*|taşındı\w*|değiş\w+|"
    r"sekarang|baru|pindah|bukan lagi|bây giờ|mới|chuyển|không còn|nyt|uusi|muutin|enää|flyttat|flyttet|längre|"
    r"ny[at]?)\b|"
    "现在|現在|搬|换|換|改|新|不再|已经|已經|如今|今は|今では|引っ越|変わ|変え|もう|이제|지금|이사|바꿨|바뀌|새로|"
    "الآن|انتقل|جديد|لم أعد|تغير|עכשיו|עברתי|חדש|कर अब|अब|नया|नई|ตอนนี้|ย้าย|เปลี่ยน|ใหม่",
    re.IGNORECASE,
)
_PAST = re.compile(
    r"\b(?:before|previous(?:ly)?|used to|former(?:ly)?|originally|at first|earlier|in the past|back then|once|"
    r"(?<!how )old|"
    r"früher\w*|vorher\w*|zuvor|damals|ehemals|ursprünglich|avant|auparavant|autrefois|à l['’]époque|ancien\w*|"
    r"antes|anterior(?:mente)?|solía|antiguo|precedente(?:mente)?|una volta|un tempo|vroeger|eerder|voorheen|"
    r"раньше|прежде|до этого|ранее|wcześniej|kiedyś|przedtem|dawniej|poprzedni\w*|tidigare|förut|før|tidligere|"
    r"önce(?:den|ki)?|eskiden|trước|hồi trước|sebelumnya|dulu|dahulu|aiemmin|ennen|dřív\w*|předtím|înainte|korábban|"
    r"azelőtt)\b|"
    "以前|之前|从前|從前|过去|過去|原来|原來|曾经|曾經|前は|かつて|昔|元々|もともと|예전|전에|이전|옛날|قبل|سابق|בעבר|לפני|קודם|"
    "पहले|ก่อน|เมื่อก่อน|เคย",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ChangeWeights:
    """One weight for each of :data:`SIGNS`, and from which probability on a message counts as replaced.

    ``least_of_the_past`` is that probability where the question itself asks what was before.
    """

    weights: tuple[float, ...]
    least: float
    least_of_the_past: float = 0.8


@cache
def load_change_weights(path: Path = WEIGHTS_FILE) -> ChangeWeights:
    """Read learned weights.

    Raises:
        ValueError: the file does not name the signs.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    if set(found["weights"]) != set(SIGNS):
        raise ValueError(f"{path.name} does not name the signs of a change: {', '.join(SIGNS)}")
    return ChangeWeights(tuple(found["weights"][sign] for sign in SIGNS), found["least"], found["least_of_the_past"])


def about_the_past(query: str) -> bool:
    """Return whether a query asks what was before."""
    return _PAST.search(query) is not None


def newest_first(
    info: QueryInfo, hits: Sequence[Hit], vectors: Mapping[int, Vector], weights: ChangeWeights | None = None
) -> list[Hit]:
    """Return reranked hits with what holds now above what it replaced; both say so in
    ``replaces`` and ``replaced_by``.

    Of messages that replace each other the scores are shared out anew: the one that the question is after gets the
    best. Everything else stays where it is.

    Args:
        info: The question.
        hits: Hits with a ``rerank_score``, the best first.
        vectors: The unit vectors of the first :data:`LOOKED_AT` of them, as far as they have one.
        weights: Instead of the shipped ones.
    """
    weights = load_change_weights() if weights is None else weights
    head = list(hits[:LOOKED_AT])
    replaced = _replaced(info, head, vectors, weights)
    if not replaced:
        return list(hits)
    for chain in _chains(head, replaced):
        dated = sorted(chain, key=lambda place: (head[place].message.created_at, head[place].message.id))
        wanted = _wanted(info, [head[place].message.created_at for place in dated])
        scores = sorted((head[place].rerank_score or 0.0 for place in chain), reverse=True)
        told = [head[place].message.id for place in dated]
        ordered = [
            replace(
                head[dated[n]],
                replaces=told[n - 1] if n else None,
                replaced_by=told[n + 1] if n + 1 < len(told) else None,
            )
            for n in wanted
        ]
        for place, hit, score in zip(sorted(chain), ordered, scores, strict=True):
            head[place] = replace(hit, rerank_score=score)
    return [*head, *hits[LOOKED_AT:]]


def _wanted(info: QueryInfo, times: Sequence[dt.datetime]) -> list[int]:
    """Return the order in which a question wants statements that are sorted by time: the newest first, or of then."""
    latest = list(range(len(times)))[::-1]
    if info.during is not None:
        # What held in a time is the last thing that was said before its end.
        first = [n for n in latest if times[n] < info.during[1]]
        return [*first, *(n for n in latest if n not in first)]
    return [*latest[1:], latest[0]] if about_the_past(info.query) else latest


def _replaced(
    info: QueryInfo, head: Sequence[Hit], vectors: Mapping[int, Vector], weights: ChangeWeights
) -> list[tuple[int, int]]:
    """Return the pairs of places ``(older, newer)`` of which the newer replaces the older."""
    # A question about the past says itself that something changed.
    least = weights.least_of_the_past if about_the_past(info.query) else weights.least
    found = []
    for older, first in enumerate(head):
        for newer, second in enumerate(head):
            if _may_replace(first, second):
                seen = signs(info, head, first, second, vectors)
                total = sum(w * s for w, s in zip(weights.weights, seen, strict=True))
                if total >= math.log(least / (1 - least)):
                    found.append((older, newer))
    return found


def _may_replace(older: Hit, newer: Hit) -> bool:
    """Return whether one is older than the other: within half an hour only a word of change makes it more than talk."""
    apart = (newer.message.created_at - older.message.created_at).total_seconds()
    return apart >= SOON or (apart > 0 and _CHANGE.search(newer.message.content) is not None)


def signs(
    info: QueryInfo, head: Sequence[Hit], older: Hit, newer: Hit, vectors: Mapping[int, Vector]
) -> tuple[float, ...]:
    """Return the signs, in the order of :data:`SIGNS`, of whether a newer message replaces an older one.

    Args:
        info: The question.
        head: The best hits, with a ``rerank_score``.
        older: The older of two of them.
        newer: The newer one.
        vectors: The unit vectors of the hits, as far as they have one.
    """
    best = max(hit.rerank_score or 0.0 for hit in head)
    others = [hit.rerank_score or 0.0 for hit in head if hit is not older and hit is not newer]
    lesser = min(older.rerank_score or 0.0, newer.rerank_score or 0.0)
    then, now = vectors.get(older.message.id), vectors.get(newer.message.id)
    said_then, said_now = _telling(older), _telling(newer)
    asked = set(info.telling)
    rest_then, rest_now = said_then - asked, said_now - asked
    apart = (newer.message.created_at - older.message.created_at).total_seconds()
    return (
        1.0,
        float(older.message.author_id == newer.message.author_id),
        _odds(newer.rerank_score) - _odds(best),
        _odds(older.rerank_score) - _odds(best),
        _odds(lesser) - _odds(max(others, default=0.0)),
        0.0 if then is None or now is None else float(then @ now) - _usual(list(vectors.values())),
        len(rest_then & rest_now) / max(1, len(rest_then | rest_now)),
        _share(asked, said_now),
        _share(asked, said_then),
        float(_CHANGE.search(newer.message.content) is not None),
        float(_CHANGE.search(older.message.content) is not None),
        float(apart < SOON),
        math.log1p(apart / 86_400),
        asking_share(newer.message.content),
        asking_share(older.message.content),
        math.log((1 + len(newer.message.content)) / (1 + len(older.message.content))),
    )


def _usual(vectors: Sequence[Vector]) -> float:
    """Return the mean cosine of different vectors: models differ in how near everything is to everything."""
    if len(vectors) < 2:
        return 0.0
    total = np.sum(vectors, axis=0)
    return float(total @ total - len(vectors)) / (len(vectors) * (len(vectors) - 1))


def _chains(head: Sequence[Hit], replaced: Sequence[tuple[int, int]]) -> list[set[int]]:
    """Return the places that are linked with each other by replacing."""
    chains: list[set[int]] = []
    for pair in replaced:
        linked = [chain for chain in chains if not chain.isdisjoint(pair)]
        chains = [chain for chain in chains if chain not in linked] + [set(pair).union(*linked)]
    return chains


def _telling(hit: Hit) -> set[str]:
    return {term for term in terms(hit.message.content) if term not in STOP_WORDS}


def _share(asked: Collection[str], said: Collection[str]) -> float:
    return len(set(asked) & set(said)) / len(asked) if asked else 0.0


def _odds(probability: float | None) -> float:
    inside = min(1 - LEAST, max(LEAST, probability or 0.0))
    return math.log(inside / (1 - inside))
