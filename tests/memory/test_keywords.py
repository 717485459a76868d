"""The terms under which a message is found by its words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogs.memory.keywords import MAX_TERMS, keyword_query, keyword_text, terms


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("She was planting the leeks", "plants leek"),
        ("The berries stopped", "berry stop"),
        ("Café", "cafe"),
        ("ＦＵＬＬ width", "full"),
        ("我们明天去北京开会", "北京"),
        ("naïve Ärger", "NAIVE ARGER"),
    ],
)
def test_what_was_written_is_found_as_it_is_asked(written: str, asked: str) -> None:
    assert set(terms(asked)) <= set(terms(written))


def test_stop_words_count_only_where_there_is_nothing_else() -> None:
    assert keyword_query("What did the boat cost?") == ["boat", "cost"]
    assert keyword_query("who is it") == ["who", "is", "it"]
    assert keyword_query("?!") == []


def test_a_query_is_bounded() -> None:
    assert len(keyword_query(" ".join(f"word{i}" for i in range(500)))) == MAX_TERMS
    assert keyword_query("boat boat Boat boats") == ["boat"]


@given(st.text(max_size=200))
def test_no_text_breaks_it_and_the_index_reads_back_what_was_written(text: str) -> None:
    assert keyword_text(text).split() == terms(text)
