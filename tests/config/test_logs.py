"""The log as text and as JSON, with the id of what a line belongs to."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest

from config import logs
from config.settings import Settings


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_lines_can_be_read_and_name_their_interaction(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(_env_file=None, log_format="json"))  # type: ignore[call-arg]
    log = logging.getLogger("cogs.test")

    async def answer(number: int) -> None:
        with logs.belonging_to(number):
            await asyncio.sleep(0)
            log.info('recalled %d hits\n"quoted"', number)

    async def both() -> None:
        await asyncio.gather(answer(1), answer(2))

    asyncio.run(both())
    log.warning("alone")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if "cogs.test" in line]
    assert [(line["origin"], line["message"]) for line in lines] == [
        ("1", 'recalled 1 hits\n"quoted"'),
        ("2", 'recalled 2 hits\n"quoted"'),
        ("", "alone"),
    ]
    assert {line["level"] for line in lines} == {"INFO", "WARNING"}


def test_text_lines_name_their_interaction_in_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(_env_file=None))  # type: ignore[call-arg]
    with logs.belonging_to("77"):
        logging.getLogger("cogs.test").info("recalled")
    logging.getLogger("cogs.test").info("later")
    first, second = capsys.readouterr().err.splitlines()
    assert "cogs.test [77]: recalled" in first
    assert "cogs.test: later" in second
