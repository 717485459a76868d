"""Rerank servers over a real socket: each published shape, answers out of order, refusals, retries, secrets."""

from __future__ import annotations

import dataclasses
import email.utils
import gzip
import json
import logging
import math
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.rerankers.base import Document
from cogs.memory.rerankers.formats import http
from cogs.memory.rerankers.formats.http import HttpReranker, RerankServerError, guess_shape, load, place_scores

KEY = "sk-Very-Secret-0123"
DOCUMENTS = [Document(text) for text in ("Beijing is the capital", "", "größe 👋🏽", "\ud800 lone")]
PROBABILITIES = [0.9, 0.05, 0.5, 0.2]


@dataclasses.dataclass
class Reply:
    status: int = 200
    body: object = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    delay: float = 0.0


class LoopbackServer:
    """Answers with scripted replies, then as each shape does; keeps what it was sent."""

    def __init__(self) -> None:
        self.script: list[Reply] = []
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append((self.path, dict(self.headers), sent))
                reply = server.script.pop(0) if server.script else Reply(body=answer(self.path, sent))
                time.sleep(reply.delay)
                raw = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                for name, value in {**reply.headers, "Content-Length": str(len(raw))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test's output clean."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


def answer(path: str, sent: dict[str, Any]) -> object:
    """What the server of a path returns: the best first, as they all do, so not in the order of the documents."""
    texts = sent.get("texts") or sent["documents"]
    order = sorted(range(len(texts)), key=lambda i: -PROBABILITIES[i % 4])
    if path == "/tei":
        logit = {i: math.log(PROBABILITIES[i % 4] / (1 - PROBABILITIES[i % 4])) for i in order}
        return [{"index": i, "score": logit[i] if sent["raw_scores"] else PROBABILITIES[i % 4]} for i in order]
    if path == "/old-infinity":
        return {"data": [{"index": i, "relevance_score": PROBABILITIES[i]} for i in order]}
    if path == "/lychee":
        return {"rerank_results": [{"document_index": i, "rerank_score": PROBABILITIES[i]} for i in order]}
    results = [{"index": i, "document": {"text": texts[i]}, "relevance_score": PROBABILITIES[i % 4]} for i in order]
    return {"id": "x", "model": sent.get("model"), "usage": {"total_tokens": 3}, "results": results}


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    server = LoopbackServer()
    yield server
    server.http.shutdown()
    server.http.server_close()


def reranker(server: LoopbackServer, path: str = "/v1/rerank", key: str | None = None, **options: Any) -> HttpReranker:
    settings = {"retries": 2, "timeout": 2.0, "model": "m", **options}
    made = load(RerankerSpec("remote", "http", server.url + path, options=settings), LoadOptions(api_key=key))
    made._sleep = lambda seconds: waits.append(seconds)
    waits.clear()
    return made


waits: list[float] = []


@pytest.mark.parametrize(
    ("path", "shape", "body"),
    [
        ("/v1/rerank", "vllm", {"model": "m", "query": "q", "documents": ..., "top_n": 4}),
        ("/v2/rerank", "cohere", {"model": "m", "query": "q", "documents": ..., "top_n": 4}),
        ("/v1/rerank", "jina", {"model": "m", "query": "q", "documents": ..., "top_n": 4, "return_documents": False}),
        (
            "/rerank",
            "infinity",
            {"model": "m", "query": "q", "documents": ..., "return_documents": False, "raw_scores": False},
        ),
        (
            "/old-infinity",
            "infinity",
            {"model": "m", "query": "q", "documents": ..., "return_documents": False, "raw_scores": False},
        ),
        ("/tei", "tei", {"query": "q", "texts": ..., "raw_scores": False, "return_text": False, "truncate": True}),
        ("/openmem/v1/rerank", "memos", {"model": "m", "query": "q", "documents": ..., "top_n": 4}),
        ("/lychee", "vllm", {"model": "m", "query": "q", "documents": ..., "top_n": 4}),
    ],
)
def test_each_shape_is_asked_and_read_as_its_server_speaks(
    server: LoopbackServer, path: str, shape: str, body: dict[str, Any]
) -> None:
    scores = reranker(server, path, KEY, shape=shape).score("q", DOCUMENTS)
    assert [score.probability for score in scores] == pytest.approx(PROBABILITIES)
    sent_path, headers, sent = server.requests[0]
    texts = ["Beijing is the capital", "", "größe 👋🏽", "? lone"]
    assert sent == {name: texts if value is ... else value for name, value in body.items()}
    assert sent_path == path
    assert headers["Authorization"] == (f"Token {KEY}" if shape == "memos" else f"Bearer {KEY}")


def test_logits_are_declared_not_guessed(server: LoopbackServer) -> None:
    scores = reranker(server, "/tei", shape="tei", scale="logit").score("q", DOCUMENTS)
    assert [score.probability for score in scores] == pytest.approx(PROBABILITIES)
    assert scores[0].raw == pytest.approx(math.log(9))
    mixed = {"results": [{"index": 0, "relevance_score": 0.9}, {"index": 1, "relevance_score": 1.1}]}
    server.script = [Reply(body=mixed), Reply(body=mixed)]
    low, high = reranker(server, scale="logit").score("q", DOCUMENTS[:2])
    assert low.probability < high.probability
    with pytest.raises(RerankServerError, match="scale: logit"):
        reranker(server).score("q", DOCUMENTS[:2])


def test_many_documents_go_in_bounded_requests(server: LoopbackServer) -> None:
    scores = reranker(server, batch=3).score("q", DOCUMENTS * 2)
    assert [len(sent["documents"]) for _, _, sent in server.requests] == [3, 3, 2]
    assert [s.probability for s in scores] == pytest.approx(
        [*PROBABILITIES[:3], *PROBABILITIES[:3], *PROBABILITIES[:2]]
    )
    assert reranker(server).score("q", []) == []


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        ([(0, 0.1), (0, 0.2)], "the index 0 twice"),
        ([(0, 0.1)], "no score for 1 of 2"),
        ([(0, 0.1), (2, 0.2)], "index 2 for 2"),
        ([(0, 0.1), (-1, 0.2)], "index -1 for 2"),
        ([(0, 0.1), ("1", 0.2)], "index '1'"),
        ([(0, 0.1), (True, 0.2)], "index True"),
        ([(0, 0.1), (None, 0.2)], "index None"),
        ([(0, 0.1), (1, None)], "None as the score"),
        ([(0, 0.1), (1, "0.2")], "'0.2' as the score"),
        ([(0, 0.1), (1, float("nan"))], "nan as the score"),
    ],
)
def test_scores_that_cannot_be_placed_are_an_error(results: list[tuple[Any, Any]], sentence: str) -> None:
    with pytest.raises(RerankServerError, match=sentence):
        place_scores({"results": [{"index": i, "relevance_score": s} for i, s in results]}, 2)


@pytest.mark.parametrize("body", [b"<html>", {"error": "x"}, ["x"], {"results": "x"}, 7])
def test_answers_that_are_no_scores_are_an_error(server: LoopbackServer, body: object) -> None:
    server.script = [Reply(body=body)]
    with pytest.raises(RerankServerError):
        reranker(server).score("q", DOCUMENTS)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 424, 418])
def test_refusals_are_told_apart_and_not_repeated(server: LoopbackServer, status: int) -> None:
    server.script = [Reply(status, {"error": f"no {KEY}"})]
    with pytest.raises(RerankServerError) as caught:
        reranker(server, key=KEY).score("secret question", DOCUMENTS)
    assert caught.value.status == status
    assert len(server.requests) == 1
    assert http.EXPLAINED.get(status, "refuses the request") in str(caught.value)
    assert KEY not in str(caught.value)
    assert "secret question" not in str(caught.value)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_passing_failures_are_tried_again(server: LoopbackServer, status: int) -> None:
    server.script = [Reply(status, {}), Reply(status, {})]
    scores = reranker(server).score("q", DOCUMENTS)
    assert [score.probability for score in scores] == pytest.approx(PROBABILITIES)
    assert waits == [0.5, 1.0]
    server.script = [Reply(status, {}) for _ in range(3)]
    with pytest.raises(RerankServerError, match=f"answered {status}"):
        reranker(server).score("q", DOCUMENTS)


def test_retry_after_is_honoured_within_reason(server: LoopbackServer) -> None:
    soon = email.utils.formatdate(time.time() + 6, usegmt=True)
    for value, low, high in (
        ("3", 3, 3),
        ("0", 0, 0),
        (soon, 3, 7),
        ("86400", 20, 20),
        ("soon", 0.5, 0.5),
        ("-1", 0, 0),
    ):
        server.script = [Reply(429, {}, {"Retry-After": value})]
        reranker(server).score("q", DOCUMENTS)
        assert low <= waits[0] <= high


def test_a_server_that_hangs_or_is_gone(server: LoopbackServer) -> None:
    server.script = [Reply(body={}, delay=0.6)]
    with pytest.raises(RerankServerError, match="took too long"):
        reranker(server, timeout=0.2).score("q", DOCUMENTS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://user:{KEY}@127.0.0.1:{port}/rerank?key={KEY}"
    gone = load(RerankerSpec("gone", "http", url, options={"retries": 1}), LoadOptions(api_key=KEY))
    gone._sleep = waits.append
    with pytest.raises(RerankServerError, match="cannot be reached") as caught:
        gone.score("q", DOCUMENTS)
    assert f"127.0.0.1:{port}/rerank" in str(caught.value)
    assert KEY not in str(caught.value)


def test_the_key_is_in_no_log_and_no_repr(server: LoopbackServer, caplog: pytest.LogCaptureFixture) -> None:
    server.script = [Reply(429, {}), Reply(401, {})]
    made = reranker(server, key=KEY)
    with caplog.at_level(logging.DEBUG), pytest.raises(RerankServerError):
        made.score("q", DOCUMENTS)
    assert KEY not in caplog.text
    assert KEY not in repr(vars(made))
    assert KEY not in repr(LoadOptions(api_key=KEY))


@pytest.mark.parametrize(
    ("url", "options", "sentence"),
    [
        ("ftp://x/rerank", {}, "http://"),
        ("nowhere", {}, "http://"),
        ("http://x/rerank", {"shape": "soap"}, "shape"),
        ("http://x/rerank", {"scale": "percent"}, "scale"),
        ("http://x/rerank", {"timeout": 0}, "timeout"),
        ("https://memos.memtensor.cn/api/openmem/v1/rerank", {}, "MNEME_RERANKER_API_KEY"),
    ],
)
def test_entries_that_cannot_work_are_refused(url: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RerankerUnavailable, match=sentence):
        load(RerankerSpec("r", "http", url, options=options), LoadOptions())


def test_a_key_with_a_line_break_is_refused_without_showing_it() -> None:
    with pytest.raises(RerankerUnavailable, match="copy it again") as caught:
        load(RerankerSpec("r", "http", "http://x/rerank"), LoadOptions(api_key=f"{KEY}\n"))
    assert KEY not in str(caught.value)


def test_known_hosts_give_their_shape() -> None:
    assert guess_shape("https://api.cohere.com/v2/rerank") == "cohere"
    assert guess_shape("https://api.jina.ai/v1/rerank") == "jina"
    assert guess_shape("https://memos.memtensor.cn/api/openmem/v1/rerank") == "memos"
    assert guess_shape("http://10.0.0.2:8000/v1/rerank") == "vllm"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_compressed_answer_is_refused_before_it_is_decompressed(server: LoopbackServer, encoding: str) -> None:
    small = gzip.compress(b"[" + b" " * 50_000_000 + b"]")
    server.script = [Reply(body=small, headers={"Content-Encoding": encoding})]
    tracemalloc.start()
    try:
        with pytest.raises(RerankServerError, match="compressed"):
            reranker(server).score("capital?", DOCUMENTS)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert server.requests[0][1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'[{"index": 0, "score": 1' + b"0" * 4_000 + b"}]", b" " * (http.LARGEST_ANSWER_BYTES + 1)]
)
def test_an_answer_made_to_break_its_reader_is_an_error_of_the_server(server: LoopbackServer, body: bytes) -> None:
    server.script = [Reply(body=body)]
    with pytest.raises(RerankServerError):
        reranker(server).score("capital?", [Document("x")])
