"""How the work on a text grows with its length: worst cases made at random from what a pattern looks for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

SHORT, LONG = 4_000, 40_000
#: Ten times the text may take ten times the work; quadratic work would take a hundred times.
MOST_GROWTH = 40.0
#: Below this much processor time the clock's own steps are all that is measured.
RESOLUTION = 0.004

ATOMS = (
    " ", "\n", "\t", "a", "1", "12", "[", "]", "](", "(", ")", "<", ">", "@", "@everyone", "`", "```", "\\", "/", ":",
    "https://x", "[x](", "](x)", "<@", "<@1>", "<#1>", "<t:", "<a:b:1>", "</a:", '"', "'", "-", "#", "*", "_", "~", "|",
    "\u0301", "\u0315", "\u200d", "\u200b", "火", "火山", "é", "😀", "\u202e", "<think>", "</think>", ",", ";", ".",
    "[1]", "[1,", "since ", "3 ", "may ", "in ", "<evidence>", "\r", "\u2028", "\x00", "\ud800",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A text of any length: a beginning, something repeated, an end."""

    prefix: str
    pump: str
    suffix: str

    def text(self, length: int) -> str:
        """Return the case with about ``length`` characters."""
        return self.prefix + self.pump * (length // len(self.pump)) + self.suffix


def cases(seed: int, count: int, atoms: Sequence[str] = ATOMS) -> Iterator[Case]:
    """Yield cases, the same for the same seed."""
    drawn = random.Random(seed)

    def some(least: int, most: int) -> str:
        return "".join(drawn.choice(atoms) for _ in range(drawn.randint(least, most)))

    for _ in range(count):
        yield Case(some(0, 2), some(1, 3), some(0, 2))


def work(run: Callable[[str], object], text: str, times: int = 1) -> float:
    """Return the least processor time, in seconds, that ``run`` takes for a text."""
    least = float("inf")
    for _ in range(times):
        before = time.process_time()
        run(text)
        least = min(least, time.process_time() - before)
    return least


def grows_too_fast(run: Callable[[str], object], case: Case) -> float | None:
    """Return by how much the work grows from 4,000 to 40,000 characters, where that is more than in proportion.

    Shorter texts come first, so that work that doubles with every character is seen before it would take for ever.
    """
    before = work(run, case.text(25))
    for length in (100, 400, 1_600, SHORT):
        now = work(run, case.text(length))
        if now > 10 * RESOLUTION and now > 12 * max(before, RESOLUTION):
            now, before = work(run, case.text(length), 3), work(run, case.text(length // 4), 3)
            if now > 12 * max(before, RESOLUTION):
                return now / max(before, RESOLUTION / 10)
        before = now
    short = before
    if short < RESOLUTION / 10:
        # Even a hundred times as much would hardly be seen; look at the long text only.
        long = work(run, case.text(LONG))
        if long < 10 * RESOLUTION:
            return None
    short, long = work(run, case.text(SHORT), 3), work(run, case.text(LONG), 3)
    growth = long / max(short, RESOLUTION / 10)
    return growth if long > RESOLUTION and growth > MOST_GROWTH else None
