"""Public sets in other languages as conversations with questions: paragraphs told sentence by sentence, and chats.

Splits are by article, paragraph or dialogue, the same in every language of a parallel set, so that what is developed on
in one language is not trained on in another. Vietnamese and Turkish questions and Korean personas are never trained on.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from cogs.lab.datasets.conversations import ChatTurn, Conversation, Question
from cogs.lab.datasets.generate_words import NAMES
from cogs.lab.datasets.sources import is_development, untokenized

Part = Literal["train", "dev"]

HELD_OUT_QUESTIONS: Final = frozenset({"vi", "tr"})
HELD_OUT_PERSONAS: Final = frozenset({"ko"})
QUESTION_LANGUAGES: Final = ("en", "es", "de", "ru", "zh", "ar", "vi", "tr")
PERSONA_FILES: Final = {
    "en": "En_persona_valid.json",
    **{
        language: f"{language.capitalize()}_persona_split_valid_human_annotated.json"
        for language in ("fr", "id", "it", "ko", "zh")
    },
    "ja": "Jp_persona_split_valid_human_annotated.json",
}
OTHER_NAMES: Final = tuple(
    (
        "Łukasz Zoë Søren Jürgen Çağla Đorđe Håkon Șerban İrem Ngọc Thảo Phương Иван Ольга Дмитрий Светлана "
        "Олена 美咲 健太 さくら 陽子 翔 王芳 小明 李娜 建国 子涵 민준 서연 지우 하은 محمد فاطمة يوسف ليلى אבי "
        "נועה अनिल प्रिया สมชาย นารี Γιώργος Ελένη xX_wolf_Xx n00b42 kit-kat pixel.dev TheRealTom lunatic99 m4rvin "
        "mod_anna"
    ).split()
)
ALL_NAMES: Final = NAMES + OTHER_NAMES
COMMON: Final = 60
"""A piece of one turn in so many is too common to show anything."""
SHORTEST: Final = 12
"""A sentence of fewer characters stays with the one before it."""
_ENDS: Final = re.compile(r"(?<=[.!?؟])\s+|(?<=[。！？])(?![」』”）)])|\n+")


def sentences(text: str) -> list[tuple[int, str]]:
    """Return the sentences of a text with their places; a very short one stays with the one before it.

    A full stop ends a sentence only before a blank, so that ``3.5`` and ``example.org`` stay whole.
    """
    cuts = [0]
    for match in _ENDS.finditer(text):
        if match.end() - cuts[-1] >= SHORTEST and len(text) - match.end() >= SHORTEST:
            cuts.append(match.end())
    parts = zip(cuts, [*cuts[1:], len(text)], strict=True)
    return [(low, said) for low, high in parts if (said := text[low:high].strip())]


def speakers(key: str, count: int) -> list[str]:
    """Return names of many cultures for a conversation, the same ones each time."""
    return random.Random(key).sample(ALL_NAMES, count)


def told(prefix: str, contexts: Sequence[str], key: str) -> tuple[list[ChatTurn], list[list[tuple[int, str]]]]:
    """Return paragraphs as turns of three people, and beside them each paragraph's ``(place, turn id)``."""
    names = speakers(key, 3)
    rng = random.Random(key)
    turns: list[ChatTurn] = []
    places: list[list[tuple[int, str]]] = []
    for number, context in enumerate(contexts):
        row = []
        for index, (place, text) in enumerate(sentences(context)):
            turn = ChatTurn(f"{prefix}-{number}-{index}", rng.choice(names), text)
            turns.append(turn)
            row.append((place, turn.id))
        places.append(row)
    return turns, places


def turn_at(row: Sequence[tuple[int, str]], place: int) -> str:
    """Return the id of the turn that holds the character at ``place``."""
    return next(turn_id for start, turn_id in reversed(row) if start <= place or start == row[0][0])


def xquad(root: Path, part: Part, language: str) -> Iterator[Conversation]:
    """Questions over articles; the sentence that holds the answer is the evidence; split by article."""
    articles = json.loads((root / "xquad" / f"xquad.{language}.json").read_text(encoding="utf-8"))["data"]
    for number, article in enumerate(articles):
        if is_development(f"xquad-{number}", 0.3) != (part == "dev"):
            continue
        prefix = f"xquad-{language}-{number}"
        contexts = [paragraph["context"] for paragraph in article["paragraphs"]]
        turns, places = told(prefix, contexts, prefix)
        questions = []
        for paragraph, row in zip(article["paragraphs"], places, strict=True):
            for asked in paragraph["qas"]:
                positives = sorted({turn_at(row, answer["answer_start"]) for answer in asked["answers"]})
                questions.append(Question(asked["id"], asked["question"].strip(), tuple(positives), language))
        yield Conversation(prefix, tuple(turns), tuple(questions))


def jaquad(root: Path, part: Part) -> Iterator[Conversation]:
    """Japanese questions over articles, split by article."""
    for file in sorted((root / "jaquad").glob("*.json")):
        for article in json.loads(file.read_text(encoding="utf-8"))["data"]:
            if is_development(f"jaquad-{article['title']}", 0.02) != (part == "dev"):
                continue
            prefix = f"jaquad-{article['title']}-{file.stem[-4:]}"
            contexts = [paragraph["context"] for paragraph in article["paragraphs"]]
            turns, places = told(prefix, contexts, prefix)
            questions = []
            for paragraph, row in zip(article["paragraphs"], places, strict=True):
                for asked in paragraph["qas"]:
                    positives = sorted({turn_at(row, answer["answer_start"]) for answer in asked["answers"]})
                    questions.append(
                        Question(f"{prefix}-{asked['id']}", asked["question"].strip(), tuple(positives), "ja")
                    )
            yield Conversation(prefix, tuple(turns), tuple(questions))


def cmrc2018(root: Path, part: Part) -> Iterator[Conversation]:
    """Chinese questions over paragraphs; of the sentences that hold the answer, the one most like the question."""
    rows = json.loads((root / "cmrc2018" / "cmrc2018_dev.json").read_text(encoding="utf-8"))
    for row in rows:
        if is_development(row["context_id"], 0.15) != (part == "dev"):
            continue
        prefix = f"cmrc-{row['context_id']}"
        turns, _ = told(prefix, [row["context_text"]], prefix)
        questions = []
        for asked in row["qas"]:
            answers = {text for answer in asked["answers"] if (text := str(answer).strip())}
            holding = [turn for turn in turns if any(answer in turn.text for answer in answers)]
            if holding:
                pairs = _pairs(asked["query_text"])
                best = max(holding, key=lambda turn: len(pairs & _pairs(turn.text)))
                questions.append(Question(asked["query_id"], asked["query_text"], (best.id,), "zh"))
        yield Conversation(prefix, tuple(turns), tuple(questions))


def kdconv(root: Path, part: Part) -> Iterator[Conversation]:
    """Chinese conversations about films and music: "whose what?" and the turns that state it; split by dialogue."""
    for name in ("film_dev", "film_test", "music_dev", "music_test"):
        rows = json.loads((root / "kdconv" / f"{name}.json").read_text(encoding="utf-8"))
        for number, row in enumerate(rows):
            if is_development(f"kdconv-{name}-{number}", 0.15) != (part == "dev"):
                continue
            prefix = f"kdconv-{name}-{number}"
            pair = speakers(prefix, 2)
            turns = tuple(
                ChatTurn(f"{prefix}-{index}", pair[index % 2], message["message"])
                for index, message in enumerate(row["messages"])
            )
            stated: dict[tuple[str, str], list[str]] = {}
            for turn, message in zip(turns, row["messages"], strict=True):
                for attribute in message.get("attrs", ()):
                    if attribute["attrname"] != "Information" and _states(turn.text, attribute["attrvalue"]):
                        about = re.sub(r"[（(].*?[)）]", "", attribute["name"]).strip()
                        stated.setdefault((about, attribute["attrname"]), []).append(turn.id)
            rng = random.Random(prefix)
            questions = tuple(
                Question(
                    f"{prefix}-q{index}",
                    rng.choice(
                        ("{a}的{w}是什么？", "{a}的{w}？", "谁说过{a}的{w}？", "我们聊过{a}，它的{w}是？")
                    ).format(a=a, w=w),
                    tuple(sorted(set(ids))),
                    "zh",
                )
                for index, ((a, w), ids) in enumerate(stated.items())
            )
            yield Conversation(prefix, turns, questions)


_ASKED: Final[dict[str, tuple[str, ...]]] = {
    "en": ("{s}", "who said: {s}", "did {n} say: {s}", "what do we know about {n}: {s}"),
    "fr": ("{s}", "qui a dit : {s}", "est-ce que {n} a dit : {s}", "que sait-on de {n} : {s}"),
    "id": ("{s}", "siapa yang bilang: {s}", "apakah {n} bilang: {s}", "apa yang kita tahu tentang {n}: {s}"),
    "it": ("{s}", "chi ha detto: {s}", "{n} ha detto: {s}", "cosa sappiamo di {n}: {s}"),
    "ja": ("{s}", "誰が言った：{s}", "{n}さんは言った？{s}", "{n}さんについて：{s}"),
    "ko": ("{s}", "누가 말했어: {s}", "{n} 말했어? {s}", "{n}에 대해: {s}"),
    "zh": ("{s}", "谁说过：{s}", "{n}说过吗：{s}", "关于{n}：{s}"),
}


def xpersona(root: Path, part: Part, language: str) -> Iterator[Conversation]:
    """Chats of two people, and what is known of the second: the turn most like a persona sentence is its evidence.

    Which turn shows a sentence is not annotated: the one that shares most of its rarer pieces is taken, where it
    shares enough. Split by dialogue.
    """
    rows = json.loads((root / "xpersona" / PERSONA_FILES[language]).read_text(encoding="utf-8"))
    said = [text for row in rows for pair in row["dialogue"] for text in pair]
    counts: dict[str, int] = {}
    for text in said:
        for piece in _grams(text, language):
            counts[piece] = counts.get(piece, 0) + 1
    for number, row in enumerate(rows):
        key = f"xpersona-{'+'.join(row['persona'])[:80]}" if language == "en" else f"xpersona-{number}"
        if is_development(key, 0.2) != (part == "dev"):
            continue
        prefix = f"xpersona-{language}-{number}"
        names = speakers(prefix, 2)
        turns = tuple(
            ChatTurn(f"{prefix}-{index}-{side}", names[side], untokenized(text))
            for index, pair in enumerate(row["dialogue"])
            for side, text in enumerate(pair)
            if text.strip() and "__SILENCE__" not in text
        )
        own = [turn for turn in turns if turn.author == names[1]]
        rng = random.Random(prefix)
        questions = []
        for index, sentence in enumerate(row["persona"]):
            best = _shown(_grams(sentence, language), own, counts, len(said) / COMMON, language)
            if best is not None:
                text = rng.choice(_ASKED[language]).format(s=untokenized(sentence).rstrip(".。"), n=names[1])
                questions.append(Question(f"{prefix}-q{index}", text, (best,), language))
        yield Conversation(prefix, turns, tuple(questions))


def _shown(
    grams: set[str], own: Sequence[ChatTurn], counts: Mapping[str, int], common: float, language: str
) -> str | None:
    """Return the id of the turn that shares most of a sentence, where a rarer piece is among what they share."""
    best, most = None, 0.0
    for turn in own:
        shared = grams & _grams(turn.text, language)
        weight = sum(1 / (1 + counts.get(piece, 0)) for piece in shared)
        if weight > most:
            best, most = (turn, weight)
    if best is None or all(counts.get(piece, 0) >= common for piece in grams & _grams(best.text, language)):
        return None
    return best.id


def ntrex(root: Path) -> dict[str, list[str]]:
    """Return the sentences by language, parallel line by line; of two variants of a language, both under own names."""
    found = {}
    for file in sorted((root / "ntrex").glob("*.txt")):
        lines = file.read_text(encoding="utf-8").splitlines()
        found[file.stem.rsplit(".", 1)[-1]] = [line.strip() for line in lines]
    return found


def _states(text: str, value: str) -> bool:
    return value in text or (len(value) > 3 and len(_pairs(value) & _pairs(text)) >= 0.5 * len(_pairs(value)))


def _pairs(text: str) -> set[str]:
    return {text[i : i + 2] for i in range(len(text) - 1)}


def _grams(text: str, language: str) -> set[str]:
    """Return what two texts share: pairs of characters where words are not set apart, else words cut at five."""
    if language in ("ja", "zh"):
        bare = re.sub(r"[\W_]+", "", text)
        return _pairs(bare)
    if language == "ko":
        return {word[:2] for word in re.findall(r"\w+", text) if len(word) > 1}
    return {word[:5] for word in re.findall(r"\w+", text.lower()) if len(word) > 2}


def multilingual_sets(root: Path, part: Part) -> Iterator[tuple[str, Iterator[Conversation]]]:
    """Yield ``(name, conversations)`` of each set that lies under ``root``, without the languages that are held out."""
    if (root / "xquad").is_dir():
        for language in QUESTION_LANGUAGES:
            if part == "dev" or language not in HELD_OUT_QUESTIONS:
                yield f"xquad-{language}", xquad(root, part, language)
    plain: dict[str, tuple[str, Callable[[Path, Part], Iterator[Conversation]]]] = {
        "jaquad": ("jaquad", jaquad),
        "cmrc2018": ("cmrc", cmrc2018),
        "kdconv": ("kdconv", kdconv),
    }
    for folder, (name, read) in plain.items():
        if (root / folder).is_dir():
            yield name, read(root, part)
    if (root / "xpersona").is_dir():
        for language in PERSONA_FILES:
            if part == "dev" or language not in HELD_OUT_PERSONAS:
                yield f"xpersona-{language}", xpersona(root, part, language)
