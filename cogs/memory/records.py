"""The records that cross the seams of the memory: plain, frozen, free of Discord and of SQL.

Every id is a Discord snowflake held as an ``int``; every time is an aware UTC ``datetime``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

MessageKind = Literal["default", "reply", "system"]
Has = Literal["link", "embed", "file", "image", "video", "sound", "voice", "sticker", "poll"]
AuthorKind = Literal["person", "bot"]
Order = Literal["best", "newest", "oldest"]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file on a message. ``size`` is in bytes."""

    id: int
    filename: str
    url: str
    content_type: str | None = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """One message as it arrives from the gateway, a backfill or an export.

    ``author_name`` is what others see; ``author_username`` is the account's own name, which people search by as well.
    """

    id: int
    guild_id: int
    channel_id: int
    author_id: int
    author_name: str
    content: str
    created_at: dt.datetime
    author_is_bot: bool = False
    edited_at: dt.datetime | None = None
    reply_to_id: int | None = None
    kind: MessageKind = "default"
    attachments: tuple[Attachment, ...] = ()
    embed_text: str = ""
    author_username: str = ""
    webhook: bool = False
    """Whether a webhook wrote it; ``author_id`` is then its number and no person's."""
    proxied_for: int | None = None
    """The person for whom a webhook wrote it, where a proxy (PluralKit) said so."""
    forwarded_from: int | None = None
    """The message that it forwards."""
    quoted: tuple[int, ...] = ()
    """The people whom its embeds name as authors of what they show."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The channels (threads included) that the reader of an answer may read, by guild.

    There is no search without one, and an empty one finds nothing. It is applied inside the search.
    """

    channels: Mapping[int, frozenset[int]]

    @classmethod
    def of(cls, guild_id: int, channel_ids: Sequence[int] | frozenset[int]) -> Scope:
        """Return the scope of one guild."""
        return cls({guild_id: frozenset(channel_ids)})

    @property
    def channel_ids(self) -> frozenset[int]:
        """Every channel of every guild of the scope."""
        return frozenset().union(*self.channels.values())

    def within(self, guild_id: int) -> Scope:
        """Return what of the scope lies in one guild."""
        ids = self.channels.get(guild_id)
        return Scope({guild_id: ids} if ids else {})

    def narrowed(self, channel_ids: frozenset[int]) -> Scope:
        """Return the scope cut down to ``channel_ids``; it can only become smaller."""
        return Scope({guild: ids & channel_ids for guild, ids in self.channels.items() if ids & channel_ids})


@dataclass(frozen=True, slots=True)
class Filters:
    """What a person asked for beside the words; ``before`` is exclusive, ``after`` inclusive.

    ``mentions`` are people whose mention a message holds, ``host`` is of a link in it, ``file_type`` the ending of a
    file's name without its dot.
    """

    author_ids: frozenset[int] | None = None
    after: dt.datetime | None = None
    before: dt.datetime | None = None
    has: Has | None = None
    label: str | None = None
    mentions: frozenset[int] | None = None
    host: str | None = None
    file_type: str | None = None
    author_kind: AuthorKind | None = None


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as the repository returns it."""

    id: int
    guild_id: int
    channel_id: int
    author_id: int
    author_name: str
    content: str
    created_at: dt.datetime
    edited_at: dt.datetime | None
    reply_to_id: int | None
    attachments: tuple[Attachment, ...] = ()
    embed_text: str = ""
    channel_name: str = ""
    labels: tuple[str, ...] = ()
    author_is_bot: bool = False

    @property
    def jump_url(self) -> str:
        """The link that opens the message in a Discord client."""
        return f"https://discord.com/channels/{self.guild_id}/{self.channel_id}/{self.id}"


@dataclass(frozen=True, slots=True)
class Turn:
    """One recent turn of the conversation that a query stands in.

    ``message_id`` where it is a message; ``quotes`` are the messages that it quotes where it is a reply of the bot.
    """

    author_name: str
    content: str
    message_id: int | None = None
    quotes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RecallRequest:
    """A question to the memory. ``limit`` is the number of hits, 1 to 50.

    ``explain`` returns the order of every stage as well; ``evidence`` asks a reranker that can for the evidence in the
    hits, which is shorter than they are. Whoever asked the same before did not answer it: of messages that only repeat
    a question the best is the ``last`` hit, not judged, or there are ``none``; ``any`` counts them like all others.
    """

    query: str
    scope: Scope
    filters: Filters = field(default_factory=Filters)
    limit: int = 10
    turns: tuple[Turn, ...] = ()
    asked_at: dt.datetime | None = None
    explain: bool = False
    evidence: bool = False
    repeated: Literal["last", "none", "any"] = "last"
    exclude_ids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Hit:
    """One remembered message and why it was found.

    ``rerank_score`` is a probability in [0, 1], or ``None`` where the answer is in fused order;
    ``raw_score`` is the reranker's own number; ``fused_score`` is the first stage's, in [0, 1]. ``replaces`` is the
    id of the hit that said what held before this one, ``replaced_by`` of the one that says what holds since.
    """

    message: StoredMessage
    fused_score: float
    rerank_score: float | None = None
    raw_score: float | None = None
    evidence: str | None = None
    contribution: str | None = None
    replaces: int | None = None
    replaced_by: int | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the memory reaches within a scope."""

    messages: int
    channels: int
    since: dt.datetime | None


@dataclass(frozen=True, slots=True)
class RecallResult:
    """The answer to a :class:`RecallRequest`.

    ``degraded`` is a sentence for the reader where the order is not the reranker's, else ``None``.
    ``reranker`` names what scored the hits. ``seconds`` holds the time of each stage. ``stages`` maps
    ``keyword``, ``semantic``, ``fused``, ``judged`` (before what changed is put first) and ``reranked`` to ``(message
    id, score)`` in order, only where asked.
    ``order`` says how the hits are sorted; without a query they are listed by time.
    """

    hits: tuple[Hit, ...]
    reach: Reach
    profile: str
    reranker: str | None = None
    degraded: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    stages: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    order: Order = "best"


@dataclass(frozen=True, slots=True)
class Conversation:
    """A message with the talk around it, the oldest first.

    ``answers_to`` is the message that it replies to, where that lies further up; ``answered_by`` are replies to it that
    lie further down. ``earlier`` and ``later`` say whether the channel holds more in that direction.
    """

    message: StoredMessage
    turns: tuple[StoredMessage, ...]
    answers_to: StoredMessage | None = None
    answered_by: tuple[StoredMessage, ...] = ()
    earlier: bool = False
    later: bool = False


JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """A channel or thread; a thread's ``nsfw`` is its parent's. ``confirmed`` where Discord tells of it, no file."""

    id: int
    guild_id: int
    name: str
    kind: Literal["text", "voice", "forum", "thread"] = "text"
    parent_id: int | None = None
    nsfw: bool = False
    private: bool = False
    confirmed: bool = True


@dataclass(frozen=True, slots=True)
class ProfileReport:
    """A profile and whether this machine can run it; ``reason`` says why not."""

    name: str
    description: str
    active: bool
    runnable: bool
    reason: str | None = None
    reranker: str | None = None
    embedder: str = ""


@dataclass(frozen=True, slots=True)
class PersonSummary:
    """What is stored about one person; ``opted_out`` where they said stop."""

    messages: int
    channels: int
    first: dt.datetime | None
    last: dt.datetime | None
    opted_out: bool


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the memory as administrators read it. Times in seconds; ``index`` is a phrase.

    ``latency`` maps a stage to its percentiles, e.g. ``{"recall": {"p50": 0.04, "p95": 0.11}}``.
    """

    messages: int
    channels: int
    queue: int
    profile: str
    embedder: str
    reranker: str | None
    device: str
    index: str
    last_error: str | None
    latency: Mapping[str, Mapping[str, float]]
    uptime: float
    degraded: str | None = None
    tokens_saved: int = 0
    set_aside: int = 0


@dataclass(frozen=True, slots=True)
class PreparedPassage:
    """What a reranker computed of a document ahead of any query; ``key`` names model, revision, form and text."""

    key: str
    data: bytes = field(repr=False)
