"""Naming people: every form goes, nothing else does, and a long text takes no longer for its worst form."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cogs.memory.text.mentions import ids_in, lines_of, names_in, without_ids, without_names

MARIA = 123_456_789_012_345_678


def test_ids_are_told_in_each_form_and_numbers_that_hold_them_are_not() -> None:
    text = f"<@{MARIA}> <@!{MARIA}> {MARIA} 9{MARIA} <@12> 12"
    assert ids_in(text) == {MARIA, 12, int(f"9{MARIA}")}
    assert without_ids(text, {MARIA, 12}) == f"@someone @someone @someone 9{MARIA} @someone 12"


def test_the_longest_name_goes_and_punctuation_stays() -> None:
    assert "maria rossi" in names_in("hello @Maria Rossi!")
    assert without_names("hello @Maria Rossi! @mariana a@b", {"maria", "maria rossi"}) == "hello @someone! @mariana a@b"
    assert lines_of("Maria Rossi\n" + "x" * 200) == {"maria rossi"}


@given(st.text(alphabet="@<>!1 aé\n", max_size=300))
def test_nothing_changes_where_nobody_is_to_be_left_out(text: str) -> None:
    assert without_names(without_ids(text, set()), set()) == text
