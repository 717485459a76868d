"""The joint reranker's recipe: its sources as channels, in an order that mixes them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cogs.lab.datasets.changed_slots import changed_slots
from cogs.lab.datasets.conversations import ChatTurn, Conversation, Question, read_folder
from cogs.lab.datasets.generate_chats import generate_chats
from cogs.lab.datasets.generate_phrases import Told, phrase_chats, phrases
from cogs.lab.training.joint.channels import across, chained, with_askers
from cogs.memory.errors import BadRequest

RECIPE: Final = Path(__file__).with_name("mneme-reranker.yaml")
SENTENCES: Final = 12
_ORDER: Final = 9


class Source(BaseModel):
    """One source of channels.

    ``folders`` are sets in BEIR's layout (``sets``, by language), ``parallel`` ones ask the same questions in all
    languages, ``across`` of them in another one; of those every second article is taken, by turns. ``most`` is how many
    conversations of each set are read, shuffled by ``seed`` where it is given; ``turns`` joins them to channels of so
    many turns, ``cut`` leaves out what comes after so many. ``askers`` puts questions among the messages.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Literal["folders", "parallel", "phrases", "generated", "changed", "sentences"]
    sets: dict[str, str] = {}
    count: int = Field(default=1, ge=1)
    most: int | None = Field(default=None, ge=1)
    turns: int | None = Field(default=None, ge=2)
    cut: int | None = Field(default=None, ge=2)
    across: float = Field(default=0.0, ge=0, le=1)
    askers: bool = True
    seed: int | None = None
    share: float = Field(default=1.0, gt=0)
    license: str = "not stated"


class JointRecipe(BaseModel):
    """How the reranker is made; see the file beside this module."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    base: str
    split: int = Field(ge=1)
    layers: int = Field(ge=1)
    rate: float = Field(gt=0)
    steps: int = Field(ge=1)
    seed: int = 0
    max_length: int = Field(ge=16)
    sources: tuple[Source, ...] = Field(min_length=1)


def load_joint_recipe(path: Path = RECIPE) -> JointRecipe:
    """Read a recipe.

    Raises:
        BadRequest: it cannot be read or is malformed; the sentence says where.
    """
    try:
        return JointRecipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise BadRequest(f"The recipe {path} cannot be read: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"The recipe {path.name} is malformed at {where or 'its top'}: {first['msg']}.") from error


def channels(recipe: JointRecipe, sets: Path, public: Path) -> Iterator[tuple[str, Told]]:
    """Yield ``(source, channel)`` of all sources, mixed by their shares.

    Args:
        recipe: names the sources.
        sets: the folder that ``python bot.py datasets`` wrote.
        public: the folder of the public sets as they are, for those that are read from their own files.
    """
    waiting = {source.name: iter(_of(source, sets, public)) for source in recipe.sources}
    shares = {source.name: source.share for source in recipe.sources}
    rng = random.Random(_ORDER)
    while waiting:
        name = rng.choices(list(waiting), [shares[one] for one in waiting])[0]
        told = next(waiting[name], None)
        if told is None:
            del waiting[name]
        else:
            yield name, told


def _of(source: Source, sets: Path, public: Path) -> Iterable[Told]:
    if source.kind == "phrases":
        chats = list(phrase_chats(source.count, "train"))
        random.Random(source.seed).shuffle(chats)
        return chats
    if source.kind == "changed":
        return list(changed_slots(public, "train"))[: source.most]
    if source.kind == "generated":
        return (Told(chat, {}) for chat in generate_chats(source.count, "train", source.seed or 0))
    if source.kind == "sentences":
        return _sentences(source, public)
    if source.kind == "parallel":
        return _parallel(source, sets)
    return _folders(source, sets)


def _folders(source: Source, sets: Path) -> Iterator[Told]:
    queues: list[Iterator[Conversation]] = []
    for folder in source.sets.values():
        rows = read_folder(sets / folder)
        if source.seed is not None:
            random.Random(source.seed).shuffle(rows)
        rows = [_cut(row, source.cut) for row in rows[: source.most]]
        queues.append(iter(rows) if source.turns is None else chained(rows, source.turns))
    while queues:
        for queue in list(queues):
            found = next(queue, None)
            if found is None:
                queues.remove(queue)
            else:
                yield Told(with_askers(found, random.Random(found.id)) if source.askers else found, {})


def _parallel(source: Source, sets: Path) -> Iterator[Told]:
    articles = {language: read_folder(sets / folder) for language, folder in source.sets.items()}
    texts: dict[str, dict[str, str]] = {}
    for language, rows in articles.items():
        for question in (question for row in rows for question in row.questions):
            texts.setdefault(question.id, {})[language] = question.text
    for number in range(max(map(len, articles.values()))):
        for place, (language, rows) in enumerate(articles.items()):
            if number < len(rows) and (number + place) % 2 == 0:
                rng = random.Random(f"x{language}{number}")
                asked = across(rows[number], texts, language, rng, source.across)
                yield Told(with_askers(asked, rng), {})


def _sentences(source: Source, public: Path) -> Iterator[Told]:
    """Sentences of the news in one language, each asked for by the same sentence in another."""
    rows: dict[str, Any] = {
        file.name.split(".")[1]: file.read_text(encoding="utf-8").splitlines()
        for file in sorted((public / "ntrex").glob("*.txt"))
    }
    rng, names = random.Random(source.seed), phrases()["en"]["names"]
    for number in range(source.count):
        language = rng.choice(sorted(rows))
        start = rng.randrange(0, len(rows[language]) - SENTENCES)
        turns = tuple(
            ChatTurn(f"nt{number}-{place}", rng.choice(names), rows[language][start + place])
            for place in range(SENTENCES)
        )
        others = sorted(set(rows) - {language})
        asked = tuple(
            Question(f"nt{number}-q{place}", rows[rng.choice(others)][start + place], (turns[place].id,), "across")
            for place in range(SENTENCES)
        )
        yield Told(Conversation(f"nt{number}", turns, asked), {})


def _cut(conversation: Conversation, turns: int | None) -> Conversation:
    if turns is None:
        return conversation
    kept = conversation.turns[:turns]
    known = {turn.id for turn in kept}
    return replace(
        conversation, turns=kept, questions=tuple(q for q in conversation.questions if known.issuperset(q.positives))
    )
