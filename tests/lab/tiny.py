"""Tiny random bases and a data set that a tiny model can learn, for the recipes' tests. They say nothing of quality."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, Qwen3Config, Qwen3ForCausalLM

from cogs.lab.search.first_stage import minilm_folder
from cogs.lab.training.examples import LabelledList, write_labelled
from cogs.lab.training.recipe import DataEntry, Labels, Recipe

WORDS = "river stone lamp cloud table paper green seven north apple chair winter music bridge silver window".split()


def tiny_base(family: str, folder: Path) -> Path:
    """Write a random model of the family's architecture with MiniLM's tokenizer; return its folder."""
    torch.manual_seed(0)
    tokenizer: Any = AutoTokenizer.from_pretrained(minilm_folder())
    tokenizer.save_pretrained(folder)
    if family in ("pair", "chat-pair"):
        shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
        model: Any = BertForSequenceClassification(BertConfig(vocab_size=30522, num_labels=1, **shape))
    else:
        model = Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=30522,
                hidden_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=16,
                intermediate_size=64,
                pad_token_id=0,
            )
        )
    model.save_pretrained(folder)
    return folder


def learnable_lists(path: Path, count: int = 48) -> Path:
    """Write lists whose evidence always says "answer" and whose other documents never do."""
    rng = random.Random(4)
    rows = []
    for number in range(count):
        query = f"what about {' '.join(rng.sample(WORDS, 2))} {number}"
        texts = [
            f"Nia: the answer is {rng.choice(WORDS)}",
            *(f"Bo: {' '.join(rng.sample(WORDS, 3))}" for _ in range(3)),
        ]
        task = ("general", "memory", "dialogue")[number % 3]
        rows.append(LabelledList(query, tuple(texts), (1.0, 0.0, 0.0, 0.0), (0.8, 0.3, 0.2, 0.1), task))
    write_labelled(path, rows)
    return path


def shrunk(recipe: Recipe, folder: Path, *, learning_rate: float = 3e-3, epochs: float = 2.0) -> Recipe:
    """Return a recipe with its own losses, labels and phases on a tiny base, tiny data and a fast schedule."""
    lists = learnable_lists(folder / "learnable.jsonl")
    entries = tuple(DataEntry(kind="lists", path=lists, task=task) for task in ("general", "memory", "dialogue"))
    labels: Labels = recipe.labels.model_copy(update={"teacher": "first-stage"})
    phases = tuple(
        phase.model_copy(
            update={
                "learning_rate": learning_rate,
                "epochs": epochs,
                "warmup_steps": 0,
                "scheduler": "constant",
                "merge": phase.merge.model_copy(update={"steps": 4}) if phase.merge else None,
            }
        )
        for phase in recipe.phases
    )
    many = len({task for phase in phases for task in phase.tasks}) > 1
    return recipe.model_copy(
        update={
            "base": str(tiny_base(recipe.family, folder / "base")),
            "revision": None,
            "data": entries if many else entries[:1],
            "labels": labels,
            "phases": phases,
            "max_length": 160,
            "save_steps": 20,
            "bf16": False,
        }
    )
