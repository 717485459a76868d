"""What PostgreSQL's files hold of forgotten text after the job: nothing, in tables, indexes and the write-ahead log."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cogs.memory.records import Attachment
from tests.memory.building import ANNA, BEN, START, ask, message, running_service, texts

SECRETS = ("xylophonesecret", "heirloomcanary", "maidenname", "budgetcanary", "oldversionword", "optedoutword")
HOUR_MS = 3_600_000


def holding(folder: Path, words: tuple[str, ...]) -> dict[str, list[str]]:
    """Map each file of the server's folder that holds one of the words to those it holds."""
    found = {}
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            data = file.read_bytes()
            held = [word for word in words if word.encode() in data]
            if held:
                found[str(file.relative_to(folder))] = held
    return found


async def test_no_file_holds_forgotten_text_after_the_job(tmp_path: Path, fresh: str) -> None:
    folder = Path(parse_qs(urlsplit(fresh).query)["host"][0])
    papers = (Attachment(1, "budgetcanary.pdf", "https://cdn.discordapp.com/budgetcanary.pdf"),)
    chat = [
        message(1, "the xylophonesecret is under the mat", BEN),
        message(2, "grandma's heirloomcanary", ANNA, attachments=papers, author_name="Anna maidenname"),
        message(3, "an oldversionword of this", BEN),
        message(4, "optedoutword", ANNA),
        message(5, "what stays: lighthouse", BEN),
    ]
    async with running_service(tmp_path, database_url=fresh) as service:
        await service.remember([*chat, *(message(100 + i, f"filler {i}", BEN) for i in range(300))])
        await service.drain()
        rewriter = service.repository.rewriter
        assert not rewriter.rewrite_if_due(), "nothing was deleted yet"
        await service.forget_messages(chat[0].guild_id, [chat[0].id])
        await service.edit(replace(chat[2], content="a new version", edited_at=START.replace(hour=23)))
        await service.opt_out(ANNA, None)
        await service.drain()
        assert texts(await ask(service, "xylophonesecret heirloomcanary oldversionword optedoutword")) != []
        assert holding(folder, SECRETS), "before the job they are there: that is what the job is for"
        now = time.time_ns() // 1_000_000
        assert not rewriter.rewrite_if_due(now + HOUR_MS), "not before it is due"
        assert rewriter.rewrite_if_due(now + round(rewriter.hours * HOUR_MS))
        assert rewriter.problem is None
        assert holding(folder, SECRETS) == {}
        assert not rewriter.rewrite_if_due(now + 100 * HOUR_MS), "and once is enough"
        assert texts(await ask(service, "lighthouse"))[0] == chat[4].content
