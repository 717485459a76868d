"""Embedders with a prompt on the query's side and Matryoshka dimensions, beside plain last-token pooling."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

from cogs.memory.embedding.service import EmbeddingService
from cogs.memory.embedding.specs import EmbedderSpec, EmbedderUnavailable, load_embedders
from cogs.memory.inference.model_specs import LoadOptions
from tests.rerankers import checkpoints_causal
from tests.rerankers.checkpoints_other import TEXTS, shake

PROMPT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as Qwen3-Embedding is published: Qwen3, a tokenizer that appends its end, last-token pooling."""
    folder = tmp_path_factory.mktemp("embedders") / "model"
    folder.mkdir()
    tokenizer = checkpoints_causal.train()
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_end|>"])
    end = tokenizer.token_to_id("<|endoftext|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|endoftext|>", pair="$A $B <|endoftext|>", special_tokens=[("<|endoftext|>", end)]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|endoftext|>", padding_side="left").save_pretrained(
        folder
    )
    torch.manual_seed(8)
    model = Qwen3Model(
        Qwen3Config(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=64,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
        )
    )
    shake(model, 0.2)
    model.save_pretrained(folder)
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    entries = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (name, path) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "1_Pooling").mkdir()
    (folder / "2_Normalize").mkdir()
    pooling = {"word_embedding_dimension": 64, "pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def service(folder: Path, **changes: object) -> EmbeddingService:
    spec = EmbedderSpec("tiny", str(folder), 64, max_length=60, query_prompt=PROMPT)
    return EmbeddingService(dataclasses.replace(spec, **changes), LoadOptions(batch_tokens=200))  # type: ignore[arg-type]


def reference(folder: Path, texts: list[str], dim: int = 64) -> np.ndarray:
    """Last-token pooling, one text at a time, without padding; then cut and normalised."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    tokenizer.no_padding()
    tokenizer.enable_truncation(60)
    model = Qwen3Model.from_pretrained(folder, dtype=torch.float32).eval()
    rows = []
    for text in texts:
        with torch.no_grad():
            last = model(torch.tensor([tokenizer.encode(text).ids])).last_hidden_state[0, -1, :dim]
        rows.append(torch.nn.functional.normalize(last, dim=0).numpy())
    return np.stack(rows)


@pytest.mark.parametrize("dim", [64, 32])
def test_vectors_are_those_of_the_card(folder: Path, dim: int) -> None:
    made = service(folder, dim=dim)
    texts = TEXTS
    vectors = made.embed_passages(texts)
    assert vectors.shape == (len(texts), dim)
    assert np.abs(vectors - reference(folder, texts, dim)).max() < 1e-5
    query = made.embed_query("where is the meetup?")
    assert np.abs(query - reference(folder, [f"{PROMPT}where is the meetup?"], dim)[0]).max() < 1e-5
    assert made.model_key.endswith(f"/{dim}")


def test_a_folder_without_its_pooling_needs_it_named(folder: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (bare / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(EmbedderUnavailable, match="pooling"):
        service(bare).load()
    vectors = service(bare, pooling="last").embed_passages(["hello there"])
    assert np.abs(vectors - reference(folder, ["hello there"])).max() < 1e-5


def test_a_fetched_model_is_found_and_a_missing_one_named(folder: Path, tmp_path: Path) -> None:
    spec = EmbedderSpec("tiny", "org/model", 64, revision="abc", max_length=60)
    options = LoadOptions(models_dir=tmp_path)
    with pytest.raises(EmbedderUnavailable, match="models fetch tiny"):
        EmbeddingService(spec, options).load()
    (tmp_path / "org--model@abc").symlink_to(folder)
    assert EmbeddingService(spec, options).embed_passages(["x"]).shape == (1, 64)


def test_pickled_weights_are_not_loaded(folder: Path, tmp_path: Path) -> None:
    pickled = tmp_path / "org--model"
    pickled.mkdir()
    for file in folder.glob("*.json"):
        (pickled / file.name).write_bytes(file.read_bytes())
    torch.save({}, pickled / "pytorch_model.bin")
    with pytest.raises(EmbedderUnavailable, match="pickled"):
        EmbeddingService(EmbedderSpec("t", "org/model", 64), LoadOptions(models_dir=tmp_path)).load()


def test_the_published_embedders_are_named_as_their_cards_say() -> None:
    specs = load_embedders()
    expected = {
        "qwen3-embedding-0.6b": 1024,
        "qwen3-embedding-4b": 2560,
        "qwen3-embedding-8b": 4096,
        "lychee-embed": 1536,
        "qwen3-vl-embedding-2b": 2048,
        "qwen3-vl-embedding-8b": 4096,
    }
    assert {name: specs[name].dim for name in expected} == expected
    for name in ("qwen3-embedding-0.6b", "qwen3-embedding-4b", "qwen3-embedding-8b", "lychee-embed"):
        assert specs[name].query_prompt == PROMPT
        assert specs[name].passage_prompt == ""
    assert specs["qwen3-vl-embedding-2b"].passage_prompt == "Represent the user's input."
    assert specs["qwen3-vl-embedding-2b"].query_prompt == "Retrieve images or text relevant to the user's query."
    assert all(specs[name].license == "Apache-2.0" for name in expected)


def test_every_dimension_of_lychee_is_a_unit_vector(folder: Path) -> None:
    whole = service(folder, dim=64).embed_passages(["a line"])[0]
    for dim in range(32, 65, 32):
        cut = service(folder, dim=dim).embed_passages(["a line"])[0]
        assert np.linalg.norm(cut) == pytest.approx(1, abs=1e-6)
        assert np.abs(cut - whole[:dim] / np.linalg.norm(whole[:dim])).max() < 1e-6
