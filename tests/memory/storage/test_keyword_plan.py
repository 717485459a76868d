"""Which words choose the messages where very many hold one, and how many messages hold a word."""

from __future__ import annotations

import itertools
import random
import sqlite3
from pathlib import Path

import pytest

from cogs.memory.storage.keyword_counts import MANY, SECONDS, TermCounts, counted_by_sqlite
from cogs.memory.storage.keyword_plan import NEWEST, WALK, affordable, at_least, plan, words_together
from tests.memory.building import message, running_service


def test_the_rarest_words_are_chosen_while_they_can_be_afforded() -> None:
    assert affordable({"boat": 5, "sea": 90, "keel": 1}, 100) == ["keel", "boat", "sea"]
    assert affordable({"boat": 5, "sea": 90, "keel": 1}, 50) == ["keel", "boat"]
    assert affordable({"sea": 90}, 50) == ["sea"]
    assert affordable({"zeppelin": 0, "sea": 90}, 50) == ["sea"], "what nobody wrote finds nothing"
    assert affordable({}, 50) == []


@pytest.mark.parametrize(("count", "size"), [(c, n) for n in range(1, 6) for c in range(1, n + 1)])
def test_the_index_understands_at_least_so_many(count: int, size: int) -> None:
    words = ["oak", "elm", "ash", "fir", 'y"w'][:size]
    texts = [" ".join(held) for n in range(size + 1) for held in itertools.combinations(words, n)]
    with sqlite3.connect(":memory:") as db:
        db.execute('CREATE VIRTUAL TABLE t USING fts5(body, tokenize="unicode61 tokenchars \'""\'")')
        db.executemany("INSERT INTO t(body) VALUES (?)", [(text,) for text in texts])
        found = {row[0] for row in db.execute("SELECT body FROM t WHERE t MATCH ?", (at_least(count, words),))}
    assert found == {text for text in texts if len(text.split()) >= count}


def test_nothing_holds_more_words_than_there_are() -> None:
    for count, words in ((0, ["oak"]), (2, ["oak"])):
        with pytest.raises(ValueError, match=f"{count} of 1"):
            at_least(count, words)


def test_as_many_words_together_as_leave_enough() -> None:
    shares, total = [0.3, 0.2, 0.1], 20_000
    rng = random.Random(1)
    held = [sum(rng.random() < share for share in shares) for _ in range(total)]
    for wanted in (20_000, 9_000, 1_500, 100, 1):
        chosen = words_together(shares, total, wanted)
        assert chosen == 1 or sum(n >= chosen for n in held) > 0.9 * wanted
        assert chosen == 3 or sum(n >= chosen + 1 for n in held) < 1.1 * wanted
    assert words_together([], total, 5) == 0


def test_rare_words_choose_alone_and_frequent_ones_together() -> None:
    documents = {"keel": 3, "sail": 60_000, "wind": 70_000, "day": 300_000}
    found = plan(documents, 1_000_000, 1_000_000, 100)
    assert (found.rare, found.frequent, found.together) == (("keel",), ("sail", "wind"), 2)
    assert [question for question, _ in found.questions()] == ['"keel"', '("sail" AND ("wind"))', '"sail" OR "wind"']
    narrow = plan(documents, 1_000_000, 5_000, 100)
    assert narrow.rare == ("keel", "sail", "wind"), "few of them lie in this scope"
    ((first, stricter), *_) = narrow.questions()
    assert first == '"keel" OR "sail" OR "wind"'
    assert stricter == at_least(2, ["keel", "sail", "wind", "day"]), "where it is wrong about that"
    nobody = plan({"sail": 60_000}, 1_000_000, 0, 100)
    assert list(nobody.questions()) == [('"sail"', None)], "a scope that seems empty is looked into all the same"


def test_a_plan_stays_affordable_whatever_is_asked() -> None:
    rng = random.Random(2)
    for _ in range(300):
        total = rng.choice([3_000, 100_000, 5_000_000])
        documents = {f"w{n}": rng.randint(1, total) for n in range(rng.randint(1, 64))}
        size = rng.randint(0, total)
        found = plan(documents, total, size, 300)
        assert sum(documents[term] * size // total for term in found.rare) <= NEWEST
        assert len(found.frequent) <= 5
        assert len(found.frequent) < 2 or sum(min(documents[t], 4 * size) for t in found.frequent) <= WALK
        asked = list(found.questions())
        assert asked
        assert max(len(text or "") for pair in asked for text in pair) < 1_000


async def test_counts_of_frequent_words_are_kept_for_a_while(tmp_path: Path) -> None:
    now = 0.0
    counts = TermCounts(counted_by_sqlite, lambda: now)
    async with running_service(tmp_path) as service:
        await service.remember([message(i, "sail" if i else "keel") for i in range(MANY + 1)])
        with service.repository.database.reading() as db:
            assert counts.of(db, ["sail", "keel", "moon"]) == {"sail": MANY, "keel": 1, "moon": 0}
            assert counts.total(db) == MANY + 1
        await service.remember([message(MANY + 1, "sail keel")])
        with service.repository.database.reading() as db:
            assert counts.of(db, ["sail", "keel"]) == {"sail": MANY, "keel": 2}, "the rare one is counted anew"
            now = SECONDS
            assert counts.of(db, ["sail", "keel"]) == {"sail": MANY + 1, "keel": 2}
            assert counts.total(db) == MANY + 2
