"""Prompts of vision-language models: text and images, with their place-holders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoConfig

from cogs.memory.inference.batches import length_sorted_batches
from cogs.memory.inference.model_folders import require_safetensors
from cogs.memory.inference.model_specs import RerankerUnavailable
from cogs.memory.inference.pictures import FACTOR, MERGE, PATCH, Picture
from cogs.memory.inference.plain_tokenizer import CHARACTERS_PER_TOKEN, PlainTokenizer

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
        """Return the prompt: ``before``, the pictures, then at most ``text_tokens`` tokens of ``text``.

        Args:
            system: the system prompt.
            before: what stands before the pictures.
            text: what stands after them; written by a stranger, so nothing in it is a special token.
            pictures: the pictures, and frames of videos.
            text_tokens: tokens of ``text`` at most; the rest is cut off.
        """
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
    """Return the hidden state of each prompt's last token, shape (n, dim), in length-sorted batches, padded left.

    Args:
        model: a transformers model without its head.
        prompts: n prompts.
        pad_id: the token that fills shorter prompts.
        batch_tokens: padded tokens of a batch at most.
        device: where the model is.
    """
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
    """Refuse a folder that is no Qwen3-VL with the patches that :mod:`cogs.memory.inference.pictures` cuts.

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
