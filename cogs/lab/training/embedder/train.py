"""Contrastive training of an embedder above its frozen words. Resumable, and within a core's worth of time."""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from cogs.lab.training.embedder.pairs import PASSAGE, Pair
from cogs.memory.inference.words import BEGIN, END, PAD, WordPieces

ROWS: Final = 32
"""Texts of one forward pass: of like length, so that little is padded."""
BACK: Final = 0.3
"""What finding the question of a passage weighs beside finding the passage of a question."""
LEAST_RATE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is trained.

    A batch has ``pairs`` pairs of one source, ``together`` of each conversation so that they are each other's
    negatives, and ``hard`` negatives chosen near by. ``frozen`` layers at the bottom stay as they are, as do the words.
    """

    steps: int = 480
    rate: float = 6e-5
    pairs: int = 48
    together: int = 4
    hard: int = 12
    frozen: int = 6
    temperature: float = 0.03
    warm: int = 30
    most_tokens: int = 64
    keep_every: int = 50
    seed: int = 5
    bfloat16: bool = True


class TextEncoder:
    """Texts → unit vectors (n, dim) with gradients, in the order of lengths that wastes least."""

    def __init__(self, model: Any, pieces: WordPieces, most_tokens: int, bfloat16: bool) -> None:
        self.model, self._pieces, self._room, self._bfloat16 = model, pieces, most_tokens - 2, bfloat16

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return one vector for each text, in order."""
        ids = [[BEGIN, *row[: self._room], END] for row in self._pieces.ids(texts)]
        order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
        parts = []
        with self._precision():
            for start in range(0, len(order), ROWS):
                rows = [ids[place] for place in order[start : start + ROWS]]
                longest = len(rows[-1])
                given = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
                mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
                hidden = self.model(input_ids=given, attention_mask=mask).last_hidden_state.float()
                weight = mask.unsqueeze(-1).float()
                parts.append((hidden * weight).sum(1) / weight.sum(1))
        back = torch.empty(len(order), dtype=torch.long)
        back[torch.tensor(order)] = torch.arange(len(order))
        return functional.normalize(torch.cat(parts), dim=-1)[back]

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast("cpu", torch.bfloat16) if self._bfloat16 else nullcontext()


def batches(pools: Mapping[str, Sequence[Pair]], shares: Mapping[str, float], plan: Plan) -> Iterator[list[Pair]]:
    """Yield batches without end, the same ones for the same seed; no question stands twice in one."""
    rng = random.Random(plan.seed)
    names = [name for name in shares if pools.get(name)]
    weights = [shares[name] for name in names]
    waiting: dict[str, list[list[Pair]]] = {name: [] for name in names}
    while True:
        name = rng.choices(names, weights)[0]
        batch: dict[str, Pair] = {}
        refills = 0
        while len(batch) < plan.pairs and refills < 2:
            if not waiting[name]:
                waiting[name] = _grouped(pools[name], plan.together, rng)
                refills += 1
            for pair in waiting[name].pop():
                if len(batch) < plan.pairs:
                    batch.setdefault(pair.query, pair)
        yield list(batch.values())


def _grouped(pairs: Sequence[Pair], together: int, rng: random.Random) -> list[list[Pair]]:
    by_group: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_group.setdefault(pair.group, []).append(pair)
    groups = []
    for rows in by_group.values():
        rng.shuffle(rows)
        groups += [rows[start : start + together] for start in range(0, len(rows), together)]
    rng.shuffle(groups)
    return groups


def may_count(batch: Sequence[Pair], hard: int) -> Tensor:
    """Return (pairs, passages), False where a passage answers a question that it does not belong to."""
    texts = [pair.passage for pair in batch] + [pair.negative for pair in batch[:hard]]
    bare = [text.removeprefix(PASSAGE).split(": ", 1)[-1].split("\n(in reply to", 1)[0] for text in texts]
    rows = [
        [column == row or not (said in pair.same or texts[column] == pair.passage) for column, said in enumerate(bare)]
        for row, pair in enumerate(batch)
    ]
    return torch.tensor(rows)


def contrastive_loss(questions: Tensor, passages: Tensor, counted: Tensor, temperature: float) -> Tensor:
    """Return InfoNCE in both directions over unit vectors.

    Args:
        questions: (n, dim).
        passages: (n + m, dim); passage i answers question i, the m last ones are hard negatives.
        counted: (n, n + m), False where a passage is not to count against a question.
        temperature: what cosines are divided by.

    References:
        van den Oord et al., Representation Learning with Contrastive Predictive Coding, 2018.
    """
    count = len(questions)
    scores = (questions @ passages.T / temperature).masked_fill(~counted, -1e4)
    target = torch.arange(count)
    there = functional.cross_entropy(scores, target)
    return there + BACK * functional.cross_entropy(scores[:, :count].T, target)


def rate_at(step: int, plan: Plan) -> float:
    """Return the learning rate: rising for ``warm`` steps, then falling along a cosine."""
    falling = LEAST_RATE + (1 - LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * step / plan.steps))
    return plan.rate * min(1.0, (step + 1) / plan.warm) * falling


def train(
    model: Any,
    pieces: WordPieces,
    pools: Mapping[str, Sequence[Pair]],
    shares: Mapping[str, float],
    plan: Plan,
    output: Path,
) -> list[float]:
    """Train the model in place; return the loss of each step of this run.

    A checkpoint lies in ``output`` every ``plan.keep_every`` steps, and a run goes on from it.

    Args:
        model: an encoder of Transformers.
        pieces: of the words that it reads.
        pools: pairs by source.
        shares: how often a batch comes from each source.
        plan: how long and how.
        output: where the checkpoint and ``log.jsonl`` go.
    """
    output.mkdir(parents=True, exist_ok=True)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # two cores see each pair about once
    model.train()
    model.embeddings.requires_grad_(False)
    for layer in model.encoder.layer[: plan.frozen]:
        layer.requires_grad_(False)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=plan.rate, weight_decay=0.01)
    step = _resumed(model, optimizer, output)
    encoder = TextEncoder(model, pieces, plan.most_tokens, plan.bfloat16)
    coming = batches(pools, shares, plan)
    for _ in range(step):
        next(coming)
    losses: list[float] = []
    begun = time.monotonic()
    while step < plan.steps:
        batch = next(coming)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, plan)
        negatives = [pair.negative for pair in batch[: plan.hard]]
        vectors = encoder([pair.query for pair in batch] + [pair.passage for pair in batch] + negatives)
        counted = may_count(batch, plan.hard)
        loss = contrastive_loss(vectors[: len(batch)], vectors[len(batch) :], counted, plan.temperature)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        losses.append(float(loss.detach()))
        with (output / "log.jsonl").open("a", encoding="utf-8") as log:
            row = {"step": step, "loss": round(losses[-1], 4), "seconds": round(time.monotonic() - begun, 1)}
            log.write(json.dumps(row) + "\n")
        if step % plan.keep_every == 0 or step == plan.steps:
            _keep(model, optimizer, step, output)
    model.eval()
    return losses


def averaged(base: Mapping[str, Tensor], trained: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return weights between the base's and the trained ones: ``share`` of the way.

    References:
        Wortsman et al., Robust fine-tuning of zero-shot models, 2022.
    """
    return {name: base[name] + share * (values - base[name]) for name, values in trained.items()}


def _keep(model: Any, optimizer: torch.optim.Optimizer, step: int, output: Path) -> None:
    weights = {name: values for name, values in model.state_dict().items() if not name.startswith("embeddings.")}
    part = output / "checkpoint.part"
    torch.save({"step": step, "model": weights, "optimizer": optimizer.state_dict()}, part)
    os.replace(part, output / "checkpoint.pt")


def _resumed(model: Any, optimizer: torch.optim.Optimizer, output: Path) -> int:
    file = output / "checkpoint.pt"
    if not file.is_file():
        return 0
    kept = torch.load(file, weights_only=True)
    model.load_state_dict(kept["model"], strict=False)
    optimizer.load_state_dict(kept["optimizer"])
    return int(kept["step"])
