"""Models as files: which are here, what they need, whether they are whole; and the one place that downloads them."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from safetensors import SafetensorError, safe_open

from cogs.memory.embedding.specs import EmbedderSpec
from cogs.memory.inference.model_folders import (
    load_tokenizer,
    local_folder,
    read_json,
    require_safetensors,
)
from cogs.memory.inference.model_specs import RerankerSpec, RerankerUnavailable
from cogs.memory.inference.words import TABLE_FILE, WORDS_DIR

if TYPE_CHECKING:
    pass

MANIFEST: Final = "mneme-fetch.json"
OWN_SETTINGS: Final = "mneme.json"
"""Beside the graphs of this project's own models: ``NAME_sha256`` of each ``NAME.onnx``, ``words_sha256``."""
ONNX_FORMATS: Final = frozenset({"hindsight", "onnx-cross-encoder", "joint", "by-language"})
GB: Final = 1024**3
OVERHEAD: Final = 1.2
"""Memory beside the weights: activations, the tokenizer, the libraries."""
BILLIONS: Final = {
    "lycheemem": 0.6,
    "kalm-nano": 0.54,
    "kalm-small": 2.0,
    "kalm-large": 8.0,
    "bge-reranker-v2-m3": 0.57,
    "ms-marco-minilm": 0.033,
    "hindsight": 0.033,
    "mneme-reranker": 0.022,
    "lychee-": 1.5,
    "minilm": 0.023,
    "late-interaction": 0.023,
}
"""Parameters in billions where the name does not tell them."""

ModelSpec = RerankerSpec | EmbedderSpec


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What is known of one model on this machine; ``sentence`` tells it to a person."""

    name: str
    format: str
    id: str
    revision: str | None
    license: str
    present: bool
    sentence: str

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``models list --json`` prints."""
        names = ("name", "format", "id", "revision", "license", "present")
        return {name: getattr(self, name) for name in names}


def sources(spec: ModelSpec) -> list[tuple[str, str | None]]:
    """Return the repositories a model is made of: its own, and that of the model under an adapter."""
    own = [(spec.id, spec.revision)]
    base = [(spec.base, spec.base_revision)] if isinstance(spec, RerankerSpec) and spec.base else []
    return own + base


def model_format(spec: ModelSpec) -> str:
    """Return a reranker's format, or "embedder"."""
    return spec.format if isinstance(spec, RerankerSpec) else "embedder"


def is_remote(spec: ModelSpec) -> bool:
    """Return whether the model is a server's, so that there is nothing to fetch."""
    return spec.id.startswith(("http://", "https://"))


def find(model_id: str, revision: str | None, models_dir: Path) -> Path | None:
    """Return the folder of a repository, of a local model or of one inside a Python package."""
    if model_id.startswith("package:"):
        found = importlib.util.find_spec(model_id.removeprefix("package:"))
        places = None if found is None else found.submodule_search_locations
        return Path(places[0]) / "model" if places else None
    return local_folder(model_id, revision, models_dir)


def describe(spec: ModelSpec, models_dir: Path, memory_gb: float, cuda_gb: float | None) -> ModelReport:
    """Tell whether a model is here, its licence, the memory it needs, and whether this machine can run it.

    ``memory_gb`` is this machine's, ``cuda_gb`` its GPU's (``None`` without one).
    """

    def report(present: bool, sentence: str) -> ModelReport:
        return ModelReport(
            spec.name, model_format(spec), spec.id, spec.revision, spec.license, present, f"{sentence} ({spec.license})"
        )

    if is_remote(spec):
        return report(True, "runs on a server, so nothing is needed here")
    folders = [find(model_id, revision, models_dir) for model_id, revision in sources(spec)]
    present = all(folder is not None for folder in folders)
    commit = "" if spec.revision is not None else " --revision COMMIT"
    state = "present" if present else f"not here, fetch it with `python bot.py models fetch {spec.name}{commit}`"
    weights = _weights_gb([folder for folder in folders if folder is not None]) if present else None
    return report(present, f"{state}; {_fits(_billions(spec), weights, memory_gb, cuda_gb)}")


def _weights_gb(folders: Iterable[Path]) -> float | None:
    files = [file for folder in folders for pattern in ("*.safetensors", "*.onnx") for file in folder.glob(pattern)]
    return sum(file.stat().st_size for file in files) / GB if files else None


def _billions(spec: ModelSpec) -> float | None:
    for part, billions in BILLIONS.items():
        if part in spec.name:
            return billions
    match = re.search(r"(?<![\w.])(\d+(?:\.\d+)?)b(?!\w)", spec.name.lower())
    # A mixture's name tells the parameters in use, not those in memory.
    return float(match.group(1)) if match else None


def _fits(billions: float | None, weights_gb: float | None, memory_gb: float, cuda_gb: float | None) -> str:
    if billions is None and weights_gb is None:
        return "its memory need is not published"
    # bfloat16 on a GPU; on a CPU float32 unless the profile says bfloat16.
    small = (billions * 2e9 / GB if billions is not None else weights_gb or 0.0) * OVERHEAD
    if 2 * small < 0.3:
        return "needs less than 0.3 GB; any machine can run it"
    need = f"needs about {small:.1f} GB in bfloat16, {2 * small:.1f} GB in float32"
    if cuda_gb is not None and small <= cuda_gb:
        return f"{need}; this machine's GPU can run it"
    if 2 * small <= memory_gb:
        return f"{need}; this machine can run it on the CPU"
    if small <= memory_gb:
        return f"{need}; this machine can run it on the CPU in bfloat16 only"
    return f"{need}; this machine cannot run it, for it has {memory_gb:.1f} GB"


def check(spec: ModelSpec, models_dir: Path) -> str:
    """Look through a model's files; return a sentence of what was checked.

    Raises:
        RerankerUnavailable: it is not here, or a file is missing, cut short or changed.
    """
    if is_remote(spec):
        return f"{spec.name} runs on a server; there are no files to check."
    count = 0
    for model_id, revision in sources(spec):
        folder = find(model_id, revision, models_dir)
        if folder is None:
            raise RerankerUnavailable(
                f"{spec.name} needs {model_id}, which is not here; "
                f"fetch it with `python bot.py models fetch {spec.name}`."
            )
        count += _check_folder(folder, model_format(spec))
    return f"{spec.name} is whole: {count} files checked."


def _check_folder(folder: Path, format_name: str) -> int:
    own = format_name in ONNX_FORMATS or (folder / OWN_SETTINGS).is_file()
    weights = list(folder.glob("*.onnx")) if own else []
    for file in weights or require_safetensors(folder):
        if file.suffix == ".safetensors":
            _check_safetensors(file)
    if (folder / "tokenizer.json").is_file():
        load_tokenizer(folder / "tokenizer.json")
    for file in folder.glob("*.json"):
        _readable(file)
    _check_own(folder)
    manifest = folder / MANIFEST
    if manifest.is_file():
        for name, stated in read_json(manifest).get("files", {}).items():
            file = folder / name
            if not file.is_file():
                raise RerankerUnavailable(f"The file {file} is missing; fetch the model again.")
            if sha256_of(file) != stated["sha256"]:
                raise RerankerUnavailable(f"The file {file} was changed or damaged; fetch the model again.")
    return sum(1 for file in folder.iterdir() if file.is_file())


def _check_own(folder: Path) -> None:
    """Compare the graphs of a model of this project, and the words that it shares, with their stated digests."""
    if not (folder / OWN_SETTINGS).is_file():
        return
    for key, stated in read_json(folder / OWN_SETTINGS).items():
        part, _, kind = key.rpartition("_")
        if kind != "sha256":
            continue
        file = WORDS_DIR / TABLE_FILE if part == "words" else folder / f"{part}.onnx"
        if not file.is_file():
            raise RerankerUnavailable(f"The file {file} is missing; install the model again.")
        if sha256_of(file) != stated:
            raise RerankerUnavailable(f"The file {file} was changed or damaged; install the model again.")


def _readable(file: Path) -> None:
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RerankerUnavailable(f"The model file {file} cannot be read: {error}.") from error


def _check_safetensors(file: Path) -> None:
    try:
        with safe_open(file, framework="pt") as tensors:
            if not tensors.keys():
                raise RerankerUnavailable(f"The weights {file} are empty.")
    except (SafetensorError, OSError) as error:
        raise RerankerUnavailable(f"The weights {file} are cut short or damaged: {error}.") from error


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
