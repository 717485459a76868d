"""Rerankers by name: ``config/rerankers.yaml`` → a spec → the format's class, imported when it is first used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from cogs.memory.errors import BadRequest
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.inference.yaml_entries import load_entries
from cogs.memory.rerankers.base import Loader, Reranker
from config.settings import CONFIG_DIR, PROJECT_DIR

RERANKERS_FILE: Final = CONFIG_DIR / "rerankers.yaml"

FORMATS: Final[Mapping[str, str]] = {
    "qwen3": "qwen3",
    "lycheemem": "lycheemem",
    "memreranker": "memreranker",
    "prism": "prism",
    "lychee": "lychee",
    "hindsight": "hindsight",
    "kalm": "kalm",
    "querit": "querit",
    "qwen3-vl": "qwen3_vl",
    "cross-encoder": "cross_encoder",
    "onnx-cross-encoder": "onnx_cross_encoder",
    "joint": "joint",
    "by-language": "by_language",
    "late-interaction": "late_interaction",
    "http": "http",
}
"""Each published format and the module of this package that holds its ``load``. Other packages add theirs as
``package.module:function``, which is also how an operator names a format of his own."""


def load_specs(path: Path | None = None) -> dict[str, RerankerSpec]:
    """Read the rerankers by name, in the order of the file.

    A relative ``id`` that is a folder of this project becomes its absolute path.

    Raises:
        BadRequest: the file cannot be read or an entry is malformed; the sentence names the entry.
    """
    path = RERANKERS_FILE if path is None else path
    specs = load_entries(path, "reranker", TypeAdapter(RerankerSpec), BadRequest)
    for spec in specs.values():
        if spec.format not in FORMATS and ":" not in spec.format:
            raise BadRequest(
                f"The reranker {spec.name} in {path.name} has the unknown format {spec.format!r}; "
                f"choose one of {', '.join(FORMATS)}."
            )
    return {name: _with_local_folder(spec) for name, spec in specs.items()}


def _with_local_folder(spec: RerankerSpec) -> RerankerSpec:
    local = PROJECT_DIR / spec.id
    return replace(spec, id=str(local)) if spec.id and not Path(spec.id).is_absolute() and local.is_dir() else spec


def load_reranker(spec: RerankerSpec, options: LoadOptions) -> Reranker:
    """Load a reranker.

    Raises:
        RerankerUnavailable: it cannot be used here; the sentence says why and what to do.
    """
    target = FORMATS.get(spec.format)
    module_name, _, function = (
        (f"{__package__}.formats.{target}", "", "load") if target is not None else spec.format.partition(":")
    )
    try:
        loader: Loader = getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError) as error:
        raise RerankerUnavailable(f"The format of {spec.name} cannot be loaded: {error}.") from error
    return loader(spec, options)
