"""A reply to a person: recall within their scope, ask the language model, and say what the answer rests on.

Free of Discord. The cog turns each :class:`ReplyUpdate` into an edit, at the pace of a :class:`Pacer`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from cogs.chat.language_model import LlmError, model_from_settings
from cogs.chat.prompt import Prompt, TokenCounter, approximate_tokens, build_prompt
from cogs.chat.rendering import Answer, extractive_answer, render_answer, without_reasoning
from cogs.memory.errors import BadRequest
from cogs.memory.records import Hit, RecallRequest, RecallResult, Scope, StoredMessage, Turn
from cogs.memory.text.model_input import body
from cogs.memory.text.presentation import degraded_notice, empty_sentence
from cogs.memory.text.sanitize import visible

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService
    from config.settings import Settings

log = logging.getLogger(__name__)

QUERY_LIMIT = 1000
"""A longer question is cut to this many characters for the search; the model still reads all of it."""


STARTS = 2
"""How often a reply is begun while what it rests on changes; then the memories are quoted without a model."""
LOOK_SECONDS = 1.0
"""So often a growing reply looks whether what it rests on still stands."""
UPDATE_SECONDS = 0.2
CHANGED = "What I was answering from was changed meanwhile."
NOTHING_YET = Answer("…", "…", ())


class Recaller(Protocol):
    """The part of the memory service that a reply needs."""

    async def recall(self, request: RecallRequest) -> RecallResult:
        """Answer a request."""
        ...

    async def messages(self, message_ids: Collection[int], scope: Scope) -> list[StoredMessage]:
        """Return those messages that exist and lie in the scope now."""
        ...


class Withdrawn(Exception):
    """Something that a reply rests on was deleted, edited or closed off while it was written."""


class Streamer(Protocol):
    """A language model: see :class:`cogs.chat.language_model.ChatModel`."""

    def stream(self, messages: Sequence[dict[str, str]]) -> AsyncGenerator[str, None]:
        """Yield the answer piece by piece."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


@dataclass(frozen=True, slots=True)
class ReplyUpdate:
    """The whole reply so far.

    ``text`` is ready for Discord (at most 2,000 characters, no mention that pings, citations as jump links) and
    ``plain`` is the same for a terminal. ``cited`` holds the ids of the messages that it cites, ``given`` those that
    the model was shown, and ``rests_on`` these and the turns: all that the reply may repeat. ``extractive`` says that
    no model wrote it. ``result`` is the recall behind it, which names the reranker that scored it. ``withdrawn`` says
    that what was shown before must go at once.
    """

    text: str
    plain: str
    final: bool
    cited: tuple[int, ...] = ()
    given: tuple[int, ...] = ()
    extractive: bool = False
    notice: str | None = None
    tokens_saved: int = 0
    result: RecallResult | None = None
    withdrawn: bool = False
    rests_on: tuple[int, ...] = ()


class ChatService:
    """Replies to questions with what the memory holds.

    Args:
        memory: The memory service.
        llm: The language model, or ``None`` for extractive answers.
        context_tokens: The budget of the prompt's context block.
        limit: How many memories are recalled for a reply.
        count: The model's tokenizer, or the approximation.
        on_tokens_saved: Told of the tokens that evidence saved in each prompt, for the status.
        clock: Returns the present, aware.
        seconds_between_looks: How often a growing reply looks whether its memories still stand.
        seconds_between_updates: How often a growing reply is rendered anew at most.
    """

    def __init__(
        self,
        memory: Recaller,
        llm: Streamer | None,
        *,
        context_tokens: int = 2000,
        limit: int = 8,
        count: TokenCounter = approximate_tokens,
        on_tokens_saved: Callable[[int], None] | None = None,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        seconds_between_looks: float = LOOK_SECONDS,
        seconds_between_updates: float = UPDATE_SECONDS,
    ) -> None:
        self._memory = memory
        self._llm = llm
        self._context_tokens = context_tokens
        self._limit = limit
        self._count = count
        self._on_tokens_saved = on_tokens_saved
        self._clock = clock
        self._seconds_between_looks = seconds_between_looks
        self._seconds_between_updates = seconds_between_updates

    async def close(self) -> None:
        """Close the connections to the language model."""
        if self._llm is not None:
            await self._llm.close()

    async def reply(
        self,
        question: str,
        scope: Scope,
        turns: Sequence[Turn] = (),
        *,
        asker: str = "",
        exclude_ids: frozenset[int] = frozenset(),
        names: Callable[[Scope], Mapping[int, str]] | None = None,
        scope_now: Callable[[], Awaitable[Scope]] | None = None,
        turns_now: Callable[[Scope], Awaitable[Sequence[Turn]]] | None = None,
    ) -> AsyncGenerator[ReplyUpdate, None]:
        """Yield the reply as it grows; the last update is ``final``, and there is always one.

        A model may write for a minute. Where a memory or a turn that it was given is deleted or edited meanwhile, or
        can no longer be read by everybody, an update that is ``withdrawn`` takes the reply back, and it begins anew.

        Args:
            question: What was asked, without the mention of the bot.
            scope: What everybody who will see the reply may read; memories come from nowhere else.
            turns: The recent turns of the channel, oldest first, without the question.
            asker: Who asks.
            exclude_ids: Messages that are no memory here: the question itself, the bot's own answers.
            names: Returns names of roles and channels by id, of things that the readers of a scope may know of.
            scope_now: Returns the scope as it is at the moment of the call; by default it stays what it was.
            turns_now: Returns the turns as they are at the moment of the call; by default they are left out of a
                second beginning.

        Raises:
            BadRequest: nothing was asked.
            MnemeError: the memory cannot be searched.
        """
        asked = visible(question).strip()
        if not asked:
            raise BadRequest("Ask me something: I answer with what I remember of this server.")
        now = self._clock()
        readable = scope_now or _always(scope)
        failure = CHANGED
        for start in range(STARTS):
            if start:
                scope = await readable()
                turns = () if turns_now is None else await turns_now(scope)
            request = RecallRequest(
                query=asked[:QUERY_LIMIT],
                scope=scope,
                limit=self._limit,
                turns=tuple(turns),
                asked_at=now,
                exclude_ids=exclude_ids,
                evidence=True,
                repeated="none",
            )
            result = await self._memory.recall(request)
            if self._llm is None:
                yield await asyncio.to_thread(self._extractive, result, now, None, names and names(scope))
                return
            prompt = await asyncio.to_thread(
                build_prompt,
                asked,
                result.hits,
                turns,
                asker=asker,
                budget=self._context_tokens,
                count=self._count,
                names=names and names(scope),
            )
            if prompt.tokens_saved and self._on_tokens_saved is not None:
                self._on_tokens_saved(prompt.tokens_saved)
            try:
                ground = await self._ground(prompt, turns, scope)
                async with aclosing(self._written(self._llm, prompt, result, now, ground, readable)) as updates:
                    async for update in updates:
                        yield update
            except Withdrawn:
                yield replace(self._update(prompt, result, NOTHING_YET, final=False), withdrawn=True)
            except LlmError as error:
                failure = str(error)
                break
            else:
                return
        scope = await readable()
        found = {hit.message.id: body(hit.message) for hit in result.hits}
        if await self._said(found, scope) != found:
            # Seconds have passed since the search.
            result = await self._memory.recall(replace(request, scope=scope, turns=()))
        yield await asyncio.to_thread(self._extractive, result, now, failure, names and names(scope))

    async def _written(
        self,
        llm: Streamer,
        prompt: Prompt,
        result: RecallResult,
        now: dt.datetime,
        ground: Mapping[int, str],
        readable: Callable[[], Awaitable[Scope]],
    ) -> AsyncGenerator[ReplyUpdate, None]:
        """Yield what the model writes, the last update final.

        Raises:
            LlmError: the model failed, or had nothing to say.
            Withdrawn: the ground does not stand any more; looked at now and then, and before the last update.
        """
        written: list[str] = []
        due, next_update = time.monotonic() + self._seconds_between_looks, 0.0
        async with aclosing(llm.stream(prompt.messages)) as pieces:
            async for piece in pieces:
                written.append(piece)
                if time.monotonic() >= due:
                    await self._require(ground, readable)
                    due = time.monotonic() + self._seconds_between_looks
                # Rendering takes in all that was written, so it is done now and then and not for each piece.
                if time.monotonic() < next_update:
                    continue
                said, answer = await asyncio.to_thread(_rendered, written, prompt.given, now, final=False)
                next_update = time.monotonic() + self._seconds_between_updates
                if said:
                    yield replace(self._update(prompt, result, answer, final=False), rests_on=tuple(ground))
        said, answer = await asyncio.to_thread(_rendered, written, prompt.given, now, final=True)
        if not said:
            log.warning("the language model returned no words")
            raise LlmError("The language model returned nothing.")
        await self._require(ground, readable)
        yield replace(self._update(prompt, result, answer, final=True), rests_on=tuple(ground))

    async def _ground(self, prompt: Prompt, turns: Sequence[Turn], scope: Scope) -> dict[int, str]:
        """Map the messages that a prompt shows to what they say; turns that nobody remembers are left out."""
        turned = [turn.message_id for turn in turns if turn.message_id is not None]
        turned += [message_id for turn in turns for message_id in turn.quotes]
        ground = await self._said(turned, scope)
        return ground | {hit.message.id: body(hit.message) for hit in prompt.given}

    async def _require(self, ground: Mapping[int, str], readable: Callable[[], Awaitable[Scope]]) -> None:
        if await self._said(ground, await readable()) != ground:
            raise Withdrawn

    async def _said(self, message_ids: Collection[int], scope: Scope) -> dict[int, str]:
        """Map those messages that the memory holds within the scope to what they say now."""
        return {m.id: body(m) for m in await self._memory.messages(message_ids, scope)} if message_ids else {}

    def _update(self, prompt: Prompt, result: RecallResult, answer: Answer, *, final: bool) -> ReplyUpdate:
        return ReplyUpdate(
            text=answer.text,
            plain=answer.plain,
            final=final,
            cited=answer.cited,
            given=tuple(hit.message.id for hit in prompt.given),
            notice=degraded_notice(result),
            tokens_saved=prompt.tokens_saved,
            result=result,
        )

    def _extractive(
        self, result: RecallResult, now: dt.datetime, failure: str | None, names: Mapping[int, str] | None
    ) -> ReplyUpdate:
        answer = extractive_answer(result.hits, now, empty_sentence(result.reach, now), failure=failure, names=names)
        return ReplyUpdate(
            text=answer.text,
            plain=answer.plain,
            final=True,
            cited=answer.cited,
            given=answer.cited,
            rests_on=answer.cited,
            extractive=True,
            notice=failure or degraded_notice(result),
            result=result,
        )


def _rendered(written: Sequence[str], given: Sequence[Hit], now: dt.datetime, *, final: bool) -> tuple[str, Answer]:
    """Return what a model has said so far, and how it is shown."""
    said = without_reasoning(visible("".join(written)), final=final)
    return said, render_answer(said, given, now)


def _always(scope: Scope) -> Callable[[], Awaitable[Scope]]:
    async def same() -> Scope:
        return scope

    return same


def build_chat(
    settings: Settings, service: MemoryService, clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
) -> ChatService:
    """Return the chat service that the settings describe, extractive where they name no language model.

    ``clock`` tells the present in the zone in which times are written out.

    Raises:
        LlmError: only half of a language model is set.
    """

    llm = model_from_settings(settings)
    return ChatService(
        service,
        llm,
        context_tokens=settings.llm_context_tokens,
        on_tokens_saved=service.count_saved_tokens,
        clock=clock,
    )


def question_of(content: str, bot_id: int) -> str:
    """Return what a message asks the bot: its text without the bot's own mention."""
    parts = re.split(rf"<@!?{bot_id}>", content)
    return " ".join(part.strip() for part in parts).strip() if len(parts) > 1 else content.strip()
