"""Qwen3-VL-Embedding: texts and pictures in one space, by the hidden state of the last token.

Source: the cards of https://huggingface.co/Qwen/Qwen3-VL-Embedding-2B and -8B. The instruction is the system message;
the user message holds the pictures, then the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import torch
from transformers import Qwen3VLModel

from cogs.memory.inference.model_specs import LoadOptions, RerankerUnavailable
from cogs.memory.inference.pictures import read_pictures
from cogs.memory.inference.vision_prompts import EMPTY, MOST_IMAGES, VisionTokenizer, last_hidden, require_vision_model

if TYPE_CHECKING:
    from cogs.memory.embedding.specs import EmbedderSpec

INSTRUCTION: Final = "Represent the user's input."
Vectors = npt.NDArray[np.float32]


def render(instruction: str, text: str) -> str:
    """Return the prompt of a text without pictures."""
    return (
        f"<|im_start|>system\n{instruction}<|im_end|>\n<|im_start|>user\n{text or EMPTY}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


class QwenVLEncoder:
    """Texts, with or without pictures → vectors."""

    def __init__(self, spec: EmbedderSpec, folder: Path, options: LoadOptions) -> None:
        from cogs.memory.embedding.specs import EmbedderUnavailable

        try:
            require_vision_model(folder, spec.name)
            self._tokenizer = VisionTokenizer(folder)
        except RerankerUnavailable as error:
            raise EmbedderUnavailable(str(error)) from error
        dtype = torch.bfloat16 if options.dtype == "bfloat16" else torch.float32
        model, report = Qwen3VLModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=dtype, output_loading_info=True
        )
        if missing := sorted(report["missing_keys"]):
            raise EmbedderUnavailable(f"The checkpoint in {folder} has no weights for {missing[0]}.")
        self._model = model.to(options.device).eval()
        self._options = options
        self._limit = min(spec.max_length, options.max_document_tokens)
        # The service puts the prompt before the text; here it is the system message.
        self._prompts = sorted({spec.query_prompt, spec.passage_prompt, ""}, key=len, reverse=True)

    def encode(self, texts: Sequence[str], images: Sequence[Sequence[Path]] | None = None) -> Vectors:
        """Return float32 vectors, shape (n, model's dim), in the order of ``texts``; ``images`` are files of each."""
        prompts = []
        for number, whole in enumerate(texts):
            instruction = next(prompt for prompt in self._prompts if whole.startswith(prompt))
            text = whole.removeprefix(instruction)
            pictures = read_pictures(images[number], MOST_IMAGES) if images is not None else []
            text = text or ("" if pictures else EMPTY)
            prompts.append(self._tokenizer.prompt(instruction or INSTRUCTION, "", text, pictures, self._limit))
        hidden = last_hidden(
            self._model, prompts, self._tokenizer.pad_id, self._options.batch_tokens, self._options.device
        )
        vectors: Vectors = hidden.float().cpu().numpy()
        return vectors
