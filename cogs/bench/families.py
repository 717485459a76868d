"""The families of models that ``bench rerank`` measures, by name; light, so that a wrong name is told at once."""

from __future__ import annotations

from typing import Final

FAMILIES: Final = ("qwen3", "lycheemem", "minilm-l6", "minilm-l12")
