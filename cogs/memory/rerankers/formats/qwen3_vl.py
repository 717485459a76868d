"""Qwen3-VL-Reranker: messages are judged with their images and the frames of their animations.

Source: the cards of https://huggingface.co/Qwen/Qwen3-VL-Reranker-2B and -8B. Options of an entry: ``max_images``
(4) bounds the pictures that one message brings in.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import torch
from transformers import Qwen3VLForConditionalGeneration

from cogs.memory.inference.model_folders import require_folder
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.inference.pictures import read_pictures
from cogs.memory.inference.vision_prompts import EMPTY, MOST_IMAGES, VisionTokenizer, last_hidden, require_vision_model
from cogs.memory.rerankers.base import Document, Reranker, Scale, Score, sigmoid
from cogs.memory.rerankers.prompts import JUDGE

INSTRUCTION: Final = "Given a search query, retrieve relevant candidates that answer the query."


def render(instruction: str, query: str, text: str) -> str:
    """Return the prompt of a message without pictures."""
    return (
        f"<|im_start|>system\n{JUDGE}<|im_end|>\n<|im_start|>user\n{ask(instruction, query)}{text or EMPTY}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def ask(instruction: str, query: str) -> str:
    """Return what stands before the document."""
    return f"<Instruct>: {instruction}<Query>:{query or EMPTY}\n<Document>:"


class Qwen3VLReranker(Reranker):
    """Scores by P("yes"); ``raw`` is the log-odds."""

    scale: ClassVar[Scale] = "log_odds"
    sees_images: ClassVar[bool] = True

    def __init__(self, spec: RerankerSpec, options: LoadOptions, model: Any, tokenizer: VisionTokenizer) -> None:
        super().__init__(spec)
        self._options = options
        self._tokenizer = tokenizer
        yes, no = tokenizer.id_of("yes"), tokenizer.id_of("no")
        if yes is None or no is None:
            raise RerankerUnavailable(f"The tokenizer of {spec.name} has no single token for yes and no.")
        head = model.get_output_embeddings().weight.detach()
        # The only direction of the head that the score needs.
        self._difference = (head[yes] - head[no]).clone()
        self._model = model.model
        self._most_images = int(spec.options.get("max_images", MOST_IMAGES))

    def score(self, query: str, documents: Sequence[Document]) -> list[Score]:
        """Score ``documents`` in their order, with the images that can be read."""
        if not documents:
            return []
        before = ask(self.spec.instruction or INSTRUCTION, query)
        fixed = len(self._tokenizer.prompt(JUDGE, before, "", [], 0).ids)
        prompts = []
        for document in documents:
            room = self.spec.max_length - fixed
            pictures = []
            for picture in read_pictures(self._images_of(document), self._most_images):
                # A message with more pictures than fit keeps the first.
                takes = (picture.tokens + 16) * max(1, len(picture.seconds))
                if takes > room:
                    break
                room -= takes
                pictures.append(picture)
            text = document.text or ("" if pictures else EMPTY)
            limit = max(0, min(room, self._options.max_document_tokens))
            prompts.append(self._tokenizer.prompt(JUDGE, before, text, pictures, limit))
        hidden = last_hidden(
            self._model, prompts, self._tokenizer.pad_id, self._options.batch_tokens, self._options.device
        )
        raws = (hidden @ self._difference).float().cpu().tolist()
        return [Score(sigmoid(raw), raw) for raw in raws]

    def _images_of(self, document: Document) -> tuple[Path, ...]:
        if document.images or document.message_id is None or self._options.images is None:
            return document.images
        return self._options.images.files(document.message_id)

    def close(self) -> None:
        """Free the weights."""
        del self._model, self._difference


def load(spec: RerankerSpec, options: LoadOptions) -> Qwen3VLReranker:
    """Load a Qwen3-VL-Reranker.

    Raises:
        RerankerUnavailable: files are missing, the model is another one, or the profile wants INT8.
    """
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if options.dtype not in dtypes:
        raise RerankerUnavailable(f"{spec.name} runs in float32 or bfloat16 only, not in {options.dtype}.")
    folder = require_folder(spec, options)
    require_vision_model(folder, spec.name)
    model, report = Qwen3VLForConditionalGeneration.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=dtypes[options.dtype], output_loading_info=True
    )
    if missing := sorted(report["missing_keys"]):
        raise RerankerUnavailable(f"The checkpoint in {folder} has no weights for {missing[0]}.")
    return Qwen3VLReranker(spec, options, model.to(options.device).eval(), VisionTokenizer(folder))
