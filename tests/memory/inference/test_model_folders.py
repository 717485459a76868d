"""Where a model's files are looked for, and what is never loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cogs.memory.inference.model_folders import (
    folder_name,
    load_tokenizer,
    local_folder,
    read_json,
    require_folder,
    require_safetensors,
)
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable


def test_a_folder_then_the_fetched_revision_then_one_put_by_hand(tmp_path: Path) -> None:
    models = tmp_path / "models"
    own = tmp_path / "own"
    own.mkdir()
    assert local_folder(str(own), None, models) == own
    assert local_folder("org/name", "abc", models) is None
    by_hand = models / "org--name"
    by_hand.mkdir(parents=True)
    assert local_folder("org/name", "abc", models) == by_hand
    pinned = models / "org--name@abc"
    pinned.mkdir()
    assert local_folder("org/name", "abc", models) == pinned
    assert local_folder("org/name", "def", models) == by_hand
    assert folder_name("org/name", "refs/pr/1") == "org--name@refs--pr--1"


@pytest.mark.parametrize(
    "name", ["", "no such/fol der", "/absent/folder", "./absent", "https://host/v1/rerank", "../x/y"]
)
def test_what_is_no_model_on_this_machine_is_not_found(tmp_path: Path, name: str) -> None:
    assert local_folder(name, None, tmp_path) is None


def test_the_hubs_cache_is_read_at_exactly_the_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "a" * 40
    snapshot = tmp_path / "models--org--name" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert local_folder("org/name", commit, tmp_path / "models") == snapshot
    assert local_folder("org/name", "b" * 40, tmp_path / "models") is None


def test_a_missing_model_names_the_command(tmp_path: Path) -> None:
    spec = RerankerSpec("a-name", "lycheemem", "org/adapter", "1", base="org/base", base_revision="2")
    options = LoadOptions(models_dir=tmp_path)
    (tmp_path / "org--adapter@1").mkdir()
    assert require_folder(spec, options) == tmp_path / "org--adapter@1"
    with pytest.raises(RerankerUnavailable, match=r"org/base.*python bot\.py models fetch a-name"):
        require_folder(spec, options, which="base")


def test_pickles_and_half_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RerankerUnavailable, match="no safetensors"):
        require_safetensors(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(RerankerUnavailable, match="pickled"):
        require_safetensors(tmp_path)
    (tmp_path / "model-1.safetensors").write_bytes(b"x")
    assert [file.name for file in require_safetensors(tmp_path)] == ["model-1.safetensors"]
    shards = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(shards))
    with pytest.raises(RerankerUnavailable, match=r"model-2\.safetensors"):
        require_safetensors(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "7"])
def test_json_that_is_no_object_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(RerankerUnavailable, match=r"config\.json"):
        read_json(tmp_path / "config.json")
    with pytest.raises(RerankerUnavailable, match=r"config\.json"):
        load_tokenizer(tmp_path / "config.json")
    with pytest.raises(RerankerUnavailable, match="missing"):
        load_tokenizer(tmp_path / "tokenizer.json")
