"""The members that a query names, in every script, and the query as it is embedded without them."""

from __future__ import annotations

import pytest

from cogs.memory.recall.names import named_in, without_names

AUTHORS = ["Nadia", "Mara", "Mark", "田中", "王小明", "민수", "Анна Петрова", "Ayşe", "محمد", "Will", "Ola"]


@pytest.mark.parametrize(
    ("query", "author", "left"),
    [
        ("where does Nadia's flat stand", "Nadia", "where does flat stand"),
        ("Wo wohnt Nadias Katze", "Nadia", "Wo wohnt Katze"),
        ("Missä Nadian kissa asuu", "Nadia", "Missä kissa asuu"),
        ("田中さんはどこに住んでいますか", "田中", "はどこに住んでいますか"),
        ("小明住在哪里", "王小明", "住在哪里"),
        ("민수는 어디 살아?", "민수", "어디 살아?"),
        ("Какая машина у Анны", "Анна Петрова", "Какая машина у"),
        ("متى سافر ومحمد", "محمد", "متى سافر"),
        ("when will Will arrive", "Will", "when will arrive"),
    ],
)
def test_a_named_member_is_found_and_cut_out(query: str, author: str, left: str) -> None:
    named = named_in(query, AUTHORS)
    assert named.authors == {author}
    assert without_names(query, named) == left


@pytest.mark.parametrize("query", ["what does the market sell", "where does Mary live", "will it rain", ""])
def test_a_word_that_only_looks_like_a_name_stays(query: str) -> None:
    assert named_in(query, AUTHORS).authors == frozenset()
    assert without_names(query, named_in(query, AUTHORS)) == query


def test_a_query_of_nothing_but_a_name_is_embedded_as_it_is() -> None:
    assert without_names("Nadia", named_in("Nadia", AUTHORS)) == "Nadia"


def test_what_others_wrote_of_an_inflected_name_counts_as_a_mention() -> None:
    assert "nadia" in named_in("Wo wohnt Nadias Katze", AUTHORS).terms
