"""Rerankers behind HTTP: vLLM, text-embeddings-inference, Infinity, Cohere, Jina, and MemOS' hosted API.

Scores are placed by the ``index`` of each result, never by the order of the response. Options of an entry:

- ``shape``: vllm | tei | infinity | cohere | jina | memos; without it, the address decides (see :func:`guess_shape`);
- ``scale``: ``probability`` (default) or ``logit``: what the server's numbers are. It is declared, never guessed;
- ``model``: the name that the server knows (default: the entry's name);
- ``timeout`` (10 seconds for one attempt), ``retries`` (2), ``batch`` (100 documents for one request);
- ``auth``: ``bearer`` or ``token`` before the key (default: ``token`` for memos, ``bearer`` otherwise).
"""

from __future__ import annotations

import email.utils
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, cast
from urllib.parse import urlsplit

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from cogs.memory.bounded_http import PLAIN, BoundedTransport, TooLarge
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.rerankers.base import Document, Reranker, Scale, Score, to_probability

log = logging.getLogger(__name__)
SHAPES: Final = ("vllm", "tei", "infinity", "cohere", "jina", "memos")
HOSTS: Final = {"cohere": "cohere", "jina": "jina", "memtensor": "memos", "openmem": "memos"}
SCALES: Final = ("probability", "logit")
RETRIED: Final = frozenset({429, 500, 502, 503, 504})
LONGEST_WAIT_SECONDS: Final = 20.0
LARGEST_ANSWER_BYTES: Final = 8 * 2**20
"""Scores of a hundred documents take thousands of bytes; some servers send the documents back as well."""
EXPLAINED: Final = {
    400: "it does not understand the request; check `shape` and `model`",
    401: "it wants a key: set MNEME_RERANKER_API_KEY",
    403: "the key in MNEME_RERANKER_API_KEY is not allowed to do this",
    404: "there is no such address or model; check `id` and `options.model` in rerankers.yaml",
    413: "the request is too large; lower `candidates` or `max_document_tokens` of the profile",
    422: "it does not accept the request; check `shape`, or lower `max_document_tokens`",
    424: "its model failed on the request",
    429: "it is asked too often",
}


class RerankServerError(RuntimeError):
    """A rerank server refused or failed; the message says which, never with the key or the texts.

    ``status`` is the HTTP status, or ``None`` where no usable answer came.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class _MayPass(RerankServerError):
    """A failure after which the request is sent again; ``retry_after`` is the server's header of that name."""

    def __init__(self, message: str, status: int | None = None, retry_after: str | None = None) -> None:
        super().__init__(message, status)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Server:
    """A rerank server as an entry describes it."""

    url: str
    shape: str
    model: str
    scale: Scale
    timeout: float
    retries: int
    batch: int

    @property
    def shown(self) -> str:
        """The address as it may be shown: without user, password and query string."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"

    def body(self, query: str, texts: Sequence[str]) -> dict[str, Any]:
        """Return the request's JSON; all scores are asked for."""
        if self.shape == "tei":
            raw = self.scale == "logit"
            return {"query": query, "texts": list(texts), "raw_scores": raw, "return_text": False, "truncate": True}
        body: dict[str, Any] = {"model": self.model, "query": query, "documents": list(texts)}
        if self.shape == "infinity":
            # Without top_n it returns all; raw_scores is its name for logits.
            return {**body, "return_documents": False, "raw_scores": self.scale == "logit"}
        body["top_n"] = len(texts)
        return {**body, "return_documents": False} if self.shape == "jina" else body


def guess_shape(url: str) -> str:
    """Return the shape that an address suggests: known hosts by name, else vLLM's, which most servers speak."""
    host = urlsplit(url).hostname or ""
    return next((shape for part, shape in HOSTS.items() if part in host), "vllm")


class HttpReranker(Reranker):
    """Scores documents by a server. Synchronous, for the device's worker; one connection is kept open.

    ``raw`` is the server's number. What is sent leaves this machine: the operator chose the address.
    """

    scale: ClassVar[Scale] = "server"

    def __init__(
        self,
        spec: RerankerSpec,
        server: Server,
        headers: Mapping[str, str],
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(spec)
        self._server = server
        self._sleep = sleep
        self._client = httpx.Client(
            headers={**PLAIN, **headers},
            timeout=server.timeout,
            follow_redirects=False,
            transport=BoundedTransport(LARGEST_ANSWER_BYTES),
        )

    def score(self, query: str, documents: Sequence[Document]) -> list[Score]:
        """Score ``documents`` in their order.

        Raises:
            RerankServerError: the server cannot be reached, refuses, or returns what is no score for every document.
        """
        raws: list[float] = []
        texts = [document.text.encode("utf-8", "replace").decode("utf-8") for document in documents]
        query = query.encode("utf-8", "replace").decode("utf-8")
        for start in range(0, len(texts), self._server.batch):
            part = texts[start : start + self._server.batch]
            raws.extend(place_scores(self._post(self._server.body(query, part)), len(part)))
        try:
            return [Score(to_probability(raw, self._server.scale), raw) for raw in raws]
        except ValueError as error:
            raise RerankServerError(
                f"The rerank server {self._server.shown}: {error}; set `options.scale: logit` in rerankers.yaml where "
                f"its scores are raw logits."
            ) from error

    def _post(self, body: Mapping[str, Any]) -> object:
        retrying = Retrying(
            retry=retry_if_exception_type(_MayPass),
            stop=stop_after_attempt(self._server.retries + 1),
            wait=_wait,
            sleep=self._sleep,
            before_sleep=_note,
            reraise=True,
        )
        return retrying(self._post_once, body)

    def _post_once(self, body: Mapping[str, Any]) -> object:
        try:
            response = self._client.post(self._server.url, json=body)
        except TooLarge as error:
            raise RerankServerError(f"The rerank server {self._server.shown} is not usable: {error}.") from None
        except httpx.HTTPError as error:
            passing = isinstance(error, (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError))
            # httpx' own message may carry the address with its credentials.
            raise (_MayPass if passing else RerankServerError)(
                f"The rerank server {self._server.shown} cannot be reached ({_reason(error)})."
            ) from None
        status = response.status_code
        if status == 200:
            return self._json(response)
        if status in RETRIED:
            raise _MayPass(self._refusal(status), status, response.headers.get("Retry-After"))
        raise RerankServerError(self._refusal(status), status)

    def _json(self, response: httpx.Response) -> object:
        try:
            answer: object = response.json()
        except (ValueError, RecursionError):
            raise RerankServerError(f"The rerank server {self._server.shown} returned no JSON.") from None
        return answer

    def _refusal(self, status: int) -> str:
        why = EXPLAINED.get(status, "it failed" if status >= 500 else "it refuses the request")
        return f"The rerank server {self._server.shown} answered {status}: {why}."

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def place_scores(answer: object, count: int) -> list[float]:
    """Return the score of each of ``count`` documents from a server's answer, by the results' index.

    Read are a bare list (text-embeddings-inference), ``results``, ``data`` (older Infinity) and ``rerank_results``;
    ``index`` or ``document_index``; ``relevance_score``, ``score`` or ``rerank_score``.

    Raises:
        RerankServerError: an index is missing, twice there or out of range, or a score is no finite number.
    """
    results = answer
    if isinstance(answer, Mapping):
        results = next((answer[key] for key in ("results", "data", "rerank_results") if key in answer), None)
    if not isinstance(results, list):
        raise RerankServerError("The rerank server's answer holds no list of results.")
    scores: dict[int, float] = {}
    for result in results:
        if not isinstance(result, Mapping):
            raise RerankServerError("The rerank server returned a result that is no object.")
        index = _first(result, "index", "document_index")
        score = _first(result, "relevance_score", "score", "rerank_score")
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < count:
            raise RerankServerError(f"The rerank server returned the index {_short(index)} for {count} documents.")
        if index in scores:
            raise RerankServerError(f"The rerank server returned the index {index} twice.")
        if isinstance(score, bool) or not isinstance(score, (int, float)) or not _is_finite(score):
            raise RerankServerError(f"The rerank server returned {_short(score)} as the score of document {index}.")
        scores[index] = float(score)
    if missing := count - len(scores):
        first = next(i for i in range(count) if i not in scores)
        raise RerankServerError(
            f"The rerank server returned no score for {missing} of {count} documents ({first} first)."
        )
    return [scores[i] for i in range(count)]


def _first(result: Mapping[str, object], *names: str) -> object:
    return next((result[name] for name in names if name in result), None)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int of hundreds of digits is JSON too
        return False


def _short(value: object) -> str:
    return "a number too long" if isinstance(value, int) and value.bit_length() > 128 else repr(value)[:40]


def _reason(error: httpx.HTTPError) -> str:
    return "it took too long" if isinstance(error, httpx.TimeoutException) else type(error).__name__


def _note(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    status = error.status if isinstance(error, RerankServerError) else None
    log.info("the rerank server answered %s; again in %.1f s", status or "nothing", state.upcoming_sleep)


def _wait(state: RetryCallState) -> float:
    """Return the seconds to wait: what the server asks for (seconds or a date), else 0.5, 1, 2, …; bounded."""
    seconds = 0.5 * 2.0 ** (state.attempt_number - 1)
    error = state.outcome.exception() if state.outcome is not None else None
    retry_after = error.retry_after if isinstance(error, _MayPass) else None
    if retry_after is not None:
        try:
            seconds = float(retry_after)
        except ValueError:
            try:
                seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
            except ValueError:
                log.debug("a Retry-After that is neither seconds nor a date was left aside")
    return min(max(seconds, 0.0) if math.isfinite(seconds) else LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS)


def load(spec: RerankerSpec, options: LoadOptions) -> HttpReranker:
    """Return the reranker of a server; nothing is sent yet.

    Raises:
        RerankerUnavailable: the address or an option cannot be used, or a hosted API has no key.
    """
    settings = spec.options
    url = spec.id
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RerankerUnavailable(f"The address of {spec.name} must begin with http:// or https://.")
    shape, scale = settings.get("shape") or guess_shape(url), settings.get("scale", "probability")
    if shape not in SHAPES:
        raise RerankerUnavailable(f"The shape of {spec.name} is {shape!r}; choose one of {', '.join(SHAPES)}.")
    if scale not in SCALES:
        raise RerankerUnavailable(f"The scale of {spec.name} is {scale!r}; choose one of {', '.join(SCALES)}.")
    timeout, retries = float(settings.get("timeout", 10.0)), int(settings.get("retries", 2))
    batch = int(settings.get("batch", 100))
    if not timeout > 0 or retries < 0 or batch < 1:
        raise RerankerUnavailable(f"The timeout and batch of {spec.name} must be above 0, its retries not below.")
    if shape == "memos" and options.api_key is None:
        raise RerankerUnavailable(f"The hosted reranker {spec.name} wants a key: set MNEME_RERANKER_API_KEY.")
    headers = {}
    if options.api_key is not None:
        if not options.api_key.isascii() or not options.api_key.isprintable():
            raise RerankerUnavailable("MNEME_RERANKER_API_KEY holds a character that no key has; copy it again.")
        kind = settings.get("auth", "token" if shape == "memos" else "bearer")
        headers["Authorization"] = f"{'Token' if kind == 'token' else 'Bearer'} {options.api_key}"
    server = Server(url, shape, str(settings.get("model", spec.name)), cast("Scale", scale), timeout, retries, batch)
    return HttpReranker(spec, server, headers)
