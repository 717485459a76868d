"""Fusion: what each signal does to the order, and what a missing half does not."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from cogs.memory.recall.blending import blended
from cogs.memory.recall.fusion import SIGNALS, FusionWeights, fuse, load_weights, signals, weights_file
from cogs.memory.recall.pool import FusionMessage, Pool
from cogs.memory.recall.query import analyse
from cogs.memory.storage.connection import to_ms
from cogs.memory.text.terms import terms

NOW = dt.datetime(2026, 6, 10, tzinfo=dt.UTC)


def pool(*rows: tuple[str, str, float], days_ago: int = 1) -> Pool:
    """Return a conversation of ``(author, text, cosine)`` as a pool, numbered from 1."""
    when = NOW - dt.timedelta(days=days_ago)
    passages = {
        i: FusionMessage(" ".join(terms(text)), cosine, author, text, to_ms(when))
        for i, (author, text, cosine) in enumerate(rows, 1)
    }
    last = len(rows)
    previous, following = {i: i - 1 for i in range(2, last + 1)}, {i: i + 1 for i in range(1, last)}
    return Pool(list(passages), passages, previous, following)


def order(query: str, found: Pool) -> list[int]:
    """Return the order of a pool for a query."""
    authors = sorted({p.author for p in found.passages.values()})
    return [f.message_id for f in fuse(analyse(query, authors, NOW), found)]


def test_who_said_it_decides_between_two_that_said_the_same() -> None:
    found = pool(
        ("Mel", "I adopted a dog from the shelter", 0.5),
        ("Joe", "nothing much here today", 0.1),
        ("Caro", "I adopted a dog from the shelter", 0.5),
    )
    assert order("Which pet did Caro adopt?", found)[0] == 3
    assert order("Which pet did Mel adopt?", found)[0] == 1


def test_an_answer_beside_the_words_that_were_asked_comes_before_an_unrelated_line() -> None:
    found = pool(
        ("Ina", "completely unrelated remark about football", 0.1),
        ("Udo", "another remark about the weather outside", 0.1),
        ("Ina", "Which colour did you paint the kitchen walls?", 0.6),
        ("Udo", "A kind of dark green, like the old boat", 0.1),
        ("Ina", "some more football talk for the evening", 0.1),
    )
    assert order("colour of the kitchen walls", found)[:2] == [3, 4]


def test_a_rare_word_outweighs_common_ones() -> None:
    rows = [("Ina", f"the boat trip number {i} was fun", 0.3) for i in range(8)]
    found = pool(*rows, ("Udo", "my telescope broke", 0.3))
    assert order("boat telescope", found)[0] == 9


def test_the_time_of_the_question_lifts_what_was_written_then() -> None:
    rows = ("Ina", "we baked bread together", 0.5)
    recent, old = pool(rows), pool(rows, days_ago=400)
    found = Pool([1, 2], {1: old.passages[1], 2: recent.passages[1]}, {}, {})
    other = Pool([1, 2], {1: recent.passages[1], 2: old.passages[1]}, {}, {})
    assert order("what did we bake last week", found)[0] == 2 or order("what did we bake this month", found)[0] == 2
    assert order("what did we bake this month", other)[0] == 1


def test_each_half_alone_still_orders() -> None:
    words_only = pool(("a", "the red bicycle", 0.0), ("b", "a blue car", 0.0))
    meaning_only = pool(("a", "zweirad", 0.2), ("b", "fahrrad", 0.7))
    assert order("red bicycle", words_only)[0] == 1
    assert order("bicycle", meaning_only)[0] == 2
    assert order("?", pool(("a", "", 0.0))) == [1]
    assert order("anything", Pool([], {}, {}, {})) == []


def test_scores_are_probabilities_and_of_equal_ones_the_newer_comes_first() -> None:
    found = pool(("a", "same words here", 0.4), ("a", "same words here", 0.4))
    scored = fuse(analyse("same words", ["a"], NOW), Pool(found.candidates, found.passages, {}, {}))
    assert [f.message_id for f in scored] == [2, 1]
    assert all(0 <= f.score <= 1 for f in scored)
    strong = fuse(analyse("same words", ["a"], NOW), found, FusionWeights({"cosine": 1e6}))
    assert strong[0].score <= 1


def test_a_neighbour_that_is_gone_changes_nothing() -> None:
    found = pool(("a", "the red bicycle", 0.4))
    info = analyse("bicycle", ["a"], NOW)
    with_ghost = Pool(found.candidates, found.passages, {1: 77}, {1: 78})
    assert (signals(info, with_ghost) == signals(info, found)).all()


def test_the_shipped_weights_name_every_signal_and_others_are_refused(tmp_path: Path) -> None:
    assert set(load_weights().weights) == set(SIGNALS)
    assert load_weights().scale > 0
    file = tmp_path / "fusion.json"
    file.write_text(json.dumps({"weights": {"charm": 1.0}, "scale": 1, "bias": 0}), encoding="utf-8")
    with pytest.raises(ValueError, match="charm"):
        load_weights(file)


def test_a_blend_lies_between_the_two_and_keeps_certainty_finite() -> None:
    assert blended(0.9, 0.2, 0.0) == 0.9
    assert 0.2 < blended(0.9, 0.2, 0.4) < 0.9
    assert blended(0.3, 0.3, 0.5) == pytest.approx(0.3)
    assert 0 < blended(1.0, 0.0, 0.5) < 1
    assert blended(0.9, 0.3, 0.4) > blended(0.9, 0.2, 0.4)


@pytest.mark.parametrize("embedder", ["mneme-embedder", "minilm-l6"])
def test_the_one_word_that_is_asked_comes_before_what_only_looks_like_it(embedder: str) -> None:
    """Beside many words that only look like it, a made-up word was not among the first ten."""
    likes = [("Ben", f"zqtcb{n} garden lamp invoice holiday", 0.80 + 0.01 * n) for n in range(12)]
    found = pool(*likes, ("Ada", "zqtcbhdz train lamp garden tomato violin", 0.78))
    weights = load_weights(weights_file(embedder))
    assert fuse(analyse("zqtcbhdz", ["Ada", "Ben"], NOW), found, weights)[0].message_id == 13
