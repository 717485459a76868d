"""Models as files: told honestly, checked to the byte, and fetched from a hub over a real socket."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from typer.testing import CliRunner

from cogs.memory.embedding.specs import load_embedders
from cogs.memory.errors import BadRequest
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.models import catalogue as model_files
from cogs.memory.models import download
from cogs.memory.models.catalogue import check, describe
from cogs.memory.models.download import FetchError, fetch, wanted_files
from cogs.memory.rerankers.base import Document
from cogs.memory.rerankers.formats import cross_encoder
from cogs.memory.rerankers.registry import load_specs
from cogs.shell import models as models_cli
from tests.rerankers.checkpoints_other import bert

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class LoopbackHub:
    """Serves one repository as the hub does; large files carry their SHA-256, small ones git's hash."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.sha = folder, COMMIT
        self.requests: list[str] = []
        self.spoiled: set[str] = set()
        self.stated: dict[str, str] = {}
        self.history = [COMMIT]
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, *, body: bool) -> None:
                path = unquote(urlsplit(self.path).path)
                hub.requests.append(f"{self.command} {path}")
                data, headers, status = hub.find(path)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if body:
                    self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test's output clean."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def find(self, path: str) -> tuple[bytes, dict[str, str], int]:
        if path.startswith("/api/models/org/model/commits/"):
            commits = [
                {"id": one, "authors": [], "date": f"2026-01-{9 - n:02}T23:30:00.000Z", "title": "", "message": ""}
                for n, one in enumerate(self.history)
            ]
            return json.dumps(commits).encode(), {"Content-Type": "application/json"}, 200
        if path.startswith("/api/models/org/model/revision/") and len(path.rpartition("/")[2]) < len(self.sha):
            return b"{}", {"X-Error-Code": "RevisionNotFound"}, 404  # its API knows no abbreviations
        if path.startswith("/api/models/org/model"):
            return json.dumps(self.info()).encode(), {"Content-Type": "application/json"}, 200
        name = path.removeprefix(f"/org/model/resolve/{self.sha}/")
        file = self.folder / name
        if name == path or not file.is_file():
            return b"{}", {"X-Error-Code": "EntryNotFound"}, 404
        data = file.read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": self.sha}
        return (b"\0" * len(data) if name in self.spoiled else data), headers, 200

    def info(self) -> dict[str, object]:
        siblings = []
        for file in sorted(self.folder.rglob("*")):
            if file.is_file():
                name, size = file.relative_to(self.folder).as_posix(), file.stat().st_size
                entry: dict[str, object] = {"rfilename": name, "size": size, "blobId": download.git_blob_of(file)}
                if file.suffix in (".safetensors", ".bin"):
                    digest = self.stated.get(name, model_files.sha256_of(file))
                    entry["lfs"] = {"sha256": digest, "size": size, "pointerSize": 100}
                siblings.append(entry)
        return {"id": "org/model", "sha": self.sha, "siblings": siblings}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with what the hub's have besides: pickles, other runtimes, code."""
    folder = bert(tmp_path_factory.mktemp("hub") / "model")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"graph")
    (folder / "evil.py").write_text("raise SystemExit")
    (folder / "README.md").write_text("# a card")
    return folder


@pytest.fixture
def hub(published: Path) -> Iterator[LoopbackHub]:
    hub = LoopbackHub(published)
    yield hub
    hub.http.shutdown()
    hub.http.server_close()


def spec(**changes: object) -> RerankerSpec:
    made = RerankerSpec("tiny", "cross-encoder", "org/model", COMMIT, max_length=64, license="MIT")
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def test_a_fetched_model_is_whole_loads_and_holds_no_pickle(hub: LoopbackHub, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    (folder,) = fetch(spec(), tmp_path, endpoint=hub.url, progress=lambda *step: seen.append(step))
    assert folder == tmp_path / f"org--model@{COMMIT}"
    names = {file.name for file in folder.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md", model_files.MANIFEST} <= names
    assert not names & {"pytorch_model.bin", "model.onnx", "evil.py", "onnx", ".cache"}
    assert seen[0][1] == 0
    assert seen[-1][1] == seen[-1][2] == len(names) - 1
    assert "whole" in check(spec(), tmp_path)
    assert describe(spec(), tmp_path, 8.0, None).present
    reranker = cross_encoder.load(spec(), LoadOptions(models_dir=tmp_path, threads=1))
    assert len(reranker.score("q", [Document("x")])) == 1
    before = len(hub.requests)
    assert fetch(spec(), tmp_path, endpoint=hub.url) == [folder]
    assert len(hub.requests) == before


def test_a_damaged_download_is_refused_and_nothing_is_left_to_load(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.spoiled = {"config.json"}
    with pytest.raises(FetchError, match=r"config\.json"):
        fetch(spec(), tmp_path, endpoint=hub.url)
    hub.spoiled, hub.stated = set(), {"model.safetensors": "0" * 64}
    with pytest.raises(FetchError, match=r"model\.safetensors"):
        fetch(spec(), tmp_path, endpoint=hub.url)
    assert not describe(spec(), tmp_path, 8.0, None).present
    with pytest.raises(RerankerUnavailable, match=r"python bot\.py models fetch tiny"):
        cross_encoder.load(spec(), LoadOptions(models_dir=tmp_path))
    hub.stated = {}
    assert fetch(spec(), tmp_path, endpoint=hub.url)


def test_another_commit_than_the_pinned_one_is_refused(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.sha = "f" * 40
    with pytest.raises(FetchError, match="fffff"):
        fetch(spec(), tmp_path, endpoint=hub.url)
    with pytest.raises(FetchError, match="pinned"):
        fetch(spec(), tmp_path, revision="f" * 40, endpoint=hub.url)
    assert "fetch tiny --revision COMMIT`" in describe(spec(revision=None), tmp_path, 8.0, None).sentence
    with pytest.raises(FetchError, match="--revision"):
        fetch(spec(revision=None), tmp_path, endpoint=hub.url)
    (folder,) = fetch(spec(revision=None), tmp_path, revision="f" * 40, endpoint=hub.url)
    assert json.loads((folder / model_files.MANIFEST).read_text())["commit"] == "f" * 40
    assert describe(spec(revision=None), tmp_path, 8.0, None).present


def test_a_commit_as_a_page_prints_it_is_enough_and_a_wrong_one_is_not(hub: LoopbackHub, tmp_path: Path) -> None:
    short = spec(revision=COMMIT[:7])
    (folder,) = fetch(short, tmp_path, endpoint=hub.url)
    assert json.loads((folder / model_files.MANIFEST).read_text())["commit"] == COMMIT
    assert describe(short, tmp_path, 8.0, None).present
    assert "whole" in check(short, tmp_path)
    with pytest.raises(FetchError, match="no commits that begin with abcdef0"):
        fetch(spec(revision="abcdef0"), tmp_path, endpoint=hub.url)
    hub.history = [COMMIT, COMMIT[:7] + "f" * 33]
    with pytest.raises(FetchError, match="2 commits"):
        fetch(short, tmp_path / "other", endpoint=hub.url)
    assert not (tmp_path / "other").exists()


def test_a_day_pins_the_last_commit_that_is_not_later(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.history = ["e" * 40, COMMIT, "d" * 40]  # of the 9th, the 8th and the 7th
    by_day = spec(revision="2026-01-08")
    (folder,) = fetch(by_day, tmp_path, endpoint=hub.url)
    assert json.loads((folder / model_files.MANIFEST).read_text())["commit"] == COMMIT
    assert describe(by_day, tmp_path, 8.0, None).present
    with pytest.raises(FetchError, match=r"no commit of 2026-01-06 or before"):
        fetch(spec(revision="2026-01-06"), tmp_path, endpoint=hub.url)


def test_what_cannot_be_fetched_says_so(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="needs no files"):
        fetch(spec(id="http://127.0.0.1/rerank", format="http"), tmp_path)
    with pytest.raises(FetchError, match="could not be fetched"):
        fetch(spec(), tmp_path, endpoint="http://127.0.0.1:9")


def test_no_room_is_said_before_the_download(hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(FetchError, match="GB free"):
        fetch(spec(), tmp_path, endpoint=hub.url)
    assert not any("resolve" in request for request in hub.requests)


@pytest.mark.parametrize("harm", ["cut", "changed", "gone", "json", "tokenizer", "shard"])
def test_check_finds_what_was_harmed(hub: LoopbackHub, tmp_path: Path, harm: str) -> None:
    (folder,) = fetch(spec(), tmp_path, endpoint=hub.url)
    weights = folder / "model.safetensors"
    if harm == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif harm == "changed":
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(bytes(data))
    elif harm == "gone":
        (folder / "vocab.txt").unlink()
    elif harm == "json":
        (folder / "config.json").write_text("{")
    elif harm == "tokenizer":
        (folder / "tokenizer.json").write_text("{}")
    else:
        index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(RerankerUnavailable):
        check(spec(), tmp_path)


def test_only_data_files_are_wanted() -> None:
    names = [
        "model.safetensors",
        "model-00001-of-2.safetensors",
        "config.json",
        "1_Pooling/config.json",
        "chat_template.jinja",
        "tokenizer.model",
        "pytorch_model.bin",
        "model.onnx",
        "onnx/model.onnx",
        "modeling.py",
        "weights.pkl",
        "../outside.json",
        "/etc/passwd.json",
        "runs/events.json",
        "model.pt",
    ]
    data = ["1_Pooling/config.json", "chat_template.jinja", "config.json", "model-00001-of-2.safetensors"]
    assert wanted_files(names, "qwen3") == [*data, "model.safetensors", "tokenizer.model"]
    assert "model.onnx" in wanted_files(names, "hindsight")
    assert "onnx/model.onnx" not in wanted_files(names, "hindsight")
    assert "modeling.py" in wanted_files(names, "querit")


def test_every_named_model_is_described_in_one_sentence(tmp_path: Path) -> None:
    specs: list[model_files.ModelSpec] = [*load_specs().values(), *load_embedders().values()]
    for named in specs:
        small = describe(named, tmp_path, 1.0, None)
        large = describe(named, tmp_path, 512.0, 80.0)
        assert named.license in small.sentence
        assert small.present == large.present
        if not small.present and not model_files.is_remote(named):
            assert f"models fetch {named.name}" in small.sentence
    by_name = {named.name: named for named in specs}
    eight = by_name["qwen3-reranker-8b"]
    assert "cannot run it, for it has 8.0 GB" in describe(eight, tmp_path, 8.0, None).sentence
    assert "GPU can run it" in describe(eight, tmp_path, 8.0, 24.0).sentence
    assert "on the CPU in bfloat16 only" in describe(eight, tmp_path, 24.0, None).sentence
    assert "any machine can run it" in describe(by_name["ms-marco-minilm-l6"], tmp_path, 2.0, None).sentence


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    entry = f"tiny: {{format: cross-encoder, id: org/model, revision: {COMMIT}, license: MIT}}\n"
    (tmp_path / "rerankers.yaml").write_text(entry)
    monkeypatch.setenv("MNEME_RERANKERS_FILE", str(tmp_path / "rerankers.yaml"))
    monkeypatch.setenv("MNEME_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data" / "models"


def test_the_command_line_lists_checks_and_says_what_to_do(in_folder: Path, published: Path) -> None:
    run = CliRunner()
    listed = json.loads(run.invoke(models_cli.app, ["list", "--json"]).stdout)
    (tiny,) = [entry for entry in listed if entry["name"] == "tiny"]
    assert tiny == {
        "name": "tiny",
        "format": "cross-encoder",
        "id": "org/model",
        "revision": COMMIT,
        "license": "MIT",
        "present": False,
    }
    assert any(entry["name"] == "minilm-l6" and entry["present"] for entry in listed)
    missing = run.invoke(models_cli.app, ["check", "tiny"])
    assert isinstance(missing.exception, BadRequest)
    assert "models fetch tiny" in str(missing.exception)
    unknown = run.invoke(models_cli.app, ["check", "tinny"])
    assert isinstance(unknown.exception, BadRequest)
    shutil.copytree(published, in_folder / f"org--model@{COMMIT}")
    assert "whole" in run.invoke(models_cli.app, ["check", "tiny"]).stdout
    assert "✓ tiny" in run.invoke(models_cli.app, ["list"]).stdout
