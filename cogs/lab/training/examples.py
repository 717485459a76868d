"""From a recipe's data entries to labelled lists, and from labelled lists to tensors."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from cogs.imports.chat_exporter import ExportFile
from cogs.imports.export import Skipped
from cogs.lab.datasets.conversations import ChatTurn, Conversation, read_folder
from cogs.lab.datasets.generate_chats import generate_chats
from cogs.lab.datasets.generate_questions import question_all, renamed
from cogs.lab.datasets.sources import SOURCES, hindsight, joined
from cogs.lab.search.first_stage import Embedder
from cogs.lab.training.lists import RankingList, mine, read_lists
from cogs.lab.training.recipe import DataEntry, Recipe
from cogs.memory.errors import BadRequest
from cogs.memory.rerankers import prompts


@dataclass(frozen=True, slots=True)
class LabelledList:
    """A query with documents, a label in [0, 1] of each, the first stage's scores, and the task it belongs to.

    The evidence stands first.
    """

    query: str
    documents: tuple[str, ...]
    labels: tuple[float, ...]
    first_stage: tuple[float, ...]
    task: str = "general"


def labelled(rows: Iterable[RankingList], task: str) -> Iterator[LabelledList]:
    """Yield mined lists with gold labels: the evidence 1, the rest 0."""
    for row in rows:
        gold = (1.0, *(0.0 for _ in row.documents[1:]))
        yield LabelledList(row.query, row.documents, gold, row.teacher, task)


def read_labelled(path: Path) -> list[LabelledList]:
    """Read what :func:`write_labelled` wrote, or mined lists, whose labels are then gold."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if lines and "labels" not in json.loads(lines[0]):
        return list(labelled(read_lists(path), "general"))
    rows = [json.loads(line) for line in lines]
    return [
        LabelledList(r["query"], tuple(r["documents"]), tuple(r["labels"]), tuple(r["first_stage"]), r["task"])
        for r in rows
    ]


def write_labelled(path: Path, rows: Sequence[LabelledList]) -> None:
    """Write one JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def export_conversation(entry: DataEntry) -> Conversation:
    """Return an export's messages as a conversation, without the people who opted out.

    Raises:
        BadRequest: the entry states no consent of the server's owner, or the file is no export.
    """
    if entry.path is None or not (entry.consent or "").strip():
        raise BadRequest(
            "A server's messages are not training data unless its owner says so: "
            "put his statement into `consent` of the recipe's export entry."
        )
    file = ExportFile(entry.path)
    header = file.header()
    gone = set(entry.opted_out)
    messages = [m for m in file.messages(header) if not isinstance(m, Skipped) and m.author_id not in gone]
    kept = {message.id for message in messages}
    turns = tuple(
        ChatTurn(
            str(message.id),
            message.author_name,
            message.content,
            message.created_at.isoformat(),
            str(message.reply_to_id) if message.reply_to_id in kept else None,
        )
        for message in messages
        if message.content.strip() and not any(f"<@{user}>" in message.content for user in gone)
    )
    return Conversation(f"export-{header.channel.id}", turns)


def conversations_of(entry: DataEntry) -> Iterator[Conversation]:
    """Yield the conversations of an entry, with questions.

    Raises:
        BadRequest: a path is missing, a source unknown, or consent is not stated.
    """
    if entry.kind == "generated":
        yield from generate_chats(entry.chats, entry.part, entry.seed)
        return
    if entry.kind == "export":
        yield from question_all([export_conversation(entry)], entry.per_hundred, entry.seed)
        return
    if entry.path is None or not entry.path.exists():
        raise BadRequest(f"The recipe's data at {entry.path} are not there.")
    if entry.kind == "triplets":
        yield from hindsight(entry.path, entry.part)
    elif entry.names or entry.kind == "sources":
        found = _sources(entry, entry.path)
        yield from question_all(found, entry.per_hundred, entry.seed) if entry.kind == "made" else found
    else:
        folder = read_folder(entry.path)
        yield from question_all(folder, entry.per_hundred, entry.seed) if entry.kind == "made" else folder


def _sources(entry: DataEntry, root: Path) -> Iterator[Conversation]:
    rng = random.Random(entry.seed)
    for name in entry.names or tuple(SOURCES):
        if name not in SOURCES:
            raise BadRequest(f"There is no source {name!r}; choose from {', '.join(SOURCES)}.")
        found = SOURCES[name](root, entry.part)
        for conversation in found if entry.joined is None else joined(found, entry.joined):
            yield renamed(conversation, rng) if rng.random() < entry.renamed else conversation


def gather(recipe: Recipe, embedder: Callable[[], Embedder]) -> list[LabelledList]:
    """Return the gold-labelled lists of all entries, in a shuffled order that depends on the seed alone."""
    rng = random.Random(recipe.seed)
    found: list[LabelledList] = []
    loaded: Embedder | None = None
    for entry in recipe.data:
        if entry.kind == "lists":
            if entry.path is None or not entry.path.is_file():
                raise BadRequest(f"The recipe's lists at {entry.path} are not there.")
            rows = [replace(row, task=entry.task) for row in read_labelled(entry.path)]
        else:
            loaded = loaded or embedder()
            rows = list(islice(_mined(entry, loaded, rng, recipe.negatives), entry.limit))
        found += rows[: entry.limit]
    if len(found) < 4:
        raise BadRequest("The recipe's data give fewer than four lists; there is nothing to train on.")
    rng.shuffle(found)
    return found


def _mined(entry: DataEntry, embedder: Embedder, rng: random.Random, negatives: int) -> Iterator[LabelledList]:
    for conversation in conversations_of(entry):
        yield from labelled(mine(conversation, embedder, rng, source=entry.kind, negatives=negatives), entry.task)


def split_by_query(
    rows: Sequence[LabelledList], share: float, seed: int
) -> tuple[list[LabelledList], list[LabelledList]]:
    """Return (training, held out) such that no query is on both sides; at least one query is held out."""
    queries = sorted({row.query for row in rows})
    random.Random(seed).shuffle(queries)
    held = set(queries[: max(1, round(len(queries) * share))])
    return [row for row in rows if row.query not in held], [row for row in rows if row.query in held]


def rendered(family: str, instruction: str, query: str, document: str) -> tuple[str, ...]:
    """Return what the tokenizer gets: a pair, or one text in the form of the family's card."""
    if family in ("pair", "chat-pair"):
        return query, document
    if family == "instruct":
        return (prompts.LYCHEEMEM.render(instruction or prompts.LYCHEEMEM_INSTRUCTION, query, document),)
    if family == "two-label":
        head = instruction or "Judge whether the Content meets the requirements based on the Query."
        return (f"{head} Query: {query}; Content: {document}",)
    template = prompts.PRISM if instruction == prompts.PRISM_INSTRUCTION else prompts.QWEN3
    return (template.render(instruction or prompts.QWEN3_INSTRUCTION, query, document),)


class ListsCollator:
    """Tokenizes lists into chunks of similar length; padding on the left where the last position is read.

    Args:
        tokenizer: the base's tokenizer, of transformers.
        family: the recipe's family, which decides what a prompt looks like.
        instruction: what fills the prompt's instruction.
        max_length: tokens of a prompt at most.
        chunk: prompts of one forward pass.
        evidence: whether a list's evidence text is a target too.
    """

    def __init__(
        self, tokenizer: Any, family: str, instruction: str, max_length: int, *, chunk: int = 16, evidence: bool = False
    ) -> None:
        self._tokenizer, self._family, self._instruction = tokenizer, family, instruction
        self._max_length, self._chunk, self._evidence = max_length, chunk, evidence
        if family in ("yes-no", "two-label"):
            tokenizer.padding_side = "left"

    def __call__(self, rows: Sequence[LabelledList]) -> dict[str, Any]:
        """Return ``chunks``, ``order`` (pair → place), ``labels`` and ``real`` (lists, width), ``written``."""
        parts = [
            rendered(self._family, self._instruction, row.query, document) for row in rows for document in row.documents
        ]
        encoded = self._tokenizer(
            *[[part[side] for part in parts] for side in range(len(parts[0]))],
            truncation="longest_first" if len(parts[0]) == 2 else True,
            max_length=self._max_length,
        )
        lengths = [len(ids) for ids in encoded["input_ids"]]
        order = sorted(range(len(lengths)), key=lambda place: lengths[place])
        chunks = []
        for start in range(0, len(order), self._chunk):
            chosen = order[start : start + self._chunk]
            part = {key: [values[place] for place in chosen] for key, values in encoded.items()}
            chunks.append(dict(self._tokenizer.pad(part, return_tensors="pt")))
        inverse = torch.empty(len(order), dtype=torch.long)
        inverse[torch.tensor(order)] = torch.arange(len(order))
        width = max(len(row.documents) for row in rows)
        labels, real = torch.zeros(len(rows), width), torch.zeros(len(rows), width, dtype=torch.bool)
        teacher = torch.full((len(rows), width), float("-inf"))
        for place, row in enumerate(rows):
            labels[place, : len(row.labels)] = torch.tensor(row.labels)
            teacher[place, : len(row.labels)] = torch.tensor(row.first_stage)
            real[place, : len(row.labels)] = True
        found = {"chunks": chunks, "order": inverse, "labels": labels, "real": real, "teacher": teacher}
        return found | ({"written": self._written(rows)} if self._evidence else {})

    def _written(self, rows: Sequence[LabelledList]) -> dict[str, Any]:
        """Return inputs and targets of what is generated after "yes" for the evidence of each list (Prism)."""
        ids, targets = [], []
        for row in rows:
            (prompt,) = rendered(self._family, self._instruction, row.query, row.documents[0])
            answer = written_answer(row.query, row.documents[0])
            before = self._tokenizer(prompt, truncation=True, max_length=self._max_length)["input_ids"]
            after = self._tokenizer(answer, add_special_tokens=False)["input_ids"][: self._max_length]
            ids.append(before + after)
            targets.append([-100] * len(before) + after)
        width = max(len(row) for row in ids)
        pad = self._tokenizer.pad_token_id or 0
        return {
            "input_ids": torch.tensor([[pad] * (width - len(row)) + row for row in ids]),
            "attention_mask": torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids]),
            "labels": torch.tensor([[-100] * (width - len(row)) + row for row in targets]),
        }


def written_answer(query: str, document: str) -> str:
    """Return contribution and evidence by rule from a message: who said it, and its own words, nothing added."""
    author, separator, said = document.partition(": ")
    contribution = f"{author.split(' (')[0]} answers “{query.rstrip('?')}”." if separator else "It answers the query."
    evidence = f"{author} said: {said}" if separator else document
    return f"yes\n<contribution>{contribution}</contribution>\n<evidence>{evidence}</evidence>"
