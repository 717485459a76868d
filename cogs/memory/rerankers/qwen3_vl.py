"""Qwen3-VL-Reranker: messages are judged with their images and the frames of their animations.

Source: the cards of https://huggingface.co/Qwen/Qwen3-VL-Reranker-2B and -8B. Options of an entry: ``max_images``
(4) bounds the pictures that one message brings in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoConfig, Qwen3VLForConditionalGeneration

from cogs.memory.batches import length_sorted_batches
from cogs.memory.pictures import FACTOR, MERGE, PATCH, Picture, read_pictures
from cogs.memory.rerankers.base import (
    Document,
    LoadOptions,
    Reranker,
    RerankerSpec,
    RerankerUnavailable,
    Scale,
    Score,
    sigmoid,
)
from cogs.memory.rerankers.files import require_folder, require_safetensors
from cogs.memory.rerankers.onnx_cross_encoder import CHARACTERS_PER_TOKEN, PlainTokenizer
from cogs.memory.rerankers.prompts import JUDGE

INSTRUCTION: Final = "Given a search query, retrieve relevant candidates that answer the query."
EMPTY: Final = "NULL"
MOST_IMAGES: Final = 4
MARKS: Final = (
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
IMAGE, VIDEO = 1, 2


def render(instruction: str, query: str, text: str) -> str:
    """Return the prompt of a message without pictures."""
    return (
        f"<|im_start|>system\n{JUDGE}<|im_end|>\n<|im_start|>user\n{ask(instruction, query)}{text or EMPTY}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def ask(instruction: str, query: str) -> str:
    """Return what stands before the document."""
    return f"<Instruct>: {instruction}<Query>:{query or EMPTY}\n<Document>:"


@dataclass(slots=True)
class VisionPrompt:
    """Token ids with their kinds (0 text, 1 image, 2 video) and the pictures that fill the kinds' places."""

    ids: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)

    def add(self, ids: Sequence[int], kind: int = 0) -> None:
        """Append tokens of one kind."""
        self.ids.extend(ids)
        self.kinds.extend([kind] * len(ids))


class VisionTokenizer:
    """System and user message → a prompt; text that spells a special token stays text."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = PlainTokenizer(folder / "tokenizer.json", also_special=MARKS)
        ids = [self._tokenizer.id_of(mark) for mark in MARKS]
        if None in ids:
            raise RerankerUnavailable(f"The tokenizer in {folder} has no {MARKS[ids.index(None)]}.")
        self._start, self._end, self._vision, self._vision_end, self.image, self.video = (
            i for i in ids if i is not None
        )
        self.pad_id = self._tokenizer.pad_id

    def id_of(self, token: str) -> int | None:
        """Return the id of a token, or ``None``."""
        return self._tokenizer.id_of(token)

    def plain(self, text: str) -> list[int]:
        """Return the ids of a text."""
        return self._tokenizer.encode([text])[0]

    def prompt(
        self, system: str, before: str, text: str, pictures: Sequence[Picture], text_tokens: int
    ) -> VisionPrompt:
        """Return the prompt: ``before``, the pictures, then at most ``text_tokens`` tokens of ``text``."""
        prompt = VisionPrompt()
        text = text[: text_tokens * CHARACTERS_PER_TOKEN]
        prompt.add([self._start, *self.plain(f"system\n{system}"), self._end, *self.plain("\n"), self._start])
        opening = self.plain(f"user\n{before}")
        if not pictures:
            # Without a picture between them, both are one text.
            prompt.add(self.plain(f"user\n{before}{text}")[: len(opening) + text_tokens])
        else:
            prompt.add(opening)
            for picture in pictures:
                self._show(prompt, picture)
            prompt.add(self.plain(text)[:text_tokens])
        prompt.add([self._end, *self.plain("\n"), self._start, *self.plain("assistant\n")])
        return prompt

    def _show(self, prompt: VisionPrompt, picture: Picture) -> None:
        prompt.pictures.append(picture)
        times = [f"<{second:.1f} seconds>" for second in picture.seconds] or [""]
        pad, kind = (self.video, VIDEO) if picture.seconds else (self.image, IMAGE)
        for time in times:
            prompt.add([*self.plain(time), self._vision])
            prompt.add([pad] * picture.tokens, kind)
            prompt.add([self._vision_end])


@torch.inference_mode()
def last_hidden(
    model: Any, prompts: Sequence[VisionPrompt], pad_id: int, batch_tokens: int, device: str
) -> torch.Tensor:
    """Return the hidden state of each prompt's last token, shape (n, dim), in length-sorted batches, padded left."""
    found: list[torch.Tensor] = [torch.empty(0)] * len(prompts)
    for batch in length_sorted_batches([len(prompt.ids) for prompt in prompts], batch_tokens):
        chosen = [prompts[row] for row in batch]
        width = len(chosen[-1].ids)
        ids: npt.NDArray[np.int64] = np.full((len(chosen), width), pad_id, dtype=np.int64)
        mask, kinds = np.zeros_like(ids), np.zeros_like(ids)
        for line, prompt in enumerate(chosen):
            ids[line, width - len(prompt.ids) :] = prompt.ids
            mask[line, width - len(prompt.ids) :] = 1
            kinds[line, width - len(prompt.ids) :] = prompt.kinds
        pictures = [picture for prompt in chosen for picture in prompt.pictures]
        given: dict[str, torch.Tensor] = {}
        for names, some in (
            (("pixel_values", "image_grid_thw"), [p for p in pictures if not p.seconds]),
            (("pixel_values_videos", "video_grid_thw"), [p for p in pictures if p.seconds]),
        ):
            if some:
                given[names[0]] = torch.from_numpy(np.concatenate([p.patches for p in some])).to(device, model.dtype)
                given[names[1]] = torch.tensor([p.grid for p in some], device=device)
        if pictures:
            given["mm_token_type_ids"] = torch.from_numpy(kinds).to(device)
        states = model(
            input_ids=torch.from_numpy(ids).to(device),
            attention_mask=torch.from_numpy(mask).to(device),
            use_cache=False,
            **given,
        ).last_hidden_state[:, -1]
        for line, row in enumerate(batch):
            found[int(row)] = states[line]
    return torch.stack(found)


def require_vision_model(folder: Path, name: str) -> None:
    """Refuse a folder that is no Qwen3-VL with the patches that :mod:`cogs.memory.pictures` cuts.

    Raises:
        RerankerUnavailable: it is another model.
    """
    require_safetensors(folder)
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type != "qwen3_vl":
        raise RerankerUnavailable(f"{name} must be a Qwen3-VL; the one in {folder} is a {config.model_type}.")
    vision = config.vision_config
    if (vision.patch_size, vision.spatial_merge_size) != (PATCH, MERGE):
        raise RerankerUnavailable(
            f"{name} cuts images by {vision.patch_size * vision.spatial_merge_size}, not {FACTOR}."
        )


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
