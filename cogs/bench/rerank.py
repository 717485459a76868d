"""Reranking: the cards' code, sentence-transformers and Mneme's paths on the same candidates."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cogs.bench import chatter, checkpoints
from cogs.bench.families import FAMILIES
from cogs.bench.measure import Config, PathPlan, Run, Timings, interleave, machine, peak_memory
from cogs.bench.published_code import load_published
from cogs.bench.report import Bench, Series
from cogs.bench.rerank_paths import (
    CARD,
    LONG_CANDIDATES,
    LONG_TOKENS,
    PACKED_16,
    PLANS,
    PUBLISHED_32,
    on_gpu,
    on_processor,
)
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec
from cogs.memory.rerankers.base import Document, Reranker, sigmoid
from cogs.memory.rerankers.formats import cross_encoder, lycheemem, qwen3

Scores = npt.NDArray[np.float64]
QUERY: Final = chatter.QUERIES[0]
GPU_FAMILIES: Final = ("qwen3", "lycheemem")
REFERENCES: Final = {
    "qwen3": PUBLISHED_32,
    "lycheemem": CARD,
    "minilm-l6": "minilm-l6: CrossEncoder float32",
    "minilm-l12": "minilm-l12: CrossEncoder float32",
}
"""The path whose scores count as right."""


def documents(config: Config) -> list[Document]:
    """Return the generated candidates."""
    return [Document(text) for text in chatter.texts(config["candidates"], median_words=config["words"])]


def _dtype(path: str) -> Any:
    return path.rsplit(" ", 1)[-1]


def _mneme(path: str, config: Config) -> Reranker:
    family = path.split(":")[0]
    options = LoadOptions(
        device=config["device"],
        dtype=_dtype(path),
        batch_tokens=config["batch_tokens"],
        max_document_tokens=512,
        models_dir=Path(config["folder"]) / "exported",
        threads=config["threads"],
    )
    if family == "qwen3":
        return qwen3.load(_spec(config, "qwen3"), options)
    if family == "lycheemem":
        return lycheemem.load(_spec(config, "lycheemem"), options)
    return cross_encoder.load(_spec(config, family), options)


def _spec(config: Config, family: str) -> RerankerSpec:
    folder = Path(config["folder"])
    forms = {"qwen3": "qwen3", "lycheemem": "lycheemem"}
    return RerankerSpec(
        name=f"random-{family}",
        format=forms.get(family, "cross-encoder"),
        id=str(folder / family),
        base=str(folder / "qwen3") if family == "lycheemem" else None,
        max_length=8192 if family == "qwen3" else 512,
    )


def build(path: str, config: Config) -> Callable[[], Scores]:
    """Load a path; what it returns scores ``config["candidates"]`` candidates, as probabilities."""
    return _on(_load(path, config), documents(config))


def _on(score: Callable[[list[Document]], Scores], found: list[Document]) -> Callable[[], Scores]:
    return lambda: score(found)


def _load(path: str, config: Config) -> Callable[[list[Document]], Scores]:
    if "CrossEncoder" in path:
        return _cross_encoder(path, config)
    if "rerankers" in path:
        return _rerankers(path, config)
    if "published" in path or "card" in path:
        family = path.split(":")[0]
        # The card of LycheeMem pads every text to the longest of all; the batch is ours, for memory's sake.
        options = LoadOptions(device=config["device"], dtype=_dtype(path))
        reranker = load_published(_spec(config, family), options, batch_size=config["published_batch"])
    else:
        reranker = _mneme(path, config)
    return lambda found: np.array([score.probability for score in reranker.score(QUERY, found)])


def _cross_encoder(path: str, config: Config) -> Callable[[list[Document]], Scores]:
    import torch
    from sentence_transformers import CrossEncoder

    folder = Path(config["folder"]) / path.split(":")[0]
    model = CrossEncoder(
        str(folder),
        device=config["device"],
        local_files_only=True,
        activation_fn=torch.nn.Identity(),
        model_kwargs={"dtype": getattr(torch, _dtype(path))},
    )

    def score(found: list[Document]) -> Scores:
        logits = model.predict([(QUERY, document.text) for document in found], show_progress_bar=False)
        return np.array([sigmoid(float(x)) for x in np.asarray(logits, dtype=np.float64).reshape(-1)])

    return score


def _rerankers(path: str, config: Config) -> Callable[[list[Document]], Scores]:
    from rerankers import Reranker as Peer

    folder = Path(config["folder"]) / path.split(":")[0]
    peer = Peer(str(folder), model_type="cross-encoder", device=config["device"], dtype=_dtype(path), verbose=0)

    def score(found: list[Document]) -> Scores:
        ranked = peer.rank(query=QUERY, docs=[document.text for document in found], doc_ids=[*range(len(found))])
        logits = {result.document.doc_id: float(result.score) for result in ranked.results}
        return np.array([sigmoid(logits[number]) for number in range(len(found))])

    return score


def operations(config: Config, family: str, found: Sequence[Document]) -> float:
    """Return the operations that scoring takes at least: each token that differs once through the dense layers."""
    from transformers import AutoTokenizer

    from cogs.memory.rerankers.packed.prompt_tokens import PromptTokenizer, PromptWriter
    from cogs.memory.rerankers.prompts import LYCHEEMEM, LYCHEEMEM_INSTRUCTION, QWEN3, QWEN3_INSTRUCTION

    template, instruction = (QWEN3, QWEN3_INSTRUCTION) if family == "qwen3" else (LYCHEEMEM, LYCHEEMEM_INSTRUCTION)
    tokenizer = AutoTokenizer.from_pretrained(Path(config["folder"]) / "qwen3", local_files_only=True)
    writer = PromptWriter(PromptTokenizer(tokenizer, family), template, instruction, 8192, 512)
    prompt = writer.write(QUERY, [document.text for document in found])
    # The constant beginning is kept from call to call.
    tokens = len(prompt.query) + sum(map(len, prompt.tails))
    shape = checkpoints.FULL if config["size"] == "full" else checkpoints.TINY
    width, inner = shape["hidden_size"], shape["intermediate_size"]
    heads, kv_heads, head = shape["num_attention_heads"], shape["num_key_value_heads"], shape["head_dim"]
    weights = width * head * (2 * heads + 2 * kv_heads) + 3 * width * inner
    # Of the last layer, only keys and values are needed of tokens that no score is read at.
    floor: float = 2.0 * tokens * (weights * (config["layers"] - 1) + 2 * width * head * kv_heads)
    return floor


def write_checkpoints(config: Config, families: Sequence[str]) -> None:
    """Write what the families need into ``config["folder"]``."""
    folder, size = Path(config["folder"]), config["size"]
    if {"qwen3", "lycheemem"} & set(families):
        checkpoints.qwen3(folder / "qwen3", config["layers"], size)
    if "lycheemem" in families:
        checkpoints.lycheemem(folder / "lycheemem", folder / "qwen3")
    for family in families:
        if family.startswith("minilm"):
            checkpoints.minilm_cross_encoder(folder / family, int(family.removeprefix("minilm-l")), size)


def run(
    config: Config,
    families: Sequence[str] = FAMILIES,
    *,
    rounds: int,
    candidate_sweep: Sequence[int] = (),
    length_sweep: Sequence[int] = (),
    memory: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> Bench:
    """Measure the families' paths. ``config`` as :func:`settings` gives it.

    Args:
        config: as :func:`settings` gives it.
        families: whose paths are measured.
        rounds: how often each path runs.
        candidate_sweep: numbers of candidates, for the plot.
        length_sweep: numbers of words of a candidate, for the plot.
        memory: whether each path's peak memory is measured too, in a process of its own.
        say: called with one sentence for each step, for a progress line.
    """
    with tempfile.TemporaryDirectory() as scratch:
        config = {**config, "folder": scratch}
        say("writing checkpoints of random weights")
        write_checkpoints(config, families)
        about = machine()
        bench = Bench("rerank", {}, about)
        bench.facts = {key: config[key] for key in ("candidates", "words", "layers", "published_batch", "batch_tokens")}
        sweeps: dict[str, dict[str, dict[float, float]]] = {"candidates": {}, "length": {}}
        ratios: dict[tuple[str, str], float] = {}
        for family in families:
            plans = [plan for plan in PLANS if plan.name.startswith(family + ":")]
            loaded = {plan.name: _load(plan.name, config) for plan in plans}
            timings = _measure(loaded, config, rounds, say)
            work = operations(config, family, documents(config)) if family in ("qwen3", "lycheemem") else None
            _note_paths(bench, plans, timings, work, REFERENCES[family], config["device"])
            ratios |= {(a.name, b.name): timings.ratio(a.name, b.name) for a in plans for b in plans}
            ratios |= {(a.name + "*", b.name): timings.ratio(a.name, b.name, cpu=True) for a in plans for b in plans}
            for dtype, found in timings.rates.items():
                bench.facts.setdefault("matrix_rate_gflops", {})[dtype] = round(float(np.median(found)) / 1e9)
            for kind, values in (("candidates", candidate_sweep), ("length", length_sweep)):
                _sweep(sweeps[kind], kind, values, loaded, config, family, say)
            if family == "qwen3" and config["device"] == "cuda":
                _long(bench, loaded[PACKED_16], config, rounds)
            del loaded
        if memory:
            for name, figures in bench.paths.items():
                say(f"memory: {name}")
                figures.note_memory(peak_memory(__name__, name, config))
        weights = (Path(scratch) / "qwen3" / "model.safetensors").stat().st_size / 2**20 if "qwen3" in families else 0
    bench.notes = _notes(config)
    if config["size"] == "full":
        gpu = config["device"] == "cuda"
        bench.targets = on_gpu(bench, ratios) if gpu else on_processor(bench, ratios, weights)
    for kind, label in (("candidates", "candidates"), ("length", "median words of a document")):
        if sweeps[kind]:
            xs = sorted({x for line in sweeps[kind].values() for x in line})
            lines = {name: [line.get(x) for x in xs] for name, line in sweeps[kind].items()}
            bench.series[kind] = Series(f"Reranking: time against {label}", label, "seconds", tuple(xs), lines)
    return bench


def settings(
    *,
    layers: int,
    candidates: int,
    words: int,
    threads: int,
    size: str,
    published_batch: int,
    device: str = "cpu",
) -> Config:
    """Return the configuration of a run.

    Args:
        layers: layers of the decoder.
        candidates: how many candidates one question has.
        words: words of a candidate.
        threads: threads of PyTorch.
        size: ``full`` for layers as large as the published ones, ``tiny`` for a trial.
        published_batch: documents of a batch of the published code.
        device: where all paths run.
    """
    return {
        "layers": layers,
        "candidates": candidates,
        "words": words,
        "threads": threads,
        "size": size,
        "published_batch": published_batch,
        "batch_tokens": 4096 if device == "cpu" else 16384,
        "device": device,
    }


def _measure(
    loaded: dict[str, Callable[[list[Document]], Scores]], config: Config, rounds: int, say: Callable[[str], None]
) -> Timings:
    # A processor has compiled its kernels after any pass; a GPU records a shape when it comes for the second time.
    few = documents({**config, "candidates": 2} if config["device"] == "cpu" else config)
    for score in loaded.values():
        for _ in range(1 if config["device"] == "cpu" else 3):
            score(few)
    runs: dict[str, Run] = {name: _on(score, documents(config)) for name, score in loaded.items()}
    rates: tuple[Any, ...] = ("float32", "bfloat16", "int8") if config["size"] == "full" else ()
    return interleave(runs, rounds, rates=rates, warm_up=False, device=config["device"], say=say)


def _long(bench: Bench, score: Callable[[list[Document]], Scores], config: Config, rounds: int) -> None:
    """Measure what the packed path reaches where the products, not the starting of kernels, take the time."""
    text = " ".join(chatter.texts(LONG_TOKENS, median_words=config["words"]))
    found = [Document(f"{number} {text}") for number in range(LONG_CANDIDATES)]
    runs: dict[str, Run] = {PACKED_16: _on(score, found)}
    timings = interleave(runs, max(3, rounds), rates=("bfloat16",), device=config["device"])
    work = operations(config, "qwen3", found)
    (plan,) = (plan for plan in PLANS if plan.name == PACKED_16)
    figures = timings.figures(plan, work, config["device"])
    bench.facts["long_seconds"], bench.facts["long_matrix_share"] = figures.seconds, figures.matrix_share


def _note_paths(
    bench: Bench, plans: Sequence[PathPlan], timings: Timings, work: float | None, reference: str, device: str
) -> None:
    right: Scores = timings.results[reference]
    for plan in plans:
        figures = timings.figures(plan, work, device)
        scores: Scores = timings.results[plan.name]
        figures.max_difference = float(np.abs(scores - right).max())
        figures.facts["order_agreement"] = round(agreement(scores, right), 4)
        bench.paths[plan.name] = figures


def agreement(scores: Scores, right: Scores) -> float:
    """Return the share of pairs that both put in the same order (1.0 for fewer than two candidates)."""
    first, second = np.triu_indices(len(scores), 1)
    if not len(first):
        return 1.0
    same = np.sign(scores[first] - scores[second]) == np.sign(right[first] - right[second])
    return float(same.mean())


def _sweep(
    lines: dict[str, dict[float, float]],
    kind: str,
    values: Sequence[int],
    loaded: dict[str, Callable[[list[Document]], Scores]],
    config: Config,
    family: str,
    say: Callable[[str], None],
) -> None:
    if family not in ("qwen3", "minilm-l12"):
        return
    for value in values:
        changed = {**config, "candidates": value} if kind == "candidates" else {**config, "words": value}
        if kind == "length":
            changed["candidates"] = 10
        runs: dict[str, Run] = {name: _on(score, documents(changed)) for name, score in loaded.items()}
        for run in [] if config["device"] == "cpu" else [*runs.values()] * 2:
            run()  # the second time a GPU records the shape
        timings = interleave(runs, 1, warm_up=False, say=lambda line: say(f"{kind} {value}: {line}"))  # noqa: B023
        for name, seconds in timings.seconds.items():
            lines.setdefault(name, {})[float(value)] = seconds[0]


def _notes(config: Config) -> list[str]:
    shape = "Qwen3-0.6B's shape" if config["size"] == "full" else "a tiny shape"
    return [
        f"Random weights: {shape} cut to {config['layers']} layers (the whole has 28), MiniLM's shape for the "
        "cross-encoders. Times are those of the work; the order of the candidates means nothing.",
        f"{config['candidates']} generated candidates, {config['words']} words in the median; a tokenizer of the "
        "family's kind, trained on generated text.",
        f"The cards' code runs batches of {config['published_batch']}, so that its logits fit into memory.",
        "The largest difference is of probabilities, from the reference of the family (the card's code in float32, or "
        "CrossEncoder); order_agreement in the JSON is the share of pairs in the same order.",
        "The matrix rate is PyTorch's best on (1024, 1024) × (1024, 3072); the share counts only the operations that "
        "the packed path needs, in processor time."
        if config["device"] == "cpu"
        else "The matrix rate is PyTorch's best on (8192, 4096) × (4096, 4096) of this GPU.",
        "The library `rerankers` runs the cross-encoders where it is installed (`requirements-dev.txt`), in its own "
        "batches of 16; it knows none of the causal formats.",
    ]
