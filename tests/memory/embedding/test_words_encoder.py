"""mneme-embedder as it is shipped: whole, multilingual, and refused where a file is not the expected one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cogs.memory.embedding.service import EmbeddingService
from cogs.memory.embedding.specs import MNEME, EmbedderUnavailable
from cogs.memory.inference.model_folders import read_json
from cogs.memory.inference.model_specs import LoadOptions
from cogs.memory.models.catalogue import check

FACTS = {
    "en": ("Where does Anna live?", "Anna: I moved to Ghent last month", "Ben: I would like to live somewhere warm"),
    "de": ("Wogegen ist Jonas allergisch?", "Jonas: Ich vertrage keine Erdnüsse", "Lena: Ich esse gern Nüsse im Salat"),
    "es": ("¿Qué coche tiene Lucía?", "Lucía: me he comprado un Honda azul", "Diego: mañana voy al centro en autobús"),
    "zh": ("王芳做什么工作？", "王芳: 我在医院当护士", "小明: 我明天要去医院看朋友"),
    "ja": ("健太の誕生日はいつ？", "健太: 五月三日に生まれました", "美咲: 五月に旅行に行きたいな"),
    "vi": ("Phương sống ở đâu?", "Phương: mình vừa chuyển đến Đà Nẵng", "Thảo: hôm nay trời mưa to quá"),
    "tr": ("Mehmet ne iş yapıyor?", "Mehmet: bir okulda öğretmenim", "Ayşe: okul bugün tatil"),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingService:
    made = EmbeddingService.from_name("mneme-embedder", LoadOptions(models_dir=tmp_path_factory.mktemp("models")))
    made.load()
    return made


@pytest.mark.parametrize("language", FACTS)
def test_a_fact_is_nearer_to_its_question_than_its_neighbour(service: EmbeddingService, language: str) -> None:
    asked, right, wrong = FACTS[language]
    near, far = service.embed_passages([right, wrong]) @ service.embed_query(asked)
    assert near > far


def test_a_question_finds_its_fact_in_another_language(service: EmbeddingService) -> None:
    turns = service.embed_passages([fact[1] for fact in FACTS.values()])
    asked = service.embed_query("Wer arbeitet als Krankenschwester?")
    assert list(FACTS)[int(np.argmax(turns @ asked))] == "zh"


def test_anything_that_a_person_can_type_has_a_unit_vector_of_its_own(service: EmbeddingService) -> None:
    texts = ["", "ok", "a\x00b\u202e", "lone \ud83d surrogate", "long " * 3000, "🇫🇷👩‍💻", "<s></s><pad><mask>"]
    vectors = service.embed_passages(texts)
    assert vectors.shape == (len(texts), 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alone = np.stack([service.embed_passages([text])[0] for text in texts])
    assert np.einsum("nd,nd->n", vectors, alone).min() > 0.999


def test_the_key_of_the_vectors_names_the_weights(service: EmbeddingService) -> None:
    about = read_json(Path(MNEME.id) / "mneme.json")
    assert about["model_sha256"] == MNEME.sha256
    assert service.model_key == f"mneme-embedder@{about['model_sha256'][:12]}/384"


def test_what_is_shipped_is_whole_and_a_changed_graph_is_refused(tmp_path: Path) -> None:
    assert "whole" in check(MNEME, tmp_path)
    folder = tmp_path / "model"
    shutil.copytree(MNEME.id, folder)
    graph = bytearray((folder / "model.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (folder / "model.onnx").write_bytes(graph)
    changed = replace(MNEME, id=str(folder))
    with pytest.raises(EmbedderUnavailable, match="not the expected"):
        EmbeddingService(changed, LoadOptions(models_dir=tmp_path)).load()
    with pytest.raises(RuntimeError, match="changed or damaged"):
        check(changed, tmp_path)
    (folder / "model.onnx").unlink()
    with pytest.raises(EmbedderUnavailable, match="missing"):
        EmbeddingService(changed, LoadOptions(models_dir=tmp_path)).load()


def test_a_graph_of_other_words_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MNEME.id, folder)
    about = (folder / "mneme.json").read_text(encoding="utf-8")
    (folder / "mneme.json").write_text(about.replace(read_json(folder / "mneme.json")["words_sha256"], "0" * 64))
    with pytest.raises(EmbedderUnavailable, match=r"words\.safetensors"):
        EmbeddingService(replace(MNEME, id=str(folder)), LoadOptions(models_dir=tmp_path)).load()
