"""Listwise training of a small cross-encoder with transformers' ``Trainer``: softmax, pointwise, teacher losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from cogs.memory.lab.train_lists import RankingList


@dataclass(frozen=True, slots=True)
class ListwiseSettings:
    """What a recipe says of one phase. Lengths in tokens, ``lists`` per step; ``teacher_weight`` scales the KL term."""

    learning_rate: float = 8e-5
    head_learning_rate: float = 5e-4
    lists: int = 8
    epochs: float = 1.0
    warmup: float = 0.06
    max_length: int = 96
    teacher_weight: float = 0.2
    teacher_temperature: float = 0.1
    pointwise_weight: float = 0.2
    freeze_embeddings: bool = True
    save_steps: int = 200
    seed: int = 13
    bf16: bool = True


class ListCollator:
    """Tokenizes lists into chunks of pairs sorted by length, so that little is padded."""

    def __init__(self, tokenizer: Any, max_length: int, chunk: int = 16) -> None:
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._chunk = chunk

    def __call__(self, rows: Sequence[RankingList]) -> dict[str, Any]:
        """Return ``chunks`` of model inputs, ``order`` (pair → place in the chunks), ``sizes`` and ``teacher``."""
        queries = [row.query for row in rows for _ in row.documents]
        documents = [text for row in rows for text in row.documents]
        encoded = self._tokenizer(queries, documents, truncation="longest_first", max_length=self._max_length)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        order = sorted(range(len(lengths)), key=lambda i: lengths[i])
        chunks = []
        for start in range(0, len(order), self._chunk):
            part = order[start : start + self._chunk]
            chunks.append(
                self._tokenizer.pad({k: [v[i] for i in part] for k, v in encoded.items()}, return_tensors="pt")
            )
        width = max(len(row.documents) for row in rows)
        teacher = torch.full((len(rows), width), float("-inf"))
        for place, row in enumerate(rows):
            teacher[place, : len(row.documents)] = torch.tensor(row.teacher)
        inverse = torch.empty(len(order), dtype=torch.long)
        inverse[torch.tensor(order)] = torch.arange(len(order))
        return {"chunks": [dict(chunk) for chunk in chunks], "order": inverse, "teacher": teacher}


def listwise_loss(logits: torch.Tensor, teacher: torch.Tensor, settings: ListwiseSettings) -> torch.Tensor:
    """Return the loss of logits (lists, width), evidence in column 0; padding has a teacher score of -inf.

    Softmax over each list, plus binary cross-entropy that keeps the scale the same between questions, plus the
    divergence from the first stage's own order, which teaches what words in common are worth.
    """
    real = torch.isfinite(teacher)
    masked = logits.masked_fill(~real, -1e4)
    log_probabilities = masked.log_softmax(1)
    loss = -log_probabilities[:, 0].mean()
    target = torch.zeros_like(logits)
    target[:, 0] = 1.0
    loss = loss + settings.pointwise_weight * functional.binary_cross_entropy_with_logits(logits[real], target[real])
    if settings.teacher_weight:
        soft = (teacher / settings.teacher_temperature).masked_fill(~real, -1e4).softmax(1)
        divergence = functional.kl_div(log_probabilities, soft, reduction="none").masked_fill(~real, 0.0)
        loss = loss + settings.teacher_weight * divergence.sum(1).mean()
    return loss


class ListwiseTrainer(Trainer):  # type: ignore[misc]  # transformers types it Any
    """The standard trainer with the listwise loss and a faster head."""

    def __init__(self, *args: Any, listwise: ListwiseSettings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._listwise = listwise

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Score every pair of the batch, put the logits back into lists, and return their loss."""
        flat = torch.cat([model(**chunk).logits.float().view(-1) for chunk in inputs["chunks"]])[inputs["order"]]
        real = torch.isfinite(inputs["teacher"])
        logits = torch.zeros_like(inputs["teacher"]).masked_scatter(real, flat)
        loss = listwise_loss(logits, inputs["teacher"], self._listwise)
        return (loss, {"logits": logits}) if return_outputs else loss

    def create_optimizer(self, model: Any = None) -> Any:
        """Give the new head its own learning rate."""
        target = self.model
        head = [p for n, p in target.named_parameters() if n.startswith("classifier") and p.requires_grad]
        body = [p for n, p in target.named_parameters() if not n.startswith("classifier") and p.requires_grad]
        groups: list[dict[str, Any]] = [{"params": body}, {"params": head, "lr": self._listwise.head_learning_rate}]
        self.optimizer = torch.optim.AdamW(
            groups,
            lr=self._listwise.learning_rate,
            weight_decay=0.01,
        )
        return self.optimizer


def train_listwise(
    model: Any, tokenizer: Any, lists: Sequence[RankingList], output: Path, settings: ListwiseSettings, *, resume: bool
) -> list[dict[str, float]]:
    """Train ``model`` in place, leaving checkpoints in ``output``; return the log history.

    With ``resume`` the newest checkpoint there is continued, in the same order of lists.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad = not (settings.freeze_embeddings and "word_embeddings" in name)
    arguments = TrainingArguments(
        output_dir=str(output),
        per_device_train_batch_size=settings.lists,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=settings.warmup,
        logging_steps=20,
        save_steps=settings.save_steps,
        save_total_limit=2,
        seed=settings.seed,
        data_seed=settings.seed,
        bf16=settings.bf16,
        use_cpu=not torch.cuda.is_available(),
        report_to=[],
        remove_unused_columns=False,
        dataloader_num_workers=0,
        label_names=[],
    )
    trainer = ListwiseTrainer(
        model=model,
        args=arguments,
        train_dataset=list(lists),
        data_collator=ListCollator(tokenizer, settings.max_length),
        listwise=settings,
    )
    checkpoint = get_last_checkpoint(str(output)) if resume and output.is_dir() else None
    trainer.train(resume_from_checkpoint=checkpoint)
    return [dict(row) for row in trainer.state.log_history]
