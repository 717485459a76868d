"""A training recipe as YAML: the base, what is trained on, the phases, and what the model's card will say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cogs.memory.errors import BadRequest
from cogs.memory.inference.yaml_entries import problem

RECIPES = Path(__file__).with_name("recipes")
Family = Literal["pair", "instruct", "yes-no", "two-label", "chat-pair"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataEntry(_Strict):
    """One source of training data.

    ``sources``: the public conversation sets below ``path``, by ``names``. ``folder``: a folder in BEIR's layout.
    ``generated``: ``chats`` conversations from the grammar. ``made``: questions by rule over a folder, or over the
    conversations of the sources in ``names``. ``renamed`` is the share of a source's conversations whose people get
    other names; ``joined`` joins a source's short scenes to channels of so many turns, so that the wrong turns are
    those of a long channel.
    ``lists``: labelled lists that an earlier run wrote. ``triplets``: Hindsight's file of positives and negatives.
    ``export``: messages of a server; never taken without ``consent``, the statement of its owner in his own words,
    and always without the people in ``opted_out`` (their user ids).
    """

    kind: Literal["sources", "folder", "generated", "made", "lists", "triplets", "export"]
    path: Path | None = None
    names: tuple[str, ...] = ()
    part: Literal["train", "dev"] = "train"
    chats: int = Field(default=100, ge=1)
    per_hundred: int = Field(default=20, ge=1)
    limit: int | None = Field(default=None, ge=1)
    renamed: float = Field(default=0.0, ge=0, le=1)
    joined: int | None = Field(default=None, ge=2)
    license: str = "not stated"
    consent: str | None = None
    opted_out: tuple[int, ...] = ()
    seed: int = 0
    task: str = "general"


class Lora(_Strict):
    """PEFT's adapter. ``alpha`` and ``target`` are choices where the source of a recipe does not state them."""

    r: int = 16
    alpha: int = 32
    dropout: float = 0.05
    target: str = "all-linear"


class Labels(_Strict):
    """Where the labels of a list come from.

    ``gold``: 1 for the evidence, 0 for the rest. ``scores``: a teacher's own probability of each document.
    ``pairwise``: the teacher compares documents two by two, Bradley-Terry makes strengths of it. Both are brought to
    ``levels`` evenly spaced values, and the evidence never falls below ``floor``.
    """

    source: Literal["gold", "scores", "pairwise"] = "gold"
    teacher: Literal["first-stage", "local", "openai"] = "first-stage"
    model: str = ""
    url: str = ""
    key_variable: str = "MNEME_LLM_API_KEY"
    levels: int = Field(default=6, ge=2)
    comparisons: int = Field(default=12, ge=1)
    floor: float = Field(default=0.6, ge=0, le=1)


class Merge(_Strict):
    """A phase that trains nothing: SLERP of task vectors of the phases ``of``, searched on the held-out lists."""

    of: tuple[str, ...] = Field(min_length=2)
    steps: int = Field(default=100, ge=2)


class Phase(_Strict):
    """One stretch of training, or a merge. ``start`` is the name of the phase whose weights it begins with."""

    name: str
    loss: Literal["bce", "margin", "gap-margin", "infonce", "prism", "listwise"] = "bce"
    epochs: float = Field(default=1.0, gt=0)
    batch: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    scheduler: str = "linear"
    warmup_steps: int = Field(default=0, ge=0)
    margin: float = 1.0
    temperature: float = Field(default=1.0, gt=0)
    evidence_weight: float = Field(default=0.0, ge=0)
    tasks: tuple[str, ...] = ()
    start: str | None = None
    merge: Merge | None = None


class Recipe(_Strict):
    """A whole recipe; see the files in ``recipes/``."""

    name: str
    description: str
    base: str
    revision: str | None = None
    family: Family
    license: str = "not stated"
    instruction: str = ""
    max_length: int = Field(default=512, ge=16)
    lora: Lora | None = None
    data: tuple[DataEntry, ...] = Field(min_length=1)
    labels: Labels = Labels()
    phases: tuple[Phase, ...] = Field(min_length=1)
    validation: float = Field(default=0.1, gt=0, lt=1)
    negatives: int = Field(default=7, ge=1)
    freeze_embeddings: bool = False
    save_steps: int = Field(default=200, ge=1)
    seed: int = 13
    bf16: bool = True
    onnx: bool = False
    notes: tuple[str, ...] = ()

    @field_validator("phases")
    @classmethod
    def _phases_follow(cls, phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
        seen: set[str] = set()
        for phase in phases:
            wanted = {*(phase.merge.of if phase.merge else ()), *([phase.start] if phase.start else [])}
            if missing := wanted - seen:
                raise ValueError(f"the phase {phase.name} needs {', '.join(sorted(missing))} before it")
            if phase.name in seen:
                raise ValueError(f"two phases are named {phase.name}")
            seen.add(phase.name)
        return phases


def recipe_names() -> Iterator[str]:
    """Yield the names of the recipes that come with Mneme."""
    yield from sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe by its name or its file.

    Raises:
        BadRequest: there is no such recipe, or it is malformed; the sentence says where.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = RECIPES / f"{name_or_path}.yaml"
        if name_or_path not in recipe_names():
            raise BadRequest(f"There is no recipe {name_or_path!r}; choose one of {', '.join(recipe_names())}.")
    try:
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Recipe.model_validate(raw)
    except (OSError, yaml.YAMLError) as error:
        raise BadRequest(f"The recipe {path} cannot be read: {error}.") from error
    except ValidationError as error:
        raise BadRequest(f"The recipe {path.name} is malformed {problem(error)}.") from error
