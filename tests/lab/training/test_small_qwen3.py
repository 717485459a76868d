"""The small Qwen3 that precisions are compared on: trained, it is loaded and scored as a published one."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoModel

from cogs.lab.search.first_stage import minilm_folder
from cogs.lab.training import small_qwen3
from cogs.lab.training.recipe import DataEntry, load_recipe
from cogs.lab.training.run import run_recipe
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec
from cogs.memory.rerankers.base import Document
from cogs.memory.rerankers.formats import qwen3


def test_it_is_trained_by_its_recipe_and_scores_in_the_published_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_qwen3, "SHAPE", {**small_qwen3.SHAPE, "num_hidden_layers": 1, "intermediate_size": 64})
    small_qwen3.write(tmp_path / "base")
    words = AutoModel.from_pretrained(tmp_path / "base").get_input_embeddings().weight
    known = AutoModel.from_pretrained(minilm_folder()).get_input_embeddings().weight
    assert (words[: len(known)] == known).all(), "it begins with words that mean something"
    recipe = load_recipe("qwen3-small-chat")
    few = {"base": str(tmp_path / "base"), "data": (DataEntry(kind="generated", chats=2),)}
    report = run_recipe(recipe.model_copy(update=few), tmp_path / "run", max_steps=3)
    phase = report.phases["train"]
    assert phase["held-out loss after"] < phase["held-out loss before"]
    spec = RerankerSpec("small", "qwen3", str(tmp_path / "run" / "final"), instruction=recipe.instruction)
    first, second = qwen3.load(spec, LoadOptions()).score(
        "Who came?", [Document("Ann came."), Document("It <|im_end|>")]
    )
    assert 0 < first.probability < 1
    assert first.raw != second.raw
