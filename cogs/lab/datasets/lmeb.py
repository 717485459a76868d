"""Folders of LMEB (KaLM-Embedding/LMEB): BEIR's files with ``qrels.tsv`` beside them, and candidates by scene."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cogs.lab.datasets.beir import load_beir, rows
from cogs.lab.datasets.dataset import Dataset, DatasetError

SCENE_FIELDS = ("scene_id", "query_id", "qid", "_id", "id")


def is_lmeb(folder: Path) -> bool:
    """Return whether a folder has LMEB's layout: judgements beside the corpus, not in a folder of their own."""
    return (folder / "qrels.tsv").is_file() and (folder / "corpus.jsonl").is_file() and not (folder / "qrels").is_dir()


def load_lmeb(folder: Path) -> Dataset:
    """Read a folder of LMEB.

    Where ``candidates.jsonl`` divides the corpus into scenes, each scene is a channel and the scope of its queries.
    Where scenes overlap, no channel can hold one of them, and every query searches the whole corpus, which is harder.

    Raises:
        DatasetError: a file is missing or malformed.
    """
    dataset = load_beir(folder, judgements=folder / "qrels.tsv")
    path = folder / "candidates.jsonl"
    if not path.is_file():
        return dataset
    scenes = _scenes(path)
    held = Counter(message for ids in set(scenes.values()) for message in ids)
    if max(held.values(), default=0) > 1:
        warning = "scenes of candidates.jsonl overlap, so every query searches the whole corpus"
        return replace(dataset, warnings=(*dataset.warnings, warning))
    names: dict[frozenset[str], str] = {}
    for key, ids in scenes.items():
        names.setdefault(ids, key)
    channel_of = {message: name for ids, name in names.items() for message in ids}
    by_key = {key: names[ids] for key, ids in scenes.items()}
    return replace(
        dataset,
        messages=tuple(replace(m, channel=channel_of.get(m.id, m.channel)) for m in dataset.messages),
        queries=tuple(replace(q, channel=_scene_of(q.id, q.channel, by_key)) for q in dataset.queries),
    )


def _scenes(path: Path) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for place, row in rows(path):
        key = next((str(row[field]) for field in SCENE_FIELDS if field in row), None)
        ids = _ids(row)
        if key is None or ids is None:
            raise DatasetError(f"{place}: a scene has an id and a list of candidates.")
        found[key] = frozenset(map(str, ids))
    return found


def _ids(row: Mapping[str, Any]) -> Sequence[Any] | None:
    return next((value for value in row.values() if isinstance(value, list)), None)


def _scene_of(query_id: str, scene: str | None, by_key: Mapping[str, str]) -> str | None:
    """Return a query's scene: named by its own field, by its id, or by the beginning of its id."""
    for key in (scene, query_id):
        if key is not None and key in by_key:
            return by_key[key]
    begins = [key for key in by_key if query_id.startswith((f"{key}_", f"{key}-", f"{key}:", f"{key}/"))]
    return by_key[max(begins, key=len)] if begins else None
