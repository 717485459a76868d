"""A mistake in a file of the operator's is told in one sentence that names the file, the entry and the setting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cogs.memory.embedding.specs import EmbedderUnavailable, load_embedders
from cogs.memory.errors import BadRequest, MnemeError, ProfileError
from cogs.memory.inference.profiles import load_profiles
from cogs.memory.rerankers.registry import load_specs
from config.settings import CONFIG_DIR

RERANKERS = (load_specs, BadRequest)
EMBEDDERS = (load_embedders, EmbedderUnavailable)
PROFILES = (load_profiles, ProfileError)


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (RERANKERS, "mine: {id: some/model}", "The reranker mine in x.yaml is malformed at format: Field required."),
        (RERANKERS, "mine: {format: qwen3, lenght: 3}", "malformed at lenght: there is no such setting."),
        (RERANKERS, "mine: {format: qwen3, max_length: -1}", "at max_length: Input should be greater than"),
        (RERANKERS, "mine: {format: qwen3, revision: 1234567}", "at revision: Input should be a valid string."),
        (RERANKERS, "mine: {format: qwn3}", "has the unknown format 'qwn3'; choose one of qwen3, "),
        (RERANKERS, "mine: 3", "The reranker mine in x.yaml is malformed: it must be a mapping."),
        (RERANKERS, "- mine", "x.yaml must map names to rerankers."),
        (RERANKERS, "mine: [", "The rerankers cannot be read from "),
        (EMBEDDERS, "mine: {id: some/model}", "The embedder mine in x.yaml is malformed at dim: Field required."),
        (EMBEDDERS, "mine: {id: x, dim: 0}", "at dim: Input should be greater than or equal to 1."),
        (EMBEDDERS, "mine: {id: x, dim: 8, pooling: max}", "at pooling: Input should be 'mean', 'last',"),
        (PROFILES, "mine: {device: tpu}", "The profile mine in x.yaml is malformed at device: "),
        (PROFILES, "mine: {needs: {memory_gb: 0}}", "at needs.memory_gb: Input should be greater than 0."),
        (PROFILES, "mine: {candidats: 3}", "at candidats: there is no such setting."),
        (PROFILES, "", "x.yaml holds no profile."),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(
    kind: tuple[Callable[[Path], object], type[MnemeError]], text: str, said: str, tmp_path: Path
) -> None:
    load, refusal = kind
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(refusal) as caught:
        load(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_files_that_come_with_the_project_are_sound() -> None:
    assert "mneme-reranker-chat" in load_specs()
    assert "minilm-l6" in load_embedders()
    assert "cpu" in load_profiles(CONFIG_DIR / "profiles.yaml")
