"""Images of messages: fetched from Discord's servers only, seen by the models, bounded, and gone with the message."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from PIL import Image

from cogs.memory.records import Attachment, IncomingMessage
from cogs.memory.storage import images as attachments
from cogs.memory.storage.images import ImageStore, is_image
from cogs.memory.storage.vectors import PendingMessage
from config.settings import CONFIG_DIR
from tests.memory.building import GUILD, ask, message, running_service
from tests.rerankers.checkpoints_other import qwen3_vl


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


class LoopbackFiles:
    """A file server; ``/red.png`` is a red image."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(self.path)
                name = self.path.removeprefix("/").split("?")[0]
                if name == "moved.png":
                    self.send_response(302)
                    self.send_header("Location", "/red.png")
                    self.end_headers()
                    return
                data = b"\0" * (attachments.LARGEST_FILE + 1) if name == "huge.png" else png(name.removesuffix(".png"))
                self.send_response(404 if name == "gone.png" else 200)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test's output clean."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackFiles]:
    server = LoopbackFiles()
    monkeypatch.setattr(attachments, "ORIGINS", (server.url,))
    yield server
    server.http.shutdown()
    server.http.server_close()


def shown(number: int, *urls: str) -> IncomingMessage:
    files = tuple(Attachment(number * 10 + i, "a.png", url, "image/png", 100) for i, url in enumerate(urls))
    return message(number, f"look {number}", attachments=files)


def pending(store_of: list[PendingMessage], wanted: IncomingMessage) -> PendingMessage:
    return next(item for item in store_of if item.message.id == wanted.id)


async def test_only_images_of_discords_servers_are_fetched(server: LoopbackFiles, tmp_path: Path) -> None:
    good = shown(1, f"{server.url}/red.png?ex=1", f"{server.url}/blue.png")
    bad = shown(
        2,
        "http://169.254.169.254/latest/meta-data",
        f"{server.url}@evil.example/red.png",
        "file:///etc/passwd",
        f"{server.url.replace('http', 'ftp')}/red.png",
    )
    odd = shown(3, f"{server.url}/gone.png", f"{server.url}/moved.png", f"{server.url}/huge.png", "http://[::1")
    async with running_service(tmp_path / "data") as service:
        await service.remember([good, bad, odd])
        await service.drain()
        store = ImageStore(tmp_path / "images", service.repository.database)
        items = service.repository.vectors.without_vector("none", 0, 100)
        first, second, third = await asyncio.to_thread(store.fetch, items)
        assert [file.read_bytes() for file in first] == [png("red"), png("blue")]
        assert second == third == ()
        assert [path.split("?")[0] for path in server.requests].count("/red.png") == 1
        before = len(server.requests)
        assert await asyncio.to_thread(store.fetch, [pending(items, good)]) == [first]
        assert len(server.requests) == before


async def test_nothing_is_kept_of_a_message_that_changed_or_went(server: LoopbackFiles, tmp_path: Path) -> None:
    kept, edited, deleted = (shown(i, f"{server.url}/red.png") for i in (1, 2, 3))
    async with running_service(tmp_path / "data") as service:
        await service.remember([kept, edited, deleted])
        await service.drain()
        items = service.repository.vectors.without_vector("none", 0, 100)
        await service.edit(dataclasses.replace(edited, content="other"))
        await service.forget_messages(GUILD, [deleted.id])
        store = ImageStore(tmp_path / "images", service.repository.database)
        assert [len(files) for files in await asyncio.to_thread(store.fetch, items)] == [1, 0, 0]
        # What a crash left behind of a message that is gone is swept at the next start.
        orphan = tmp_path / "images" / str(deleted.id)
        orphan.mkdir()
        (orphan / "1").write_bytes(b"x")
        await asyncio.to_thread(ImageStore(tmp_path / "images", service.repository.database).fetch, items[:1])
        assert not orphan.exists()
        assert store.files(kept.id)


async def test_the_oldest_go_where_there_is_no_room(server: LoopbackFiles, tmp_path: Path) -> None:
    messages = [shown(i, f"{server.url}/red.png") for i in range(1, 6)]
    async with running_service(tmp_path / "data") as service:
        await service.remember(messages)
        await service.drain()
        items = service.repository.vectors.without_vector("none", 0, 100)
        store = ImageStore(tmp_path / "images", service.repository.database, kept_bytes=3 * len(png("red")))
        await asyncio.to_thread(store.fetch, items)
        assert [bool(store.files(m.id)) for m in messages] == [False, False, False, True, True]


async def test_recall_sees_the_image_and_forgetting_erases_it(server: LoopbackFiles, tmp_path: Path) -> None:
    folder = qwen3_vl(tmp_path / "model")
    profiles = yaml.safe_load((CONFIG_DIR / "profiles.yaml").read_text(encoding="utf-8"))
    profile = {**profiles["minimal"], "reranker": "vl-tiny", "deadline_ms": 60_000}
    (tmp_path / "profiles.yaml").write_text(yaml.safe_dump({"minimal": profile}))
    entry = {"format": "qwen3-vl", "id": str(folder), "max_length": 2000}
    (tmp_path / "rerankers.yaml").write_text(yaml.safe_dump({"vl-tiny": entry}))
    files = {"profiles_file": tmp_path / "profiles.yaml", "rerankers_file": tmp_path / "rerankers.yaml"}
    red, blue = shown(1, f"{server.url}/red.png"), dataclasses.replace(shown(2, f"{server.url}/blue.png"))
    same = [dataclasses.replace(m, content="look", created_at=red.created_at) for m in (red, blue)]
    async with running_service(tmp_path / "data", **files) as service:
        await service.remember(same)
        await service.drain()
        result = await ask(service, "look")
        scores = {hit.message.id: hit.raw_score for hit in result.hits}
        assert len(scores) == 2
        # Text, author and date are the same; only what the images show differs.
        assert scores[red.id] != scores[blue.id]
        assert len([*(tmp_path / "data" / "attachments").glob("*/*")]) == 2
        await service.forget_messages(GUILD, [red.id])
        assert [file.parent.name for file in (tmp_path / "data" / "attachments").glob("*/*")] == [str(blue.id)]
        await service.forget_guild(GUILD)
        assert [*(tmp_path / "data" / "attachments").glob("*/*")] == []


async def test_no_image_is_fetched_for_models_that_see_none(server: LoopbackFiles, tmp_path: Path) -> None:
    async with running_service(tmp_path / "data") as service:
        await service.remember([shown(1, f"{server.url}/red.png")])
        await service.drain()
    assert server.requests == []


@pytest.mark.parametrize(
    ("file", "image"),
    [
        (Attachment(1, "a.png", "", "image/png", 9), True),
        (Attachment(1, "a", "", "image/webp", 9), True),
        (Attachment(1, "a.JPG", "", None, 9), True),
        (Attachment(1, "a.svg", "", "image/svg+xml", 9), False),
        (Attachment(1, "a.png", "", "text/plain", 9), False),
        (Attachment(1, "a.mp4", "", None, 9), True),
        (Attachment(1, "a", "", "video/quicktime", 9), True),
        (Attachment(1, "a.mp3", "", "audio/mpeg", 9), False),
        (Attachment(1, "a.png", "", "image/png", attachments.LARGEST_FILE + 1), False),
    ],
)
def test_what_counts_as_an_image(file: Attachment, image: bool) -> None:
    assert is_image(file) is image
