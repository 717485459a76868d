"""``/api/v1``: what a member may recall, for programs. A token stands for one member and reads what they may read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from cogs.commands import recall as recall_command
from cogs.commands.around import around
from cogs.commands.catch_up import CatchUpCommand, catch_up
from cogs.commands.recall import RecallCommand
from cogs.memory.recall.limits import MAX_LIMIT, QUERY_CHARACTERS
from cogs.memory.records import Has, Order
from cogs.web import offered
from cogs.web.signed_in import WithToken

router = APIRouter(prefix="/api/v1", tags=["memory"])
Snowflake = Annotated[str, Path(pattern=r"^[0-9]{1,19}$", description="An id of Discord, as a string.")]
Words = Annotated[str, Field(min_length=1, max_length=100)]
Failed = {"description": "One sentence that says what is wrong."}
RESPONSES: dict[int | str, dict[str, Any]] = {400: Failed, 401: Failed, 403: Failed, 404: Failed, 429: Failed}


class RecallQuestion(BaseModel):
    """A question; the options are those of ``/recall``."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[str, Field(max_length=QUERY_CHARACTERS)] = ""
    channel: Annotated[list[Words], Field(max_length=25)] = []
    author: Words | None = None
    before: Words | None = None
    after: Words | None = None
    during: Words | None = None
    has: Has | None = None
    mentions: Words | None = None
    file_type: Annotated[str, Field(min_length=1, max_length=10)] | None = None
    host: Words | None = None
    author_type: Literal["people", "bots"] | None = None
    sort: Order | None = None
    label: Words | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 10


@router.post("/recall", responses=RESPONSES)
async def recall(question: RecallQuestion, signed_in: WithToken) -> dict[str, Any]:
    """Find what was said, the best first, each hit with its ``rerank_score`` and a link. Texts are quotations."""
    options = question.model_dump()
    command = RecallCommand(**{**options, "channel": tuple(options["channel"])})
    answer = await recall_command.recall(signed_in.context.service, signed_in.asker, command)
    return answer.as_json()


@router.get("/messages/{message_id}", responses=RESPONSES)
async def message(message_id: Snowflake, signed_in: WithToken) -> dict[str, Any]:
    """Return one remembered message; one that may not be read is answered as if it did not exist."""
    return await offered.message(signed_in.context.service, signed_in.visitor.scope, int(message_id))


@router.get("/messages/{message_id}/around", responses=RESPONSES)
async def message_around(
    message_id: Snowflake,
    signed_in: WithToken,
    before: Annotated[int, Query(ge=0, le=25)] = 3,
    after: Annotated[int, Query(ge=0, le=25)] = 3,
) -> dict[str, Any]:
    """Return a message with the turns around it, what it answers, and what answers it."""
    answer = await around(
        signed_in.context.service, signed_in.asker, min(int(message_id), offered.LARGEST), before, after
    )
    return answer.as_json()


class CatchUpQuestion(BaseModel):
    """The options of ``/catchup``."""

    model_config = ConfigDict(extra="forbid")

    since: Words | None = None
    channel: Words | None = None


@router.post("/catch-up", responses=RESPONSES)
async def catch_up_since(question: CatchUpQuestion, signed_in: WithToken) -> dict[str, Any]:
    """Return what was talked about since a time, or since the member last wrote, by conversation."""
    command = CatchUpCommand(**question.model_dump())
    return (await catch_up(signed_in.context.service, signed_in.asker, command)).as_json()


@router.get("/status", responses=RESPONSES)
async def status(signed_in: WithToken) -> dict[str, Any]:
    """Return how far the memory reaches for this member, and which models answer."""
    return await offered.status(signed_in.context.service, signed_in.visitor)
