"""The development table: what the reranker adds to keyword, semantic and fused order, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cogs.memory.lab.conversations import Conversation
from cogs.memory.lab.first_stage import Array, Embedder, score_questions
from cogs.memory.lab.train_lists import document
from cogs.memory.rerankers.chat_text import render_chat

CANDIDATES = 50
Places = npt.NDArray[np.signedinteger]
PairScorer = Callable[[str, Sequence[str]], Array]


@dataclass(frozen=True, slots=True)
class Judged:
    """One question: the first stage's scores of its candidates, the reranker's logits of them, and the evidence.

    ``logits`` maps a reranker's name to an array of shape (candidates,); candidates are in fused order and
    ``fused`` holds their scores. ``orders`` maps a stage to places in the conversation, best first.
    """

    data_set: str
    candidates: Places
    fused: Array
    logits: Mapping[str, Array]
    orders: Mapping[str, Places]
    relevant: frozenset[int]


def torch_scorer(model: Any, tokenizer: Any, max_length: int = 256) -> PairScorer:
    """Return the scorer of a PyTorch cross-encoder: raw logits in float32, in length-sorted batches."""

    @torch.inference_mode()
    def score(query: str, texts: Sequence[str]) -> Array:
        logits = np.zeros(len(texts), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), 16):
            part = order[start : start + 16]
            batch = tokenizer(
                [query] * len(part),
                [texts[i] for i in part],
                truncation="longest_first",
                max_length=max_length,
                padding=True,
                return_tensors="pt",
            )
            logits[part] = model(**batch).logits.float().view(-1).numpy()
        return logits

    return score


def onnx_scorer(path: Path, tokenizer: Any, max_length: int = 256, threads: int = 2) -> PairScorer:
    """Return the scorer of an exported model: the same pairs through ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def score(query: str, texts: Sequence[str]) -> Array:
        logits = np.zeros(len(texts), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), 16):
            part = order[start : start + 16]
            batch = tokenizer(
                [query] * len(part),
                [texts[i] for i in part],
                truncation="longest_first",
                max_length=max_length,
                padding=True,
                return_tensors="np",
            )
            inputs = {name: batch[name].astype(np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
            logits[part] = session.run(["logits"], inputs)[0].reshape(-1)
        return logits

    return score


def judge(
    name: str,
    conversations: Sequence[Conversation],
    embedder: Embedder,
    scorers: Mapping[str, PairScorer],
    *,
    limit: int | None = None,
) -> list[Judged]:
    """Score up to ``limit`` questions of a data set (every n-th, so that all conversations take part)."""
    total = sum(len(conversation.questions) for conversation in conversations)
    step = max(1, total // limit) if limit else 1
    judged: list[Judged] = []
    number = 0
    for conversation in conversations:
        chosen = [question for i, question in enumerate(conversation.questions, number) if i % step == 0]
        number += len(conversation.questions)
        if not chosen:
            continue
        places = {turn.id: place for place, turn in enumerate(conversation.turns)}
        texts = [render_chat(document(conversation, turn)) for turn in conversation.turns]
        asked = Conversation(conversation.id, conversation.turns, tuple(chosen))
        for question, stages in zip(chosen, score_questions(asked, embedder), strict=True):
            orders = {
                stage: np.argsort(-getattr(stages, stage), kind="stable") for stage in ("keyword", "semantic", "fused")
            }
            candidates = orders["fused"][:CANDIDATES]
            logits = {
                key: scorer(question.text, [texts[place] for place in candidates]) for key, scorer in scorers.items()
            }
            relevant = frozenset(places[turn_id] for turn_id in question.positives)
            judged.append(Judged(name, candidates, stages.fused[candidates], logits, orders, relevant))
    return judged


def rerank(row: Judged, scorer: str, blend: float) -> Places:
    """Return the places in reranked order: logit + ``blend`` × fused score, then what was no candidate."""
    total = row.logits[scorer] + blend * row.fused
    rest = row.orders["fused"][len(row.candidates) :]
    places: Places = np.concatenate([row.candidates[np.argsort(-total, kind="stable")], rest])
    return places


def question_metrics(order: Places, relevant: frozenset[int]) -> dict[str, float]:
    """Return average precision, NDCG@10, recall@10, recall@50 and MRR@10 of one order."""
    hits = np.array([place in relevant for place in order.tolist()], dtype=np.float64)
    ranks = np.arange(1, len(hits) + 1)
    gains = hits[:10] / np.log2(ranks[:10] + 1)
    ideal = (1 / np.log2(np.arange(2, min(10, len(relevant)) + 2))).sum()
    first = np.flatnonzero(hits[:10])
    return {
        "MAP": float((hits * np.cumsum(hits) / ranks).sum() / len(relevant)),
        "NDCG@10": float(gains.sum() / ideal),
        "R@10": float(hits[:10].sum() / len(relevant)),
        "R@50": float(hits[:50].sum() / len(relevant)),
        "MRR@10": float(1 / (first[0] + 1)) if len(first) else 0.0,
        "accuracy@1": float(hits[0]),
    }


def interval(values: Array, seed: int = 0, rounds: int = 1000) -> tuple[float, float, float]:
    """Return the mean and its 95 % bootstrap interval over questions."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (rounds, len(values)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def table(rows: Sequence[Judged], blends: Mapping[str, float]) -> dict[str, Any]:
    """Return ``{stage: {metric: {mean, low, high}}}`` and, for each reranker, the paired gain over the fused order."""
    per_stage: dict[str, list[dict[str, float]]] = {
        stage: [question_metrics(row.orders[stage], row.relevant) for row in rows]
        for stage in ("keyword", "semantic", "fused")
    }
    for name, blend in blends.items():
        scorer = name.split("+")[0]
        per_stage[name] = [question_metrics(rerank(row, scorer, blend), row.relevant) for row in rows]
    found: dict[str, Any] = {"questions": len(rows)}
    for stage, metrics in per_stage.items():
        found[stage] = {
            metric: dict(
                zip(("mean", "low", "high"), interval(np.array([row[metric] for row in metrics])), strict=True)
            )
            for metric in metrics[0]
        }
        if stage in blends:
            gain = np.array([a["MAP"] - b["MAP"] for a, b in zip(metrics, per_stage["fused"], strict=True)])
            found[stage]["MAP gain over fused"] = dict(zip(("mean", "low", "high"), interval(gain), strict=True))
    return found
