"""Conversations of the Schema-Guided Dialogue set in which stated values change: what was true, and what is now."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from cogs.lab.datasets.conversations import Conversation, Question
from cogs.lab.datasets.generate_phrases import Channel, Part, Told, phrases
from cogs.lab.datasets.sources import is_development

JOINED: Final = 3
ASSISTANT: Final = "Assistant"
_FORMS: Final = (
    "What {w} did {A} ask for?",
    "Which {w} does {A} want?",
    "{A} {w}",
    "what was the {w} {A} chose",
)


def changed_slots(root: Path, part: Part) -> Iterator[Told]:
    """Yield channels of three dialogues each; the newest statement of a slot answers, older values are lesser.

    Only a quarter of the slots that never change are asked about. Split by dialogue.
    """
    for file in sorted((root / "sgd").glob("*.json")):
        rows = json.loads(file.read_text(encoding="utf-8"))
        rows = [row for row in rows if is_development(row["dialogue_id"], 0.2) == (part == "dev")]
        for start in range(0, len(rows), JOINED):
            yield _channel(f"sgd-{file.stem[-3:]}-{part}-{start}", rows[start : start + JOINED])


def _channel(name: str, dialogues: list[dict[str, Any]]) -> Told:
    rng = random.Random(name)
    channel = Channel.of(name, rng, phrases()["en"]["names"] + phrases()["de"]["names"])
    questions, lesser = [], {}
    for place, dialogue in enumerate(dialogues):
        user = channel.cast[place % len(channel.cast)]
        told: dict[str, list[tuple[str, str]]] = {}
        for turn in dialogue["turns"]:
            asks = turn["speaker"] == "USER"
            key = channel.add(turn["utterance"], user if asks else ASSISTANT)
            for action in (action for frame in turn["frames"] for action in frame["actions"] if asks):
                if action["act"] == "INFORM" and action["values"] and action["values"][0] not in ("True", "False"):
                    told.setdefault(action["slot"], []).append((action["values"][0], key))
        for slot, said in told.items():
            if len({value for value, _ in said}) == 1 and rng.random() < 0.75:
                continue
            positives = [key for value, key in said if value == said[-1][0]]
            text = rng.choice(_FORMS).format(w=slot.replace("_", " "), A=user)
            question = Question(f"{name}-{place}-{slot}", text, (positives[-1],), "changed")
            questions.append(question)
            older = [key for _, key in said if key != positives[-1]]
            lesser[question.id] = tuple(dict.fromkeys(older))
    return Told(Conversation(name, tuple(channel.turns), tuple(questions)), lesser)
