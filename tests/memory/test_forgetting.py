"""Forgetting, looked for in the raw bytes of every file."""

from __future__ import annotations

from pathlib import Path

from tests.memory.building import ANNA, BEN, GENERAL, GUILD, SECRET, ask, message, running_service, texts

MARIA = 918_273_645_546_372_819
WORDS = ["xylophone", "marzipanbrot", "zugzwangenheit"]
SECRETS = [f"My {word} lives in the attic next to parcel {i}" for i, word in enumerate(WORDS)]


def traces(folder: Path, *needles: str) -> list[tuple[str, str]]:
    """Return (file, needle) for every needle, in any case, that stands in the raw bytes of any file."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes().lower()
            found += [(path.name, needle) for needle in needles if needle.lower().encode() in data]
    return found


def id_bytes(user_id: int) -> list[bytes]:
    """Return the forms in which an id may stand in a file."""
    return [str(user_id).encode(), user_id.to_bytes(8, "big"), user_id.to_bytes(8, "little")]


def files_with_the_id(folder: Path, user_id: int) -> list[str]:
    """Return the files that hold a person's id in any form."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if any(form in path.read_bytes() for form in id_bytes(user_id))]


async def test_forget_me_leaves_no_trace_in_any_byte_of_any_file(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        chatter = [message(i, f"Ordinary chatter number {i} about the garden", BEN) for i in range(200, 400)]
        await service.remember(chatter)
        mine = [message(i, text, MARIA, author_name="Mariella") for i, text in enumerate(SECRETS, 1)]
        await service.remember(mine)
        await service.remember([message(900, f"Thank you <@{MARIA}> for the help", BEN)])
        await service.drain()
        assert texts(await ask(service, "xylophone attic"))
        with service.slot.acquire() as loadout:
            loadout.indexes.save()
        assert traces(tmp_path, *WORDS, "mariella"), "before, the words are there to be found"

        assert await service.opt_out(MARIA, None) == len(SECRETS)

        assert traces(tmp_path, *WORDS, "mariella") == []
        assert files_with_the_id(tmp_path, MARIA) == []
        assert texts(await ask(service, "thank you for the help")) != []
    assert traces(tmp_path, *WORDS, "mariella") == []


async def test_retention_takes_what_is_too_old(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([message(1, "an old story")])
        assert await service.set_retention(GUILD, 1) == 1
        assert texts(await ask(service, "old story")) == []


async def test_a_channel_goes_with_its_threads(tmp_path: Path) -> None:
    from cogs.memory.records import ChannelInfo

    async with running_service(tmp_path) as service:
        await service.upsert_channels([ChannelInfo(77, GUILD, "a thread", "thread", parent_id=SECRET)])
        await service.remember([message(1, "in the channel", ANNA, SECRET), message(2, "in the thread", ANNA, 77)])
        assert await service.forget_channel(GUILD, SECRET) == 2
        assert texts(await ask(service, "in the", GENERAL, SECRET, 77)) == []


async def test_leaving_a_channel_out_erases_it_and_keeps_it_out(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([message(1, "the password is swordfish", ANNA, SECRET)])
        await service.set_channel_included(GUILD, SECRET, False)
        assert not await service.is_remembered(GUILD, SECRET)
        assert await service.remember([message(2, "the password is tunafish", ANNA, SECRET)]) == 0
        assert texts(await ask(service, "password", SECRET)) == []
        await service.set_channel_included(GUILD, SECRET, True)
        assert await service.remember([message(3, "the password is codfish", ANNA, SECRET)]) == 1


async def test_opt_in_mode_remembers_only_named_channels(tmp_path: Path) -> None:
    async with running_service(tmp_path, remember="opt-in") as service:
        assert await service.remember([message(1, "not yet")]) == 0
        await service.set_channel_included(GUILD, GENERAL, True)
        assert await service.remember([message(2, "now")]) == 1


async def test_a_server_goes_whole(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([message(1, "the heirloom xylophone")])
        await service.drain()
        await ask(service, "heirloom")
        await service.forget_guild(GUILD)
        assert await service.guild_ids() == []
        assert traces(tmp_path, "xylophone") == []
