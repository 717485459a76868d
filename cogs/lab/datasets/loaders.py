"""Find out what a data set on disk is, and read it: BEIR's layout, or a published file as it is distributed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cogs.lab.datasets.beir import is_beir, load_beir
from cogs.lab.datasets.dataset import Dataset, DatasetError
from cogs.lab.datasets.labelled_texts import LABEL_FIELDS, NAME_FIELDS, TEXT_FIELDS, LabelledTexts, labelled_texts
from cogs.lab.datasets.lmeb import is_lmeb, load_lmeb
from cogs.lab.datasets.published import hindsight, hotpotqa, locomo, longmemeval, memfuse

Row = Mapping[str, Any]
_KINDS: tuple[tuple[frozenset[str], Callable[[str, list[Row]], Dataset]], ...] = (
    (frozenset({"haystack_sessions", "answer_session_ids"}), longmemeval),
    (frozenset({"haystack_sessions", "choices"}), memfuse),
    (frozenset({"conversation", "qa"}), locomo),
    (frozenset({"context", "supporting_facts"}), hotpotqa),
    (frozenset({"query", "positive", "negative"}), hindsight),
)


def load_dataset(path: Path) -> Dataset:
    """Read a data set: a folder in BEIR's or LMEB's layout, or a JSON or JSONL file of a published set.

    Known by their fields: LongMemEval (S, oracle), LoCoMo, MSC-MemFuse-MC10, HotpotQA distractor, Hindsight triplets.

    Raises:
        DatasetError: it is not there, cannot be read, or is none of them.
    """
    if path.is_dir():
        if is_lmeb(path):
            return load_lmeb(path)
        if is_beir(path) or (path / "corpus.jsonl").exists() or (path / "queries.jsonl").exists():
            return load_beir(path)
        raise DatasetError(f"{path} is no data set: it has no corpus.jsonl and queries.jsonl.")
    rows = read_rows(path)
    fields = rows[0].keys()
    for wanted, loader in _KINDS:
        if wanted <= fields:
            try:
                return loader(path.stem, rows)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise DatasetError(
                    f"{path} looks like {loader.__name__}, but {error!r} in it is not as published."
                ) from error
    raise DatasetError(
        f"{path} is none of the published sets that are known here (its fields: {', '.join(sorted(fields))[:120]})."
    )


def load_labelled(path: Path) -> LabelledTexts | None:
    """Read a file of BTZSC, texts with labels; None where the file holds something else.

    Raises:
        DatasetError: the file cannot be read, or a row has no text or label.
    """
    if path.is_dir():
        return None
    rows = read_rows(path)
    fields = rows[0].keys()
    is_labelled = not fields.isdisjoint(TEXT_FIELDS) and not fields.isdisjoint((*LABEL_FIELDS, *NAME_FIELDS))
    return labelled_texts(path.stem, rows) if is_labelled else None


def read_rows(path: Path) -> list[Row]:
    """Return the objects of a JSON list, of a JSON object's ``data``, or of JSONL.

    Raises:
        DatasetError: the file is missing, no JSON, or holds no object; the sentence names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DatasetError(f"There is no data set at {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}.") from error
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = [_row(line, path, number) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if isinstance(found, dict):
        found = found["data"] if isinstance(found.get("data"), list) else [found]
    if not isinstance(found, list) or not found or not all(isinstance(row, dict) for row in found):
        raise DatasetError(f"{path} holds no JSON objects.")
    return found


def _row(line: str, path: Path, number: int) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}:{number}: this line is no JSON ({error.msg}).") from None
    if not isinstance(row, dict):
        raise DatasetError(f"{path}:{number}: this line is no JSON object.")
    return row
