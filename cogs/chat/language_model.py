"""A language model behind any OpenAI-compatible endpoint, streamed, with a limit on every wait."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx2
import openai
from openai.types.chat import ChatCompletionChunk
from pydantic import SecretStr

from cogs.memory.errors import MnemeError

log = logging.getLogger(__name__)

#: Many times what a reply on Discord can show, and what a model may think before it. The endpoint is asked for
#: ``max_tokens``, but it need not keep to them.
MOST_CHARACTERS = 20_000
MOST_PIECES = 20_000
MOST_BYTES = 16 * 2**20

#: Endpoints that want no key still get a header, because the client insists on one.
_NO_KEY = "none"


class LlmError(MnemeError):
    """The language model gave no usable answer; the message is one sentence without secrets."""


class LlmUnreachable(LlmError):
    """No connection to the endpoint."""


class LlmTimeout(LlmError):
    """The endpoint took too long to connect, to begin, or to go on; ``stage`` says which."""

    def __init__(self, message: str, stage: str) -> None:
        super().__init__(message)
        self.stage = stage


class LlmRefused(LlmError):
    """The endpoint answered with an error; ``status`` is the HTTP status, or ``None`` for an error mid-stream."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


class ModelSettings(Protocol):
    """The part of the settings that names the model."""

    llm_base_url: str | None
    llm_model: str | None
    llm_api_key: SecretStr | None


class ChatModel:
    """One model at one endpoint. Use :meth:`stream`; call :meth:`close` at the end.

    Args:
        base_url: The endpoint up to and including ``/v1``.
        model: The model's name as the endpoint knows it.
        api_key: Optional; many local servers want none.
        connect_timeout: Seconds to reach the endpoint.
        first_token_timeout: Seconds from the request to the first words, retries included.
        stall_timeout: Seconds between two pieces of the stream.
        total_timeout: Seconds for the whole answer, whatever it does.
        max_tokens: The longest answer.
        temperature: The sampling temperature, 0 for the likeliest words.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: SecretStr | None = None,
        *,
        connect_timeout: float = 5.0,
        first_token_timeout: float = 60.0,
        stall_timeout: float = 20.0,
        total_timeout: float = 240.0,
        max_tokens: int = 600,
        temperature: float = 0.2,
    ) -> None:
        self.model = model
        self._host = _host_of(base_url)
        self._first_token_timeout = first_token_timeout
        self._stall_timeout = stall_timeout
        self._total_timeout = total_timeout
        self._max_tokens = max_tokens
        self._temperature = temperature
        key = api_key.get_secret_value().strip() if api_key is not None else ""
        if not key.isascii() or any(character.isspace() for character in key):
            raise LlmError("MNEME_LLM_API_KEY holds a character that no key can have; copy it again.")
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=key or _NO_KEY,
            timeout=openai.Timeout(max(first_token_timeout, stall_timeout), connect=connect_timeout),
            max_retries=1,
            http_client=openai.DefaultAsyncHttpxClient(
                transport=_Bounded(), headers={"Accept-Encoding": "identity"}, follow_redirects=False
            ),
        )

    async def stream(self, messages: Sequence[dict[str, str]]) -> AsyncGenerator[str, None]:
        """Yield the answer piece by piece, and no more than :data:`MOST_CHARACTERS` in :data:`MOST_PIECES`.

        Raises:
            LlmUnreachable, LlmTimeout, LlmRefused: no answer, or no whole one; what was yielded before stands.
        """
        deadline = time.monotonic() + self._total_timeout
        stream = await self._within(self._first_token_timeout, deadline, "first token", self._open(messages))
        stage, limit = "first token", self._first_token_timeout
        try:
            chunks = stream.__aiter__()
            left = MOST_CHARACTERS
            for _ in range(MOST_PIECES):
                chunk = await self._within(limit, deadline, stage, anext(chunks, None))
                if chunk is None:
                    return
                text = _text_of(chunk)
                if text:
                    stage, limit = "stream", self._stall_timeout
                    yield text[:left]
                    left -= len(text)
                if left <= 0:
                    break
            log.warning("the language model at %s does not stop; the rest of its answer is left out", self._host)
        finally:
            await stream.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _open(self, messages: Sequence[dict[str, str]]) -> openai.AsyncStream[ChatCompletionChunk]:
        typed: Any = list(messages)
        return await self._client.chat.completions.create(
            model=self.model,
            messages=typed,
            stream=True,
            max_tokens=self._max_tokens,
            temperature=self._temperature,
        )

    async def _within(self, limit: float, deadline: float, stage: str, step: Any) -> Any:
        """Await one step inside its limit and turn the client's errors into sentences without secrets."""
        try:
            async with asyncio.timeout(max(0.0, min(limit, deadline - time.monotonic()))):
                return await step
        except TimeoutError:
            log.warning("the language model at %s timed out (%s)", self._host, stage)
            if time.monotonic() >= deadline:
                told = "took too long over its answer"
            else:
                told = "did not begin to answer in time" if stage == "first token" else "fell silent in mid-answer"
            raise LlmTimeout(f"The language model {told}.", stage) from None
        except openai.APITimeoutError:
            log.warning("the language model at %s timed out (connect or read)", self._host)
            raise LlmTimeout("The language model did not answer in time.", "connect") from None
        except openai.APIConnectionError as error:
            log.warning("no connection to the language model at %s (%s, %s)", self._host, stage, _cause(error))
            if stage == "stream":
                raise LlmRefused("The language model broke off its answer.", None) from None
            raise LlmUnreachable("The language model cannot be reached.") from None
        except openai.APIStatusError as error:
            log.warning("the language model at %s answered with status %d", self._host, error.status_code)
            raise LlmRefused(_refusal(error.status_code), error.status_code) from None
        except (openai.OpenAIError, ValueError) as error:
            # An error told inside the stream, or an answer that is no JSON.
            log.warning("the language model at %s broke off (%s)", self._host, type(error).__name__)
            raise LlmRefused("The language model broke off its answer.", None) from None


class _Bounded(httpx2.AsyncHTTPTransport):
    """Passes on no more of an answer than anything that is wanted can take, and nothing compressed."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            await response.aclose()
            raise httpx2.RemoteProtocolError("the answer is compressed")
        response.stream = _BoundedStream(response.stream)
        return response


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_BYTES
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise httpx2.RemoteProtocolError("the answer is too long")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def model_from_settings(settings: ModelSettings) -> ChatModel | None:
    """Return the model that the settings name, or ``None`` where they name none.

    Raises:
        LlmError: only half of it is set, or the address is none.
    """
    if settings.llm_base_url is None and settings.llm_model is None:
        return None
    if settings.llm_base_url is None or settings.llm_model is None:
        missing = "MNEME_LLM_MODEL" if settings.llm_model is None else "MNEME_LLM_BASE_URL"
        raise LlmError(f"{missing} is missing: set MNEME_LLM_BASE_URL and MNEME_LLM_MODEL together, or neither.")
    if not _is_address(settings.llm_base_url):
        raise LlmError("MNEME_LLM_BASE_URL is no address; it looks like http://127.0.0.1:8000/v1.")
    return ChatModel(settings.llm_base_url, settings.llm_model, settings.llm_api_key)


def _text_of(chunk: ChatCompletionChunk) -> str:
    if not chunk.choices or chunk.choices[0].delta is None:
        return ""  # A usage record at the end has no choice.
    return chunk.choices[0].delta.content or ""


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _host_of(url: str) -> str:
    """Return only host and port for the log: an address may carry a password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""


def _cause(error: BaseException) -> str:
    return type(error.__cause__ or error).__name__


def _refusal(status: int) -> str:
    if status in (401, 403):
        return "The language model refused the key; check MNEME_LLM_API_KEY."
    if status == 404:
        return "The language model does not exist at its address; check MNEME_LLM_MODEL and MNEME_LLM_BASE_URL."
    if status == 429:
        return "The language model has too much to do just now."
    if status >= 500:
        return "The language model failed on its own side."
    return f"The language model refused the request (status {status})."
