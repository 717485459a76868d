"""The language of a line of chat by its script and its small words."""

from __future__ import annotations

import pytest

from cogs.memory.text.languages import language_of, may_be_english


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where does Anna live?", "en"),
        ("Wo wohnt Anna eigentlich?", "de"),
        ("Was macht Jonas beruflich?", "de"),
        ("¿Dónde vive Lucía?", "es"),
        ("Où habite Camille ?", "fr"),
        ("Dove abita Giulia? Non lo so", "it"),
        ("Waar woont Sanne?", "nl"),
        ("Gdzie mieszka Kasia?", "pl"),
        ("Zeynep hangi şehirde oturuyor?", "tr"),
        ("Linh sống ở đâu?", "vi"),
        ("Где живёт Оля?", "ru"),
        ("小明住在哪里？", "zh"),
        ("さくらはどこに住んでいますか？", "ja"),
        ("東京に住んでいます", "ja"),
        ("민수는 어디에 살아?", "ko"),
        ("أين تسكن ليلى؟", "ar"),
        ("Πού μένει η Άννα;", "el"),
        ("Anna Ghent", None),
        ("42 :)", None),
        ("", None),
    ],
)
def test_languages(text: str, language: str | None) -> None:
    assert language_of(text) == language


def test_what_says_nothing_may_be_english_unless_its_letters_are_not() -> None:
    for text in ("ok", "lol 😂", "https://example.org/a", "", "Anna", "naïve cafe, the best one"):
        assert may_be_english(text)
    for text in ("słońce", "ありがとう", "спасибо", "ich habe das nicht"):
        assert not may_be_english(text)


def test_a_name_in_another_script_does_not_change_the_language() -> None:
    assert language_of("What is the best place where 小明 could meet us?") == "en"


def test_a_text_of_any_length_is_looked_at_only_at_its_beginning() -> None:
    assert language_of("the cat is here. " * 30 + "ß" * 10_000) == "en"
