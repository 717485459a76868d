"""The ways of reranking that the benchmark compares, their targets, and whether they were reached."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from cogs.bench.measure import PathPlan
from cogs.bench.report import Bench, Target

PUBLISHED_32, PUBLISHED_16 = "qwen3: published float32", "qwen3: published bfloat16"
PEER: Final = "qwen3: CrossEncoder bfloat16"
PACKED_32, PACKED_16, PACKED_8 = "qwen3: mneme float32", "qwen3: mneme bfloat16", "qwen3: mneme int8"
CARD, LYCHEE_32, LYCHEE_16 = "lycheemem: card float32", "lycheemem: mneme float32", "lycheemem: mneme bfloat16"
PLANS: Final = (
    PathPlan(PUBLISHED_32, PUBLISHED_16, "float32"),
    PathPlan(PUBLISHED_16, PUBLISHED_16, "bfloat16"),
    PathPlan(PEER, PUBLISHED_16, "bfloat16"),
    PathPlan(PACKED_32, PUBLISHED_16, "float32"),
    PathPlan(PACKED_16, PUBLISHED_16, "bfloat16"),
    PathPlan(PACKED_8, PUBLISHED_16, "int8"),
    PathPlan(CARD, CARD, "float32"),
    PathPlan(LYCHEE_32, CARD, "float32"),
    PathPlan(LYCHEE_16, CARD, "bfloat16"),
    *(
        PathPlan(f"minilm-l{layers}: {path}", f"minilm-l{layers}: CrossEncoder float32")
        for layers in (6, 12)
        for path in ("CrossEncoder float32", "rerankers float32", "mneme onnx float32", "mneme onnx int8")
        if path != "rerankers float32" or find_spec("rerankers") is not None
    ),
)
LONG_CANDIDATES, LONG_TOKENS = 100, 512
Ratios = dict[tuple[str, str], float]
"""How many times as fast the first path is as the second; names that end in ``*`` are in processor time."""


def on_processor(bench: Bench, ratios: Ratios, weights_mb: float) -> list[Target]:
    """Return the targets for two cores; ``weights_mb`` are those of the Qwen3 checkpoint."""
    targets = []
    for text, path, baseline, least in (
        ("≥ 7× the published code in bfloat16", PACKED_16, PUBLISHED_16, 7),
        ("≥ 25× the published code in float32 (mneme bfloat16)", PACKED_16, PUBLISHED_32, 25),
        ("≥ 4× CrossEncoder in bfloat16", PACKED_16, PEER, 4),
        ("LycheeMem: ≥ 20× the card's code (mneme bfloat16)", LYCHEE_16, CARD, 20),
        (
            "MiniLM-L12: ≥ 10× CrossEncoder as it comes (mneme INT8)",
            "minilm-l12: mneme onnx int8",
            "minilm-l12: CrossEncoder float32",
            10,
        ),
    ):
        if (path, baseline) in ratios:
            found, cpu = ratios[path, baseline], ratios[path + "*", baseline]
            targets.append(Target(text, f"{found:.1f}× ({cpu:.1f}× in CPU time)", found >= least))
    packed = bench.paths.get(PACKED_16)
    if packed is not None and packed.matrix_share is not None:
        share = packed.matrix_share
        targets.append(Target("≥ 75 % of the measured bfloat16 rate", f"{share:.0%}", share >= 0.75))
    if packed is not None and packed.peak_rss_mb is not None:
        over = packed.peak_rss_mb - weights_mb
        targets.append(Target("peak memory ≤ weights + 1 GB", f"weights + {over:,.0f} MB", over <= 1024))
    small = bench.paths.get("minilm-l12: mneme onnx int8")
    if small is not None:
        targets.append(Target("MiniLM-L12: candidates in ≤ 0.25 s", f"{small.seconds:.3f} s", small.seconds <= 0.25))
    return targets


def on_gpu(bench: Bench, ratios: Ratios) -> list[Target]:
    """Return the targets for a GPU, of Qwen3-0.6B's shape in bfloat16; the long pass where it was measured."""
    if PACKED_16 not in bench.paths:
        return []
    milliseconds = bench.paths[PACKED_16].seconds * 1000
    ratio = ratios[PACKED_16, PUBLISHED_16]
    targets = [
        Target("50 chat candidates in ≤ 40 ms", f"{milliseconds:.1f} ms", milliseconds <= 40),
        Target("≥ 5× the published code in bfloat16", f"{ratio:.1f}×", ratio >= 5),
    ]
    share = bench.facts.get("long_matrix_share")
    if share is not None:
        text = f"{LONG_CANDIDATES} candidates of {LONG_TOKENS} tokens at ≥ 45 % of the measured bfloat16 rate"
        targets.append(Target(text, f"{share:.0%}", share >= 0.45))
    return targets
