"""Embedding: ``SentenceTransformer.encode`` with its defaults against the paths of the embedding service."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from cogs.bench import chatter
from cogs.bench.measure import Config, PathPlan, interleave, machine, peak_memory
from cogs.bench.report import Bench, Series, Target
from cogs.memory.embedding.openvino_encoder import OpenVinoEncoder
from cogs.memory.embedding.specs import MINILM, MINILM_SHA256, verified_folder
from cogs.memory.embedding.specs import MNEME as MNEME_EMBEDDER
from cogs.memory.embedding.words_encoder import load_words_encoder
from cogs.memory.inference.onnx_graphs import cached_graph
from cogs.memory.inference.words import word_pieces

Vectors = npt.NDArray[np.float32]
BASELINE: Final = "SentenceTransformer.encode"
MNEME: Final = "mneme openvino"
SHIPPED: Final = "mneme-embedder"
"""Twelve layers in 8 bits, where the other paths run MiniLM's six: another model, whose vectors are not compared."""
PLANS: Final = (
    PathPlan(BASELINE, BASELINE, "float32"),
    PathPlan(MNEME, BASELINE, "bfloat16"),
    PathPlan(SHIPPED, BASELINE, "bfloat16"),
)
LAYERS: Final = {BASELINE: 6, MNEME: 6, SHIPPED: 12}


def build(path: str, config: Config) -> Callable[[], Vectors]:
    """Load a path; what it returns embeds ``config["messages"]`` generated messages."""
    folder = verified_folder(MINILM)
    texts = chatter.texts(config["messages"])
    if path == SHIPPED:
        shipped = load_words_encoder(MNEME_EMBEDDER, config["threads"])
        passages = [MNEME_EMBEDDER.passage_prompt + text for text in texts]
        return lambda: shipped.encode(passages)
    if path == BASELINE:
        from sentence_transformers import SentenceTransformer

        # As its documentation has it: float32, batches of 32, sorted by characters and padded.
        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)

        def published() -> Vectors:
            return np.asarray(model.encode(texts, normalize_embeddings=True, show_progress_bar=False))

        return published
    graph = cached_graph(folder, MINILM_SHA256, Path(config["scratch"]))
    encoder = OpenVinoEncoder(folder, graph, MINILM.max_length, config["threads"])
    return lambda: encoder.encode(texts)


def operations(path: str, texts: list[str]) -> float:
    """Return the operations of a path's dense layers over these texts without padding (2 × weights × tokens)."""
    from tokenizers import Tokenizer

    if path == SHIPPED:
        passages = [MNEME_EMBEDDER.passage_prompt + text for text in texts]
        tokens = sum(min(len(ids) + 2, MNEME_EMBEDDER.max_length) for ids in word_pieces().ids(passages))
    else:
        tokenizer = Tokenizer.from_file(str(verified_folder(MINILM) / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(MINILM.max_length)
        tokens = sum(len(encoding.ids) for encoding in tokenizer.encode_batch(texts))
    width, inner = 384, 1536
    return 2.0 * tokens * LAYERS[path] * (4 * width * width + 2 * width * inner)


def run(messages: int, rounds: int, threads: int, *, sweep: tuple[int, ...] = (), memory: bool = True) -> Bench:
    """Measure the paths on ``messages`` messages; ``sweep`` are other numbers of messages, for the plot.

    Args:
        messages: how many messages are embedded.
        rounds: how often each path runs.
        threads: threads of each path.
        sweep: other numbers of messages, for the plot.
        memory: whether each path's peak memory is measured too, in a process of its own.
    """
    with tempfile.TemporaryDirectory() as scratch:
        config: Config = {"messages": messages, "scratch": scratch, "threads": threads}
        about = machine()
        timings = interleave(
            {plan.name: build(plan.name, config) for plan in PLANS}, rounds, rates=("float32", "bfloat16")
        )
        texts = chatter.texts(messages)
        paths = {plan.name: timings.figures(plan, operations(plan.name, texts)) for plan in PLANS}
        for name, figures in paths.items():
            if name != SHIPPED:
                cosines = np.einsum("nd,nd->n", timings.results[name], timings.results[BASELINE])
                figures.max_difference = max(0.0, float(1 - cosines.min()))
            figures.facts["messages_per_second"] = round(messages / figures.seconds)
            if memory:
                figures.note_memory(peak_memory(__name__, name, config))
        lines: dict[str, list[float | None]] = {plan.name: [] for plan in PLANS}
        for count in sweep:
            runs = {plan.name: build(plan.name, {**config, "messages": count}) for plan in PLANS}
            partial = interleave(runs, 3)
            for plan in PLANS:
                lines[plan.name].append(partial.figures(plan).seconds)
    chosen = paths[MNEME]
    bench = Bench("embed", paths, about)
    bench.facts = {
        "messages": messages,
        "matrix_rate_gflops": {k: round(float(np.median(v)) / 1e9) for k, v in timings.rates.items()},
    }
    bench.notes = [
        f"{messages:,} generated messages of chat length; all-MiniLM-L6-v2 with its own weights.",
        "mneme-embedder is another model, of twelve layers in 8 bits; its vectors are not compared.",
        "Mneme's path computes in bfloat16 where the processor multiplies it; its share is of that rate.",
        "The largest difference is 1 − the smallest cosine with SentenceTransformer's float32 vectors.",
        "Of tokenizing, copying and attention nothing counts as operations, so the share is of the dense layers alone.",
    ]
    bench.targets = [
        Target("≥ 5× SentenceTransformer.encode as it comes", f"{chosen.ratio:.1f}×", chosen.ratio >= 5),
        Target(
            "cosine ≥ 0.999",
            f"{1 - (chosen.max_difference or 0):.5f}",
            (chosen.max_difference or 0) <= 1e-3,
            exact=True,
        ),
    ]
    if sweep:
        bench.series["messages"] = Series(
            "Embedding: time against messages", "messages", "seconds", tuple(map(float, sweep)), lines
        )
    return bench
