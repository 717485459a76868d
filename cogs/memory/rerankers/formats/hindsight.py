"""The Hindsight memory reranker: a quantized MiniLM-L12 over documents that tell their dates, type and context.

Source: the card of https://huggingface.co/JasperHG90/ms-marco-minilm-l12-hindsight-reranker (revision v2). Options of
an entry: ``file`` names the graph (``model.onnx``), ``kind`` the type of a document that states none (``World``).
"""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import Any, Final

from cogs.memory.inference.model_folders import require_folder
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.rerankers.base import Document
from cogs.memory.rerankers.pairs import OnnxPairScorer, PairEncoder, PairReranker

KINDS: Final = ("World", "Event", "Observation")
MONTHS: Final = "January February March April May June July August September October November December".split()


def render(document: Document, *, kind: str = "World") -> str:
    """Return ``[Start: …] [End: …] [World] context: text``; a message's own time fills the start.

    >>> render(Document("Alice joined Acme", start=dt.datetime(2024, 3, 5), context="work"))
    '[Start: March 05, 2024 (2024-03-05)] [End: ongoing] [World] work: Alice joined Acme'
    """
    start = document.start or document.timestamp
    dates = [f"[Start: {_date(start)}]"] if start is not None else []
    if document.end is not None:
        dates.append(f"[End: {_date(document.end)}]")
    elif start is not None:
        dates.append("[End: ongoing]")
    context = f"{document.context}: " if document.context else ""
    return " ".join([*dates, f"[{document.kind or kind}] {context}{document.text}"])


def _date(when: dt.datetime) -> str:
    # strftime's %B follows the locale of the process, and the model was trained on English names.
    return f"{MONTHS[when.month - 1]} {when.day:02d}, {when.year:04d} ({when.year:04d}-{when.month:02d}-{when.day:02d})"


def load(spec: RerankerSpec, options: LoadOptions) -> PairReranker:
    """Load the graph and its tokenizer; it runs on the CPU whatever the profile's device is.

    Raises:
        RerankerUnavailable: a file is missing or damaged, or an option has a value that there is not.
    """
    folder = require_folder(spec, options)
    settings: dict[str, Any] = spec.options
    kind = settings.get("kind", "World")
    if kind not in KINDS:
        raise RerankerUnavailable(f"The kind of {spec.name} in rerankers.yaml is {kind!r}; choose {', '.join(KINDS)}.")
    graph = folder / settings.get("file", "model.onnx")
    if not graph.is_file():
        raise RerankerUnavailable(
            f"The reranker {spec.name} has no {graph.name} in {folder}; fetch it again with "
            f"`python bot.py models fetch {spec.name}`."
        )
    scorer = OnnxPairScorer(graph, options.threads)
    return PairReranker(
        spec,
        PairEncoder(folder / "tokenizer.json", spec.max_length, options.max_document_tokens, "longest_first"),
        scorer,
        min(options.batch_tokens, scorer.batch_tokens),
        render=partial(render, kind=kind),
    )
