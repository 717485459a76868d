"""Exports as people have them: what is good is imported, and of the rest it is said why not."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import zipfile
from pathlib import Path

import pytest

from cogs.imports.errors import BadExport
from cogs.imports.importing import import_files
from cogs.imports.report import ImportReport
from cogs.memory.errors import BadRequest
from cogs.memory.records import ChannelInfo, RecallRequest, Scope
from cogs.memory.service import MemoryService
from config.settings import PROJECT_DIR
from tests.gateway.messages import SHOWING
from tests.imports.stored import stored_only
from tests.memory.building import running_service

CASES = PROJECT_DIR / "tests" / "data" / "imports"
GARDEN, BEDS, JULY = 900000000000000001, 900000000000000002, 1490000104857600000


async def said(service: MemoryService, guild: int = GARDEN) -> dict[str, list[str]]:
    """Return what is remembered, by channel."""
    scope = Scope.of(guild, [channel.id for channel in await service.channels(guild)])
    found: dict[str, list[str]] = {}
    for channel in await service.channels(guild):
        versions = await service.stored_versions(channel.id, 0, 2**62)
        for message in await service.messages(sorted(versions), scope):
            words = "\n".join(part for part in (message.content, message.embed_text) if part)
            found.setdefault(channel.name, []).append(words)
    return found


@pytest.mark.parametrize(
    ("folder", "good", "bad", "why"),
    [
        ("folder_with_dm", ["The beds are dug"], "dm.json", "holds direct messages, which are not remembered."),
        ("folder_with_stray", ["The beds are dug"], "notes.json", "no export of DiscordChatExporter"),
        ("folder_with_cut", ["The beds are dug"], "shed.json", "it ends in the middle (line 5"),
    ],
)
async def test_one_odd_file_does_not_refuse_the_others(
    tmp_path: Path, folder: str, good: list[str], bad: str, why: str
) -> None:
    async with stored_only(tmp_path) as service:
        with pytest.raises(BadExport, match=bad):
            await import_files(service, [CASES / folder], strict=True)
        assert await said(service) == {}
        report = await import_files(service, [CASES / folder])
        assert await said(service) == {"beds": good}
        assert [each.name for each in report.not_imported] == [bad]
        assert why in report.not_imported[0].why
        assert any(bad in line and why in line for line in report.lines())
        assert report.lines()[0] == "Imported 1 of 1 messages from 1 channel of Garden club."


@pytest.mark.parametrize(
    ("case", "texts"),
    [
        ("media_channel", {"beds": ["ok channel"]}),
        ("integer_type", {"beds": ["Written by another exporter"]}),
        ("nested", {"beds": ["Nested folders, as output templates make them"]}),
        ("partitions", {"beds": ["First part: plums", "Second part: pears"]}),
        ("unknown_channel_type_kept.json", {"hub": ["x"]}),
        ("z_offset.json", {"beds": ["times"]}),
        ("edited_by_hand", {"beds": ["one", "two"]}),
    ],
)
async def test_exports_of_many_kinds_are_imported(tmp_path: Path, case: str, texts: dict[str, list[str]]) -> None:
    async with stored_only(tmp_path / "data") as service:
        report = await import_files(service, [CASES / case])
        assert report.not_imported == []
        assert await said(service) == texts
    source = CASES / case
    archive = shutil.make_archive(str(tmp_path / "exports"), "zip", source if source.is_dir() else source.parent)
    async with stored_only(tmp_path / "again") as service:
        await import_files(service, [Path(archive)])
        found = await said(service)
        assert {name: [text for text in found[name] if text in texts[name]] for name in texts} == texts


async def test_a_media_channel_is_a_forum(tmp_path: Path) -> None:
    async with stored_only(tmp_path) as service:
        await import_files(service, [CASES / "media_channel"])
        assert {channel.name: channel.kind for channel in await service.channels(GARDEN)} == {
            "beds": "text",
            "gallery": "forum",
        }


async def test_a_count_changed_by_hand_is_a_warning(tmp_path: Path) -> None:
    async with stored_only(tmp_path) as service:
        report = await import_files(service, [CASES / "edited_by_hand"])
        assert report.warnings == [
            "beds.json says that it holds 3 messages, but it holds 2: it was changed after it was exported."
        ]


async def test_everything_that_a_message_shows_is_imported(tmp_path: Path) -> None:
    async with stored_only(tmp_path) as service:
        report = await import_files(service, [CASES / "kinds"])
        found = (await said(service))["beds"]
        assert found == [
            "The seed swap is on the 9th of May in the parish hall",
            "The greenhouse key hangs behind the watering can",
            "(sticker: Happy Tomato)",
            "Weather service\nFrost warning\nMinus two degrees on Friday night\nCover: tomatoes and courgettes\n"
            "issued at noon",
            "(voice message)",
            "Poll closed\nWhich compost do we buy?\nPeat-free: 12 votes",
            "Poll closed: Which compost do we buy? Peat-free (12 votes)",
            "The answer of the library bot: slugs hate coffee grounds",
            "I left the shears in the shed",
            "<@910000000000000001> <#900000000000000002> <@&950000000000000001> <t:1775290000:F> "
            "<:tomato:960000000000000001> raw markup when markdown is not processed",
            "Reply to something deleted",
            "Pinned: the hose code is 4512",
        ]
        assert report.left_out == 4  # one empty, and Discord's own sentences


@pytest.mark.parametrize(
    "names", [["a - beds - July [t].json", "beds [c].json"], ["beds [c].json", "a - beds - July [t].json"]]
)
async def test_the_message_that_began_a_thread_stays_in_its_channel(tmp_path: Path, names: list[str]) -> None:
    files = [CASES / "thread_starter" / name for name in names]
    async with running_service(tmp_path) as service:
        await import_files(service, files)
        expected = {"beds": ["Who waters in July?", "And August?"], "July": ["I can do the first two weeks"]}
        assert await said(service) == expected
        await service.forget_channel(GARDEN, JULY, keep_record=True)
        assert await said(service) == {"beds": expected["beds"]}


async def test_the_message_that_began_a_thread_moves_to_its_channel_when_that_is_imported_later(tmp_path: Path) -> None:
    thread, channel = (CASES / "thread_starter" / name for name in ("a - beds - July [t].json", "beds [c].json"))
    async with running_service(tmp_path) as service:
        await import_files(service, [thread])
        await service.drain()
        assert (await service.reach(Scope.of(GARDEN, [JULY]))).messages == 2
        await import_files(service, [channel])
        await import_files(service, [thread])
        await service.drain()
        assert (await said(service))["beds"] == ["Who waters in July?", "And August?"]
        assert (await service.reach(Scope.of(GARDEN, [JULY]))).messages == 1
        for channel_id, found in ((BEDS, True), (JULY, False)):
            result = await service.recall(RecallRequest("who waters in July", Scope.of(GARDEN, [channel_id])))
            assert (JULY in {hit.message.id for hit in result.hits}) is found
        await service.forget_channel(GARDEN, JULY, keep_record=True)
        assert (await said(service))["beds"] == ["Who waters in July?", "And August?"]


async def test_no_export_moves_a_message_to_another_server(tmp_path: Path) -> None:
    async with stored_only(tmp_path / "data") as service:
        await import_files(service, [CASES / "integer_type"])
        text = (CASES / "integer_type" / "beds.json").read_text(encoding="utf-8")
        path = tmp_path / "theirs.json"
        path.write_text(text.replace(str(GARDEN), "5").replace(str(BEDS), "6"), encoding="utf-8")
        await import_files(service, [path])
        assert await said(service) == {"beds": ["Written by another exporter"]}
        assert await said(service, 5) == {}


async def test_the_posts_of_a_forum_are_found_by_its_name_and_keep_their_first_message(tmp_path: Path) -> None:
    post = CASES / "thread_starter" / "a - beds - July [t].json"
    async with stored_only(tmp_path) as service:
        await import_files(service, [post])
        assert await said(service) == {"July": ["Who waters in July?", "I can do the first two weeks"]}
        channels = {channel.name: channel for channel in await service.channels(GARDEN)}
        assert channels["beds"].kind == "forum"
        assert channels["July"].parent_id == channels["beds"].id


async def test_people_are_found_by_the_name_of_their_account_as_well(tmp_path: Path) -> None:
    async with stored_only(tmp_path) as service:
        await import_files(service, [CASES / "thread_starter"])
        scope = Scope.of(GARDEN, [BEDS, JULY])
        for typed in ("Ada", "ada_l", "ADA_"):
            assert [name for _, name in await service.authors(scope, typed)] == ["Ada"]
        assert await service.authors(Scope.of(GARDEN, [BEDS]), "bo.b") == []


async def test_a_list_of_messages_needs_its_server(tmp_path: Path) -> None:
    async with stored_only(tmp_path) as service:
        report = await import_files(service, [CASES / "array.json"])
        assert "without the server that they are from; name it with --guild" in report.not_imported[0].why
        await import_files(service, [CASES / "array.json"], guild_id=GARDEN)
        assert await said(service) == {f"channel {BEDS}": ["hello"]}


async def test_a_list_of_messages_of_a_known_channel_is_imported(tmp_path: Path) -> None:
    async with stored_only(tmp_path) as service:
        await import_files(service, [CASES / "integer_type", CASES / "array.json"])
        report = await import_files(service, [CASES / "array.json"])
        assert report.not_imported == []
        assert "hello" in (await said(service))["beds"]


@pytest.mark.parametrize("name", SHOWING)
async def test_a_message_is_remembered_alike_whichever_way_it_comes(tmp_path: Path, name: str) -> None:
    data, lines, files = SHOWING[name]
    path = tmp_path / "list.json"
    path.write_text(json.dumps([data]), encoding="utf-8")
    async with stored_only(tmp_path) as service:
        await service.upsert_guild(77, "Club")
        await service.upsert_channels([ChannelInfo(78, 77, "plans")])
        await import_files(service, [path])
        (message,) = await service.messages([int(data["id"])], Scope.of(77, [78]))
        assert message.embed_text.splitlines() == lines
        assert len(message.attachments) == files


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("empty.json", b"", "is empty."),
        ("wide.json", '{"guild": {}}'.encode("utf-16"), "is UTF-16 text"),
        ("wide2.json", '{"guild": {}}'.encode("utf-16-le"), "is UTF-16 text"),
        ("latin.json", '{"guild": {"id": "1", "name": "Caf\xe9"}}'.encode("latin-1"), "it is no UTF-8 text (line 1"),
        ("chat.html", b"<!DOCTYPE html>\n<html><div class=chatlog>", "DiscordChatExporter -f Json"),
        ("chat.csv", b"AuthorID,Author,Date,Content,Attachments,Reactions\n", "DiscordChatExporter -f Json"),
        ("chat.txt", b"=====\nGuild: Garden\nChannel: beds\n=====\n", "DiscordChatExporter -f Json"),
        ("chat.json.gz", b"\x1f\x8b\x08\x00", "is packed with gzip; unpack it first"),
        ("array.json", b"[1, 2]", "it is a list of something else than messages"),
        ("package.json", b'[{"ID": 5, "Contents": "a"}]', "Discord's data package; name the package's folder"),
        ("nothing.json", b"[]", "it is a list of something else than messages"),
        ("word.json", b"nope", "it is no JSON"),
        ("deep.json", b'{"guild": ' + b"[" * 100_000, "it holds a value that no export holds"),
        ("long.json", b'{"guild": "' + b"x" * 20_000_000, "it holds a value that no export holds"),
    ],
)
async def test_what_is_no_export_gets_a_true_sentence(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    async with stored_only(tmp_path / "data") as service:
        report = await import_files(service, [path])
        assert [each.name for each in report.not_imported] == [name]
        assert why in report.not_imported[0].why
        assert len(report.not_imported[0].why) < 200
        with pytest.raises(BadExport):
            await import_files(service, [path], strict=True)


async def test_a_time_without_its_offset_is_not_guessed(tmp_path: Path) -> None:
    async with stored_only(tmp_path) as service:
        report = await import_files(service, [CASES / "no_offset.json"])
        assert "“timestamp” is no time with its offset from UTC in message 1" in report.not_imported[0].why


async def test_what_lies_beside_exports_in_a_folder_is_no_complaint(tmp_path: Path) -> None:
    folder = shutil.copytree(CASES / "integer_type", tmp_path / "exports")
    (folder / "README.txt").write_text("These are the exports of the garden club.")
    (folder / "beds.json_Files").mkdir()
    (folder / "beds.json_Files" / "attached.json").write_text("{}")
    (folder / "page.html").write_text("<html><div class=chatlog>")
    async with stored_only(tmp_path / "data") as service:
        report = await import_files(service, [folder])
        assert [each.name for each in report.not_imported] == ["page.html"]


async def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    async with stored_only(tmp_path) as service:
        with pytest.raises(BadRequest, match=r"There is no file .*typo\.json"):
            await import_files(service, [tmp_path / "typo.json"])


async def test_a_channel_of_another_server_is_refused(tmp_path: Path) -> None:
    async with stored_only(tmp_path) as service:
        await service.upsert_guild(5, "Another club")
        await service.upsert_channels([ChannelInfo(BEDS, 5, "theirs")])
        report = await import_files(service, [CASES / "integer_type"])
        assert "belongs to another server" in report.not_imported[0].why
        assert await said(service, 5) == {}


# --- archives -----------------------------------------------------------------------------------------------------


async def _import_zip(tmp_path: Path, path: Path) -> ImportReport:
    async with stored_only(tmp_path / "data") as service:
        return await import_files(service, [path])


async def test_an_archive_that_unpacks_to_far_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", b" " * 100_000_000)
    report = await _import_zip(tmp_path, path)
    assert "would unpack to far more than any exports do" in report.not_imported[0].why


async def test_archives_in_archives_and_locked_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "exports.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(CASES / "integer_type" / "beds.json", "../../beds.json")
        archive.writestr("inner.zip", b"PK")
        archive.writestr("torn.json", b"x" * 1000)
    data = bytearray(path.read_bytes())
    place = data.index(b"torn.json") + len("torn.json")
    data[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    report = await _import_zip(tmp_path, path)
    assert {each.name: each.why for each in report.not_imported} == {
        "exports.zip/inner.zip": "is an archive inside an archive; unpack it and name it itself.",
        "exports.zip/torn.json": "cannot be unpacked: the archive is damaged.",
    }
    assert report.imported == 1
    assert not (tmp_path.parent / "beds.json").exists()


# --- Discord's data package -----------------------------------------------------------------------------------------

PACKAGE = {
    "account/user.json": {"id": "42", "username": "ada_l", "global_name": "Ada"},
    "messages/index.json": {"1": "a"},
    "messages/c100000000000000001/channel.json": {
        "id": "100000000000000001",
        "type": "GUILD_TEXT",
        "name": "beds",
        "guild": {"id": str(GARDEN), "name": "Garden club"},
    },
    "messages/c100000000000000001/messages.json": [
        {"ID": JULY, "Timestamp": "2026-04-04 10:00:00", "Contents": "I planted leeks", "Attachments": ""},
        {
            "ID": JULY + 1,
            "Timestamp": "2026-04-04 10:00:01",
            "Contents": "",
            "Attachments": "https://cdn.discordapp.com/attachments/1/100000000000000009/leeks.png?ex=1",
        },
    ],
    "messages/c100000000000000002/channel.json": {"id": "100000000000000002", "type": "DM", "recipients": ["1"]},
    "messages/c100000000000000002/messages.json": [{"ID": 1, "Contents": "private", "Attachments": ""}],
    "servers/index.json": {"1": "a"},
}
TABLE = f'ID,Timestamp,Contents,Attachments\n{JULY},2026-04-04 10:00:00,"I planted\nleeks",\n'


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("table", [False, True])
async def test_discords_own_data_package_is_imported(tmp_path: Path, packed: bool, table: bool) -> None:
    folder = tmp_path / "package"
    for name, content in PACKAGE.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
    if table:
        (folder / "messages/c100000000000000001/messages.json").unlink()
        (folder / "messages/c100000000000000001/messages.csv").write_text(TABLE, encoding="utf-8")
    path = Path(shutil.make_archive(str(folder), "zip", folder)) if packed else folder
    async with stored_only(tmp_path / "data") as service:
        report = await import_files(service, [path])
        assert [each.why for each in report.not_imported] == ["holds direct messages, which are not remembered."]
        (first, *others) = await service.messages([JULY, JULY + 1], Scope.of(GARDEN, [100000000000000001]))
        assert first.content == ("I planted\nleeks" if table else "I planted leeks")
        assert (first.author_id, first.author_name) == (42, "Ada")
        assert first.created_at == dt.datetime.fromtimestamp(((JULY >> 22) + 1_420_070_400_000) / 1000, dt.UTC)
        assert [message.attachments[0].filename for message in others] == ([] if table else ["leeks.png"])


async def test_a_data_package_without_its_person_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "messages" / "c100000000000000001"
    folder.mkdir(parents=True)
    for name in ("channel.json", "messages.json"):
        content = PACKAGE[f"messages/c100000000000000001/{name}"]
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    async with stored_only(tmp_path / "data") as service:
        report = await import_files(service, [tmp_path / "messages"])
        assert "account/user.json is not there" in report.not_imported[0].why
