"""The fastest attention kernel on this GPU, measured on the model itself when it is loaded."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Sequence
from subprocess import SubprocessError
from typing import Final

import torch
from torch import Tensor

from cogs.memory.rerankers.packed.attention import PerDocument
from cogs.memory.rerankers.packed.decoder import PackedDecoder
from cogs.memory.rerankers.packed.kernels import STRATEGIES, Strategy
from cogs.memory.rerankers.packed.prefix_cache import KeyValues
from cogs.memory.rerankers.packed.shapes import Record, ShapedDecoder

log = logging.getLogger(__name__)

CANDIDATES: Final[tuple[Strategy, ...]] = ("padded", "varlen", "flex")
ROUNDS: Final = 5
TOLERANCE: Final = 0.04
"""By how much of its length a result may differ from that of one document after another.

On 28 layers of random weights in bfloat16, rounding makes 0.013 to 0.015 of it, and one key that is not seen 0.05 to
0.06, measured on a processor.
"""


def fastest(
    decoder: PackedDecoder, record: Record | None, candidates: Sequence[Strategy] = CANDIDATES
) -> Strategy | None:
    """Return the fastest kernel of those that run here and compute the right result; ``None`` if none does.

    Forty documents of chat's lengths after a beginning, as a recall has them. The decoder attends per document
    afterwards; the caller sets what it wants.
    """
    vocabulary = decoder.vocabulary
    beginning = [7 * place % vocabulary for place in range(60)]
    tails = [[(11 * number + 13 * place) % vocabulary for place in range(8 + number)] for number in range(40)]
    decoder.attention = PerDocument
    _, past = decoder.forward(None, beginning[:40], [])
    right = decoder.forward(past, beginning[40:], tails)[0].cpu().float()
    seconds: dict[Strategy, float] = {}
    for name in candidates:
        decoder.attention = STRATEGIES[name]
        try:
            found, taken = _measured(ShapedDecoder(decoder, record), past, beginning[40:], tails)
        except (RuntimeError, NotImplementedError, ImportError, OSError, SubprocessError) as error:
            # No such kernel, no compiler for it, or not enough memory: another way remains.
            log.info("attention %s does not work here (%s): %s", name, type(error).__name__, error)
            continue
        apart = float((found - right).norm() / right.norm())
        if apart <= TOLERANCE:
            seconds[name] = taken
        else:
            log.warning("attention %s computes something else here (by %.2g); it is not used", name, apart)
    decoder.attention = PerDocument
    if not seconds:
        log.warning("no way of attending to all documents at once works here; they are attended to one after another")
        return None
    log.info("attention: %s", ", ".join(f"{name} {taken * 1000:.1f} ms" for name, taken in seconds.items()))
    return min(seconds, key=lambda name: seconds[name])


def _measured(
    shaped: ShapedDecoder, past: KeyValues, head: Sequence[int], tails: Sequence[Sequence[int]]
) -> tuple[Tensor, float]:
    """Return the result of the last of several passes, and the median time of those that are not the first ones."""
    times = []
    for _ in range(ROUNDS + 2):  # the first compiles, the second records
        begun = time.perf_counter()
        found = shaped.read(past, head, tails).cpu()
        times.append(time.perf_counter() - begun)
    return found.to(torch.float32), statistics.median(times[2:])
