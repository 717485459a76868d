"""Data sets as folders in BEIR's layout: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/test.tsv``."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cogs.lab.datasets.dataset import Dataset, DatasetError, DatasetMessage, DatasetQuery, read_time

NAMED = 3
"""How many odd lines a warning names."""


class _Oddities:
    """What was odd in the files: counted by kind, with the first places."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def note(self, kind: str, place: str) -> None:
        self._found.setdefault(kind, []).append(place)

    def sentences(self) -> tuple[str, ...]:
        return tuple(
            f"{len(places)} {kind} ({', '.join(places[:NAMED])}{', …' if len(places) > NAMED else ''})"
            for kind, places in self._found.items()
        )


def load_beir(folder: Path, judgements: Path | None = None) -> Dataset:
    """Read a folder in BEIR's layout; the data set is called like the folder.

    Metadata may be missing, and ids may be any text or number. A relevant id that the corpus does not hold counts as
    one that was not found. ``judgements`` is the file of judgements where it has another name.

    Raises:
        DatasetError: a file is missing or a line cannot be read; the sentence says which.
    """
    odd = _Oddities()
    messages = _messages(folder / "corpus.jsonl", odd)
    queries = _queries(folder / "queries.jsonl", odd)
    qrels = _qrels(judgements or _qrels_file(folder))
    for query in queries.values():
        if query.id not in qrels:
            odd.note("queries without judgements are left out of the means", query.id)
    for query_id, judged in qrels.items():
        if query_id not in queries:
            odd.note("judged queries are not in queries.jsonl and are passed over", query_id)
            continue
        for message_id, score in judged.items():
            if score > 0 and message_id not in messages:
                odd.note("relevant messages are not in corpus.jsonl and count as not found", message_id)
    channels = {message.channel for message in messages.values()}
    for query in queries.values():
        if judgements is None and query.channel is not None and query.channel not in channels:
            odd.note("queries name a channel without messages and find nothing", f"{query.id}: {query.channel}")
    return Dataset(folder.resolve().name, tuple(messages.values()), tuple(queries.values()), qrels, odd.sentences())


def is_beir(folder: Path) -> bool:
    """Return whether a folder has the two files that make BEIR's layout."""
    return (folder / "corpus.jsonl").is_file() and (folder / "queries.jsonl").is_file()


def _messages(path: Path, odd: _Oddities) -> dict[str, DatasetMessage]:
    found: dict[str, DatasetMessage] = {}
    for place, row in rows(path):
        about = _metadata(row, place)
        text = _text(row, "text", place)
        title = row.get("title")
        message = DatasetMessage(
            _id(row, place),
            f"{title}\n{text}" if isinstance(title, str) and title.strip() else text,
            _name(about.get("author")) or "",
            _name(about.get("channel")) or "",
            _time(about.get("timestamp"), place, odd),
            _name(about.get("reply_to")),
        )
        known = found.setdefault(message.id, message)
        if known is not message:
            if known != message:
                raise DatasetError(f"{place}: the id {message.id!r} was already given to another message.")
            odd.note("messages stand in the corpus twice and are taken once", message.id)
    if not found:
        raise DatasetError(f"{path} holds no messages.")
    return {
        message.id: message if message.reply_to in found else replace(message, reply_to=None)
        for message in found.values()
    }


def _queries(path: Path, odd: _Oddities) -> dict[str, DatasetQuery]:
    found: dict[str, DatasetQuery] = {}
    for place, row in rows(path):
        about = _metadata(row, place)
        query = DatasetQuery(
            _id(row, place),
            _text(row, "text", place),
            _name(about.get("channel", row.get("scene_id"))),
            _name(about.get("category")),
            _time(about.get("asked_at"), place, odd),
            tuple(_turn(turn, place) for turn in about.get("turns") or ()),
        )
        if not query.text.strip():
            odd.note("queries are empty and find nothing", query.id)
        known = found.setdefault(query.id, query)
        if known is not query:
            if known != query:
                raise DatasetError(f"{place}: the id {query.id!r} was already given to another query.")
            odd.note("queries stand in the file twice and are taken once", query.id)
    if not found:
        raise DatasetError(f"{path} holds no queries.")
    return found


def _qrels_file(folder: Path) -> Path:
    test = folder / "qrels" / "test.tsv"
    others = sorted((folder / "qrels").glob("*.tsv"))
    # A set that was published with one split only has nothing else to be measured on.
    return others[0] if not test.is_file() and len(others) == 1 else test


def _qrels(path: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for number, line in _lines(path):
        if not line.strip():
            continue
        fields = [part.strip() for part in (line.split("\t") if "\t" in line else line.split())]
        if len(fields) == 4:
            fields = [fields[0], *fields[2:]]  # TREC's form has an iteration between the two ids
        if number == 1 and not _is_number(fields[-1]):
            continue
        if len(fields) != 3 or not _is_number(fields[2]):
            raise DatasetError(f"{path}:{number}: a judgement is a query's id, a message's id and a number, by tabs.")
        known = found.setdefault(fields[0], {})
        # Where a pair is judged twice, the higher judgement counts; the order of lines must not matter.
        known[fields[1]] = max(known.get(fields[1], 0), round(float(fields[2])))
    return found


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from enumerate((line.rstrip("\n") for line in file), 1)
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing; a data set is a folder in BEIR's layout.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}.") from error


def rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``("file:line", object)`` of a JSONL file.

    Raises:
        DatasetError: the file is missing, or a line is no JSON object.
    """
    for number, line in _lines(path):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DatasetError(f"{place}: this line is no JSON ({error.msg}).") from None
        if not isinstance(row, dict):
            raise DatasetError(f"{place}: this line is no JSON object.")
        yield place, row


def _id(row: Mapping[str, Any], place: str) -> str:
    value = row.get("_id", row.get("id"))
    if not isinstance(value, str | int) or isinstance(value, bool) or not str(value).strip():
        raise DatasetError(f"{place}: there is no _id.")
    return str(value).strip()


def _text(row: Mapping[str, Any], key: str, place: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise DatasetError(f"{place}: there is no {key}.")
    # A half of a surrogate pair is text in JSON and in no database.
    return value.encode("utf-8", errors="replace").decode("utf-8").replace("\x00", " ")


def _metadata(row: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    about = row.get("metadata")
    if about is None:
        return {}
    if not isinstance(about, dict):
        raise DatasetError(f"{place}: metadata is no JSON object.")
    return about


def _name(value: object) -> str | None:
    return None if value is None or not str(value).strip() else str(value).strip()


def _turn(turn: object, place: str) -> tuple[str, str]:
    if isinstance(turn, dict) and isinstance(turn.get("text"), str):
        return _name(turn.get("author")) or "", turn["text"]
    raise DatasetError(f"{place}: a turn of metadata.turns is an object with author and text.")


def _time(value: object, place: str, odd: _Oddities) -> dt.datetime | None:
    try:
        return read_time(value)
    except (ValueError, OverflowError, OSError):
        odd.note("times cannot be read and are taken as missing", place)
        return None
