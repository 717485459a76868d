"""How often one person, or everybody in one channel, may ask in a while. Pure, given the time."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field

from cogs.memory.errors import BadRequest

KEPT = 10_000
"""So many people or channels are remembered; beyond that the one that asked longest ago is let go of."""


class TooOften(BadRequest):
    """Somebody asks faster than they may; the text says kindly when they can go on."""


@dataclass(slots=True)
class Allowance:
    """At most ``most`` in any ``seconds``, counted for each key by itself. 0 sets no limit."""

    most: int
    seconds: float = 60.0
    _times: dict[Hashable, deque[float]] = field(default_factory=dict)

    def wait(self, key: Hashable, now: float) -> float:
        """Return the seconds that a key has to wait; 0 where it may ask now."""
        times = self._times.get(key)
        while times and times[0] <= now - self.seconds:
            times.popleft()
        if self.most == 0 or not times or len(times) < self.most:
            return 0.0
        return times[0] + self.seconds - now

    def take(self, key: Hashable, now: float) -> None:
        """Count one."""
        times = self._times.pop(key, None)
        if times is None:
            times = deque(maxlen=max(1, self.most))
        times.append(now)
        self._times[key] = times  # the one that asked last stands last
        if len(self._times) > KEPT:
            del self._times[next(iter(self._times))]


class Allowances:
    """What people may ask of the bot: in commands, and in replies for themselves and for their channel."""

    def __init__(self, commands: int, replies: int, channel_replies: int) -> None:
        self._commands = Allowance(commands)
        self._replies = Allowance(replies)
        self._channel_replies = Allowance(channel_replies)
        self._told = Allowance(1)

    def command(self, user_id: int, now: float) -> None:
        """Count a command.

        Raises:
            TooOften: it is one too many.
        """
        if (seconds := self._commands.wait(user_id, now)) > 0:
            raise TooOften(f"You ask faster than I can look things up; ask me again in {_told(seconds)}.")
        self._commands.take(user_id, now)

    def reply(self, user_id: int, channel_id: int, now: float) -> str | None:
        """Count a reply; return ``None`` where there may be one, and else what to say, which is said once a minute.

        An empty text says nothing: the channel was told just before.
        """
        seconds = self._replies.wait(user_id, now)
        everybody = self._channel_replies.wait(channel_id, now)
        if seconds <= 0 and everybody <= 0:
            self._replies.take(user_id, now)
            self._channel_replies.take(channel_id, now)
            return None
        if self._told.wait(channel_id, now) > 0:
            return ""
        self._told.take(channel_id, now)
        again = f"ask me again in {_told(max(seconds, everybody))}"
        if seconds > 0:
            return f"I need a moment to catch my breath between your questions; {again}."
        return f"There are many questions here at the moment; {again}."


def _told(seconds: float) -> str:
    whole = max(1, round(seconds))
    return "a second" if whole == 1 else f"{whole} seconds"
