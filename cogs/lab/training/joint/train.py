"""Listwise training of the upper layers over what the lower ones read: resumable, bounded by steps or by a clock."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from cogs.lab.training.joint.channels import ReadChannel
from cogs.lab.training.joint.model import Upper

LISTS: Final = 8
CANDIDATES: Final = 8
HARD: Final = 18
"""Hard wrong messages are drawn from so many that the base finds most like the question, the best more often."""
NOBODY: Final = 0.12
"""The share of questions asked where their answer is not among the candidates."""
LESSER: Final = 0.25
"""What an older answer is worth beside the newest, which is worth 1."""
CHUNK: Final = 16
HELD_OUT_PERCENT: Final = 5
DROPOUT: Final = 0.1
WARM_STEPS: Final = 40
FALLING: Final = 0.3
"""The last part of the run, in which the rate falls to nothing."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A question with candidates (places of messages) and what each is worth; all worth nothing: nobody answered."""

    channel: ReadChannel
    question: int
    places: list[int]
    worth: list[float]


def is_held_out(question: str) -> bool:
    """Hold out one question in twenty by its words, the same ones on every machine."""
    return int(hashlib.sha256(question.encode()).hexdigest()[:8], 16) % 100 < HELD_OUT_PERCENT


def draw(channel: ReadChannel, question: int, rng: random.Random, nobody: float = NOBODY) -> Drawn:
    """Draw the candidates of a question: its answer first (or none), older ones, hard wrong ones, a neighbour, any."""
    positives, lesser = channel.positives[question], channel.lesser[question]
    excluded = {*positives, *lesser, *channel.ignored[question]}
    order = torch.argsort(channel.cosines[question], descending=True).tolist()
    free = [place for place in order if place not in excluded]
    chosen: list[int] = []
    worth: list[float] = []
    if positives and rng.random() >= nobody:
        older = rng.sample(lesser, min(2, len(lesser)))
        chosen, worth = [rng.choice(positives), *older], [1.0, *(LESSER for _ in older)]
    wanted = CANDIDATES - len(chosen)
    keyed = sorted(((rng.random() ** (1 + 3 * k / HARD), place) for k, place in enumerate(free[:HARD])), reverse=True)
    wrong = [place for _, place in keyed[: max(0, wanted - 2)]]
    if chosen:
        near = range(max(0, chosen[0] - 3), min(len(channel.messages), chosen[0] + 4))
        beside = [place for place in near if place not in excluded and place not in wrong]
        wrong += rng.sample(beside, min(1, len(beside)))
    rest = [place for place in free if place not in wrong]
    wrong += rng.sample(rest, max(0, min(len(rest), wanted - len(wrong))))
    return Drawn(channel, question, chosen + wrong, worth + [0.0] * len(wrong))


def logits_of(model: Upper, lists: Sequence[Drawn], dropout: float = 0.0) -> torch.Tensor:
    """Return logits (lists, width), minus infinity where a list is shorter; pairs of like length run together."""
    pairs = [
        (line, place, one.channel.questions[one.question], one.channel.messages[message])
        for line, one in enumerate(lists)
        for place, message in enumerate(one.places)
    ]
    pairs.sort(key=lambda pair: len(pair[2]) + len(pair[3]))
    found = torch.full((len(lists), max(len(one.places) for one in lists)), float("-inf"))
    for start in range(0, len(pairs), CHUNK):
        part = pairs[start : start + CHUNK]
        longest = max(len(asked) + len(said) for _, _, asked, said in part)
        x = torch.zeros(len(part), longest, part[0][2].shape[1])
        real = torch.zeros(len(part), longest, dtype=torch.bool)
        second = torch.zeros_like(real)
        for row, (_, _, asked, said) in enumerate(part):
            whole = len(asked) + len(said)
            x[row, : len(asked)], x[row, len(asked) : whole] = asked, said
            real[row, :whole], second[row, len(asked) : whole] = True, True
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = model(x, second, real, dropout)
        where = (torch.tensor([pair[0] for pair in part]), torch.tensor([pair[1] for pair in part]))
        found = found.index_put(where, scores.float())
    return found


def loss_of(logits: torch.Tensor, lists: Sequence[Drawn]) -> torch.Tensor:
    """Return the cross-entropy of each list's softmax, in which nobody having answered stands last with the logit 0."""
    target = torch.zeros(logits.shape[0], logits.shape[1] + 1)
    for line, one in enumerate(lists):
        total = sum(one.worth)
        if total:
            target[line, : len(one.worth)] = torch.tensor(one.worth) / total
        else:
            target[line, -1] = 1.0
    with_nobody = torch.cat([logits, torch.zeros(len(lists), 1)], dim=1)
    return -(target * with_nobody.clamp_min(-1e4).log_softmax(1)).sum(1).mean()


@torch.inference_mode()
def probe(model: Upper, lists: Sequence[Drawn]) -> dict[str, float]:
    """Return the loss, how often the best stands first (in all, by source, and by the base's cosine), and how often
    nobody wins where nobody answered."""
    model.eval()
    won: dict[str, list[float]] = {"accuracy": [], "cosine": [], "nobody": []}
    total = 0.0
    for start in range(0, len(lists), 2 * LISTS):
        part = lists[start : start + 2 * LISTS]
        logits = logits_of(model, part)
        total += float(loss_of(logits, part)) * len(part)
        for row, one in zip(logits, part, strict=True):
            if not sum(one.worth):
                won["nobody"].append(float(row.max() < 0))
                continue
            first = float(int(row[: len(one.places)].argmax()) == 0)
            won["accuracy"].append(first)
            won["cosine"].append(float(int(one.channel.cosines[one.question][one.places].argmax()) == 0))
            won.setdefault(one.channel.source, []).append(first)
    model.train()
    means = {name: round(sum(values) / len(values), 4) for name, values in sorted(won.items()) if values}
    return {"loss": round(total / max(1, len(lists)), 4), **means}


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast: ``steps`` in all, or ``seconds`` from the first step, whichever comes first."""

    steps: int
    rate: float = 2.5e-4
    seconds: float | None = None
    save_steps: int = 100
    seed: int = 7


def train(model: Upper, channels: Sequence[ReadChannel], plan: Plan, output: Path) -> list[dict[str, Any]]:
    """Train ``model`` in place; return the log, which is written to ``output/log.jsonl`` too.

    ``output/checkpoint.pt`` is written every ``save_steps`` steps and gone on from. The head learns at twice the rate.

    Raises:
        ValueError: there is nothing to train on.
    """
    output.mkdir(parents=True, exist_ok=True)
    rows = [(channel, number) for channel in channels for number in range(len(channel.texts))]
    training = [row for row in rows if not is_held_out(row[0].texts[row[1]])]
    if not training:
        raise ValueError("the channels hold no question to train on")
    held_out = [row for row in rows if is_held_out(row[0].texts[row[1]])]
    fixed = random.Random(plan.seed)
    probed = [draw(*row, fixed) for row in fixed.sample(held_out, min(300, len(held_out)))]
    torch.manual_seed(plan.seed)
    head = [value for name, value in model.named_parameters() if not name.startswith("blocks")]
    groups = [{"params": list(model.blocks.parameters())}, {"params": head}]
    optimizer = torch.optim.AdamW(groups, lr=plan.rate, weight_decay=0.01, betas=(0.9, 0.98))
    checkpoint, step, spent = output / "checkpoint.pt", 0, 0.0
    if checkpoint.is_file():
        kept = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        step, spent = kept["step"], kept["spent"]
    rng = random.Random(plan.seed + step)
    begun = time.monotonic() - spent
    log: list[dict[str, Any]] = []
    pool: list[int] = []
    model.train()
    while step < plan.steps and (plan.seconds is None or time.monotonic() - begun < plan.seconds):
        done = step / plan.steps
        if plan.seconds is not None:
            done = max(done, (time.monotonic() - begun) / plan.seconds)
        scale = min(1.0, (step + 1) / WARM_STEPS) * min(1.0, max(0.02, (1 - done) / FALLING))
        for group, factor in zip(optimizer.param_groups, (1, 2), strict=True):
            group["lr"] = plan.rate * factor * scale
        lists: list[Drawn] = []
        while len(lists) < LISTS:
            pool = pool or rng.sample(range(len(training)), len(training))
            lists.append(draw(*training[pool.pop()], rng))
        loss = loss_of(logits_of(model, lists, DROPOUT), lists)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        log.append({"step": step, "loss": round(float(loss.detach()), 4)})
        if step % plan.save_steps == 0:
            spent = time.monotonic() - begun
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "spent": spent}
            torch.save(state, checkpoint.with_suffix(".partial"))
            checkpoint.with_suffix(".partial").replace(checkpoint)
            log.append({"step": step, **probe(model, probed)})
    log.append({"step": step, "final": True, **probe(model, probed)})
    model.eval()
    with (output / "log.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in log)
    return log
