"""Exports of DiscordChatExporter: every field where it belongs, nothing half-imported, nothing twice."""

from __future__ import annotations

import copy
import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import pytest

from cogs.imports.chat_exporter import ExportFile
from cogs.imports.errors import BadExport
from cogs.imports.export import Skipped
from cogs.imports.importing import import_files
from cogs.memory.records import Filters, IncomingMessage, RecallRequest, Scope
from config.settings import PROJECT_DIR
from tests.imports.stored import stored_only
from tests.memory.building import running_service

SAMPLE = PROJECT_DIR / "data" / "sample"
AUTHOR = {"id": "42", "name": "ann", "discriminator": "0000", "nickname": "Ann B.", "isBot": False, "roles": []}
LOW_TIDE = {"name": "Low", "value": "3"}
MESSAGE: dict[str, Any] = {
    "id": "900000000000000001",
    "type": "Default",
    "timestamp": "2026-03-01T20:15:30.123+02:00",
    "timestampEdited": None,
    "isPinned": False,
    "content": "We meet at the lighthouse",
    "author": AUTHOR,
    "attachments": [],
    "embeds": [],
    "reactions": [],
    "mentions": [],
}
EXPORT: dict[str, Any] = {
    "guild": {"id": "77", "name": "Club"},
    "channel": {"id": "78", "type": "GuildTextChat", "categoryId": "70", "category": "Text", "name": "plans"},
    "dateRange": {"after": None, "before": None},
    "exportedAt": "2026-05-01T00:00:00+00:00",
    "messages": [MESSAGE],
    "messageCount": 1,
}


def written(folder: Path, *messages: dict[str, Any], **more: Any) -> Path:
    """Write an export with these messages over the template."""
    data = copy.deepcopy(EXPORT)
    data["messages"] = [{**MESSAGE, **message} for message in messages]
    data["messageCount"] = len(messages)
    path = folder / "plans.json"
    path.write_text(json.dumps({**data, **more}, ensure_ascii=False), encoding="utf-8")
    return path


def only(path: Path) -> IncomingMessage | Skipped:
    file = ExportFile(path)
    (message,) = file.messages(file.header())
    return message


def test_every_field_of_a_message_lands_where_it_belongs(tmp_path: Path) -> None:
    message = only(
        written(
            tmp_path,
            {
                "type": "Reply",
                "timestampEdited": "2026-03-01T20:16:00+02:00",
                "reference": {"messageId": "5", "channelId": "78", "guildId": "77"},
                "attachments": [
                    {"id": "6", "url": "https://cdn.example/m.png", "fileName": "map.png", "fileSizeBytes": 12}
                ],
                "embeds": [
                    {"title": "Tides", "description": "High at nine", "fields": [{"name": "Low", "value": "3"}]}
                ],
            },
        )
    )
    assert isinstance(message, IncomingMessage)
    assert (message.guild_id, message.channel_id, message.author_id, message.author_name) == (77, 78, 42, "Ann B.")
    assert message.created_at == dt.datetime(2026, 3, 1, 18, 15, 30, 123000, tzinfo=dt.UTC)
    assert message.edited_at == dt.datetime(2026, 3, 1, 18, 16, tzinfo=dt.UTC)
    assert message.reply_to_id == 5
    assert message.attachments[0].filename == "map.png"
    assert message.attachments[0].content_type == "image/png"
    assert message.embed_text.splitlines() == ["Tides", "High at nine", "Low: 3"]


def test_a_forward_knows_what_it_forwards_and_answers_nothing(tmp_path: Path) -> None:
    reference = {"type": "Forward", "messageId": "5", "channelId": "78", "guildId": "77"}
    message = only(written(tmp_path, {"reference": reference, "forwardedMessage": {"content": "The tide is low"}}))
    assert isinstance(message, IncomingMessage)
    assert (message.forwarded_from, message.reply_to_id) == (5, None)
    assert message.embed_text == "The tide is low"


@pytest.mark.parametrize("kind", ["ChannelPinnedMessage", "GuildMemberJoin", "ThreadCreated", "RecipientAdd"])
def test_words_that_the_exporter_made_up_are_left_out(tmp_path: Path, kind: str) -> None:
    assert only(written(tmp_path, {"type": kind, "content": "Pinned a message."})) == Skipped("system")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "12a"}, "“id” is no Discord id in message 1"),
        ({"id": str(2**63)}, "“id” is no Discord id"),
        ({"timestamp": "2026-03-01T20:15:30"}, "no time with its offset"),
        ({"timestamp": 5}, "no time with its offset"),
        ({"timestamp": "9999-12-31T23:59:59.9999999+00:00"}, "a time that no message of Discord has"),
        ({"timestampEdited": "0001-01-01T00:00:00+00:00"}, "a time that no message of Discord has"),
        ({"author": None}, "author"),
        ({"content": ["a"]}, "content"),
        ({"attachments": {}}, "attachments"),
    ],
)
def test_a_field_that_is_not_what_it_must_be_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadExport, match=said):
        only(written(tmp_path, change))


async def test_a_file_cut_off_anywhere_is_refused_with_its_position_and_nothing_of_it_is_there(tmp_path: Path) -> None:
    whole = written(tmp_path, *({"id": str(900 + n)} for n in range(4))).read_text(encoding="utf-8")
    cut = tmp_path / "cut.json"
    async with stored_only(tmp_path / "data") as service:
        for end in range(1, len(whole) - 1, 97):
            cut.write_text(whole[:end], encoding="utf-8")
            report = await import_files(service, [cut])
            assert [each.name for each in report.not_imported] == ["cut.json"]
            assert re.search(r"line 1, column [\d,]+", report.not_imported[0].why)
        good = written(tmp_path, {"id": "901"})
        with pytest.raises(BadExport, match="Nothing was imported"):
            await import_files(service, [good, cut], strict=True)
        reach = await service.reach(Scope.of(77, [78]))
        assert reach.messages == 0


async def test_importing_twice_changes_nothing_and_a_later_edit_does(tmp_path: Path) -> None:
    exports = [path for path in sorted(SAMPLE.glob("*.json")) if path.name != "guild.json"]
    async with running_service(tmp_path) as service:
        first = await import_files(service, exports)
        await service.drain()
        before = await service.status(None)
        second = await import_files(service, exports)
        await service.drain()
        assert first.imported == first.messages > 100
        assert second.imported == 0
        assert (await service.status(None)).messages == before.messages
        path = written(tmp_path, {})
        await import_files(service, [path])
        edited = written(tmp_path, {"content": "We meet at the bakery", "timestampEdited": "2026-04-01T00:00:00+00:00"})
        assert (await import_files(service, [edited])).imported == 1
        await service.drain()
        found = await service.recall(RecallRequest("where do we meet", Scope.of(77, [78])))
        assert [hit.message.content for hit in found.hits] == ["We meet at the bakery"]


async def test_a_deleted_message_does_not_come_back_by_an_import(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await import_files(service, [written(tmp_path, {})])
        await service.forget_messages(77, [int(MESSAGE["id"])])
        assert (await import_files(service, [written(tmp_path, {})])).imported == 0
        found = await service.recall(RecallRequest("lighthouse", Scope.of(77, [78]), Filters()))
        assert found.hits == ()


def test_halves_of_characters_and_nul_do_not_pass(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    data = copy.deepcopy(EXPORT)
    data["messages"][0]["content"] = "CUT"
    path.write_text(json.dumps(data).replace("CUT", r"a\ud800b\u0000c"), encoding="utf-8")
    message = only(path)
    assert isinstance(message, IncomingMessage)
    assert message.content == "a?bc"


def test_direct_messages_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, {}, guild={"id": "0", "name": "Direct Messages"})
    with pytest.raises(BadExport, match="direct messages"):
        ExportFile(path).header()
