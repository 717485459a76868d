"""Where a model's files lie on this machine: a folder, what ``models fetch`` brought, or the hub's own cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Literal

from tokenizers import Tokenizer

from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable

UNSAFE_WEIGHTS: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
"""Pickled weights, which can run code when they are read; never fetched and never loaded."""


def folder_name(model_id: str, revision: str | None) -> str:
    """Return the name of a fetched model's folder: ``org--name@revision``."""
    name = model_id.replace("/", "--")
    return name if revision is None else f"{name}@{revision.replace('/', '--')}"


def local_folder(model_id: str, revision: str | None, models_dir: Path) -> Path | None:
    """Return the folder of a model that is on this machine, or ``None``; nothing is downloaded.

    Looked for in this order: ``model_id`` itself where it is a folder; ``models_dir/org--name@revision``, as
    ``models fetch`` writes it; ``models_dir/org--name``, where an operator put it by hand; the hub's cache at exactly
    this revision.
    """
    if not model_id:
        return None
    folder = Path(model_id).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or model_id.startswith("."):
        return None
    for candidate in (models_dir / folder_name(model_id, revision), models_dir / folder_name(model_id, None)):
        if candidate.is_dir():
            return candidate
    from huggingface_hub import snapshot_download  # needed only for what is in no folder of ours
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model_id, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def require_folder(spec: RerankerSpec, options: LoadOptions, *, which: Literal["id", "base"] = "id") -> Path:
    """Return the folder of a reranker's model, or of the model under its adapter.

    Raises:
        RerankerUnavailable: it is not on this machine; the sentence names the command that fetches it.
    """
    model_id, revision = (spec.id, spec.revision) if which == "id" else (spec.base or "", spec.base_revision)
    folder = local_folder(model_id, revision, options.models_dir)
    if folder is None:
        named = model_id or f"its {which}"
        raise RerankerUnavailable(
            f"The reranker {spec.name} needs {named}, which is not on this machine; "
            f"fetch it with `python bot.py models fetch {spec.name}`."
        )
    return folder


def require_safetensors(folder: Path) -> list[Path]:
    """Return the safetensors files of a model's folder; every shard that its index names must be there.

    Raises:
        RerankerUnavailable: there are none (pickled weights are not loaded), or shards are missing.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickled = any(any(folder.glob(pattern)) for pattern in UNSAFE_WEIGHTS)
        why = "only pickled weights, which can run code and are not loaded" if pickled else "no safetensors weights"
        raise RerankerUnavailable(f"The model in {folder} has {why}.")
    for index in folder.glob("*.safetensors.index.json"):
        shards = set(read_json(index).get("weight_map", {}).values())
        if missing := sorted(shards - {file.name for file in files}):
            raise RerankerUnavailable(
                f"The model in {folder} is incomplete: {missing[0]} is missing; fetch it again with "
                f"`python bot.py models fetch`."
            )
    return files


def load_tokenizer(file: Path) -> Tokenizer:
    """Return the tokenizer of a ``tokenizer.json``, without padding and truncation.

    Raises:
        RerankerUnavailable: it is missing or cannot be read.
    """
    if not file.is_file():
        raise RerankerUnavailable(f"The tokenizer {file} is missing; fetch the model again.")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain Exception
        raise RerankerUnavailable(f"The tokenizer {file} cannot be read: {error}.") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def read_json(path: Path) -> dict[str, Any]:
    """Return a model's JSON file.

    Raises:
        RerankerUnavailable: it is missing or is no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RerankerUnavailable(f"The model file {path} cannot be read: {error}.") from error
    if not isinstance(value, dict):
        raise RerankerUnavailable(f"The model file {path} holds no JSON object.")
    return value
