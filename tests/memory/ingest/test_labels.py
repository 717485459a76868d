"""Labels: messages are sorted under an administrator's words, found by them, and judged anew when either changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cogs.memory.errors import BadRequest
from cogs.memory.records import Filters, Scope
from cogs.memory.service import MemoryService
from cogs.memory.storage.labels import LabelInfo
from tests.memory.building import GENERAL, GUILD, SECRET, ask, message, running_service, settings_in, texts

SOUP = "I cook fish soup with potatoes and fennel for dinner tonight, the recipe is from my grandmother"
MEET = "We meet at the boat at half past six"
RERANKERS = """
words:
  format: tests.memory.word_reranker:load
"""
PROFILES = """
test:
  reranker: words
  embedder: minilm-l6
"""


def with_word_reranker(folder: Path) -> dict[str, Path | str]:
    """Write a profile whose reranker counts shared words, so that a test knows what it judges."""
    (folder / "rerankers.yaml").write_text(RERANKERS)
    (folder / "profiles.yaml").write_text(PROFILES)
    return {
        "profile": "test",
        "rerankers_file": folder / "rerankers.yaml",
        "profiles_file": folder / "profiles.yaml",
    }


async def labelled(service: MemoryService, *channels: int) -> list[str]:
    await service.drain()
    await service.label_worker.drain()
    return texts(await ask(service, "tonight", *channels, filters=Filters(label="food")))


async def test_messages_are_found_by_their_label_and_judged_anew_when_edited(tmp_path: Path) -> None:
    async with running_service(tmp_path / "data", **with_word_reranker(tmp_path)) as service:
        await service.remember([message(1, SOUP), message(2, MEET)])
        await service.set_label(GUILD, "food", "recipe soup dinner cook")
        assert await labelled(service) == [SOUP]
        found = await ask(service, "soup")
        assert {hit.message.content: hit.message.labels for hit in found.hits} == {SOUP: ("food",), MEET: ()}
        await service.edit(message(1, "Let us talk about sails", edited_at=message(9, "").created_at))
        assert await labelled(service) == []
        await service.edit(message(2, SOUP, edited_at=message(9, "").created_at))
        assert await labelled(service) == [SOUP]
        await service.set_label(GUILD, "food", "engine oil")
        assert await labelled(service) == []
        assert await service.remove_label(GUILD, "food")
        assert not await service.remove_label(GUILD, "food")
        assert await service.labels(GUILD) == []


async def test_examples_help_and_what_fits_nothing_gets_no_label(tmp_path: Path) -> None:
    unclear = "none of these small talk or about something else, and dinner"
    async with running_service(tmp_path / "data", **with_word_reranker(tmp_path)) as service:
        await service.remember([message(1, SOUP), message(2, MEET), message(3, unclear)])
        scope = Scope.of(GUILD, [GENERAL])
        plain = LabelInfo("food", "eating and drinking")
        assert await service.try_label(scope, GUILD, plain) == (0, 3)
        shown = plain._replace(examples=("cook fish soup",))
        assert await service.try_label(scope, GUILD, shown) == (1, 3)
        assert await service.try_label(scope, GUILD, LabelInfo("food", "dinner")) == (1, 3)  # not the unclear one
        assert await service.labels(GUILD) == []
        await service.set_label(GUILD, *shown)
        assert await labelled(service) == [SOUP]
        assert await service.labels(GUILD) == [shown]


async def test_a_label_opens_no_channel(tmp_path: Path) -> None:
    async with running_service(tmp_path / "data", **with_word_reranker(tmp_path)) as service:
        await service.remember([message(1, SOUP, channel=SECRET)])
        await service.set_label(GUILD, "food", "recipe soup dinner cook")
        assert await labelled(service, GENERAL) == []
        assert await labelled(service, SECRET) == [SOUP]


async def test_labels_survive_a_restart_and_without_a_reranker_nothing_is_labelled(tmp_path: Path) -> None:
    async with running_service(tmp_path / "data", profile="minimal") as service:
        await service.remember([message(1, SOUP)])
        await service.set_label(GUILD, "food", "recipe soup dinner cook")
        assert await labelled(service) == []
    async with running_service(tmp_path / "data", **with_word_reranker(tmp_path)) as service:
        assert await labelled(service) == [SOUP]
    assert settings_in(tmp_path).data_dir == tmp_path


async def test_a_label_that_says_nothing_or_too_much_is_refused(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        for name, description in [("", "x"), ("n" * 51, "x"), ("n", " "), ("n", "x" * 301)]:
            with pytest.raises(BadRequest):
                await service.set_label(GUILD, name, description)
        assert await service.labels(GUILD) == []
