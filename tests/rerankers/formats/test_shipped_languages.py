"""The shipped reranker in languages other than English: who answers stands above who asks and who speaks of others."""

from __future__ import annotations

import pytest

from cogs.memory.inference.model_specs import LoadOptions
from cogs.memory.rerankers.base import Document, Reranker
from cogs.memory.rerankers.registry import load_reranker, load_specs

ASKED = {
    "de": (
        "Wo ist der Schlüssel für den Keller?",
        [
            "Der Kellerschlüssel hängt neben der Haustür",
            "Weiß jemand, wo der Kellerschlüssel ist?",
            "Ich war im Keller",
        ],
    ),
    "es": (
        "¿Qué le regalamos a Marta?",
        ["Le regalamos una bicicleta a Marta", "¿Alguien sabe qué regalarle a Marta?", "Marta llega mañana"],
    ),
    "fr": (
        "Pourquoi le chauffage ne marche pas ?",
        ["Le chauffage est en panne parce que la pompe est cassée", "Le chauffage marche chez vous ?", "Il fait froid"],
    ),
    "it": (
        "Chi porta il vino sabato?",
        ["Sabato il vino lo porto io", "Qualcuno porta il vino sabato?", "Sabato piove di sicuro"],
    ),
    "nl": (
        "Hoeveel kostte de nieuwe fiets van Joris?",
        ["Mijn nieuwe fiets kostte 800 euro", "Wat kostte jouw fiets, Joris?", "Fietsen is gezond"],
    ),
    "pl": (
        "Dlaczego odwołano koncert?",
        [
            "Koncert odwołano, bo wokalista jest chory",
            "Czy koncert się odbędzie?",
            "Lubię koncerty na świeżym powietrzu",
        ],
    ),
    "ru": (
        "Когда приезжает бабушка?",
        ["Бабушка приезжает в пятницу вечером", "Кто знает, когда приезжает бабушка?", "Моя бабушка любит сад"],
    ),
    "zh": (
        "钥匙放在哪里了？",
        ["钥匙我放在花盆下面了", "有人看到钥匙吗？", "我今天买了一把新锁"],
    ),
    "ja": (
        "パスワードは何に変わりましたか？",
        ["パスワードは「さくら2024」に変えました", "パスワードを知っている人いますか？", "昨日は早く寝ました"],
    ),
    "ko": (
        "열쇠는 어디에 있어?",
        ["열쇠는 화분 밑에 뒀어", "누가 열쇠 봤어?", "오늘 자물쇠 새로 샀어"],
    ),
    "sv": (
        "Vem matar katten i helgen?",
        ["Jag matar katten i helgen", "Kan någon mata katten i helgen?", "Katter är bättre än hundar"],
    ),
    "el": (
        "Πού είναι το πάρτι;",
        ["Το πάρτι είναι στο σπίτι της Ελένης", "Ξέρει κανείς πού είναι το πάρτι;", "Μου αρέσει η μουσική"],
    ),
}


@pytest.fixture(scope="module")
def reranker() -> Reranker:
    return load_reranker(load_specs()["mneme-reranker"], LoadOptions(threads=1))


def test_the_answer_stands_first_in_most_languages(reranker: Reranker) -> None:
    lost = []
    for language, (question, texts) in ASKED.items():
        raws = [score.raw for score in reranker.score(question, [Document(text, author="Kim") for text in texts])]
        if raws.index(max(raws)) != 0:
            lost.append(language)
    assert len(lost) <= 2, lost


def test_an_english_question_is_scored_as_before(reranker: Reranker) -> None:
    english = load_reranker(load_specs()["mneme-reranker-chat"], LoadOptions(threads=1))
    documents = [Document("I live in Ghent now", author="Anna"), Document("who lives in Ghent?", author="Tom")]
    question = "Where does Anna live?"
    assert reranker.score(question, documents) == english.score(question, documents)


def test_a_fact_is_found_across_languages(reranker: Reranker) -> None:
    texts = ["I moved, I live in Ghent now", "pizza again tonight", "see you at the station"]
    first, *others = reranker.score("Wo wohnt Anna?", [Document(text, author="Anna") for text in texts])
    assert first.raw > max(other.raw for other in others)


def test_it_names_the_languages_that_it_reads() -> None:
    specs = load_specs()
    assert {"en", "de", "zh", "ja", "ar", "hi"} <= set(specs["mneme-reranker"].languages)
    assert "en" in specs["mneme-reranker-chat"].languages
    assert specs["qwen3-reranker-0.6b"].languages == ()
