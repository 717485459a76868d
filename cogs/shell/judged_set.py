"""Judged questions → a folder in BEIR's layout, with the whole channels that they were asked of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TextIO

from cogs.memory.errors import BadRequest
from cogs.memory.records import Scope
from cogs.memory.storage.repository import Repository
from cogs.memory.text.presentation import message_text


def write_judged_set(repository: Repository, guild_id: int, out: Path) -> int:
    """Write the evaluation set of a server, readable for its owner only; return the number of its questions.

    Raises:
        BadRequest: the folder exists, or nothing was judged right.
    """
    scope = Scope.of(guild_id, [channel.id for channel in repository.guilds.channels(guild_id)])
    questions = [judged for judged in repository.judgements.of_scope(scope) if judged.right]
    if not questions:
        raise BadRequest("Nothing is judged right yet: mark hits on the page first.")
    if out.exists():
        raise BadRequest(f"{out} exists already; name a folder that does not.")
    (out / "qrels").mkdir(parents=True, mode=0o700)
    out.chmod(0o700)
    with (out / "corpus.jsonl").open("w", encoding="utf-8") as corpus:
        for message in repository.judgements.corpus(guild_id):
            about = {
                "author": message.author_name,
                "channel": str(message.channel_id),
                "timestamp": message.created_at.isoformat(),
            }
            _line(corpus, {"_id": str(message.id), "text": message_text(message), "metadata": about})
    with (out / "queries.jsonl").open("w", encoding="utf-8") as queries:
        for number, judged in enumerate(questions):
            _line(queries, {"_id": f"q{number}", "text": judged.query, "metadata": {}})
    with (out / "qrels" / "test.tsv").open("w", encoding="utf-8") as qrels:
        qrels.write("query-id\tcorpus-id\tscore\n")
        for number, judged in enumerate(questions):
            for message_id, score in ((i, s) for ids, s in ((judged.right, 1), (judged.wrong, 0)) for i in sorted(ids)):
                qrels.write(f"q{number}\t{message_id}\t{score}\n")
    return len(questions)


def _line(file: TextIO, value: dict[str, object]) -> None:
    file.write(json.dumps(value, ensure_ascii=False) + "\n")
