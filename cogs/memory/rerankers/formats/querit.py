"""Querit-Reranker (arXiv 2606.19037): a causal backbone whose last token, ``[CLS]``, is classified as 0 or 1.

Source: the cards of https://huggingface.co/Querit/Querit and https://huggingface.co/Querit/Querit-4B. What they do not
publish is read from the checkpoint: the backbone from its ``config.json``, the head from its weights. A checkpoint
that brings its own code (``auto_map``) runs only where the operator names it in ``MNEME_TRUST_REMOTE_CODE``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from transformers import AutoModel

from cogs.memory.inference.batches import length_sorted_batches
from cogs.memory.inference.model_folders import read_json, require_folder, require_safetensors
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.inference.plain_tokenizer import CHARACTERS_PER_TOKEN, PlainTokenizer
from cogs.memory.rerankers.base import Document, Reranker, Scale, Score, to_probability

INSTRUCTION: Final = "Judge whether the Content meets the requirements based on the Query."
CLS: Final = "[CLS]"
CONTENT_MARK: Final = "; Content:"


def render(instruction: str | None, query: str, text: str) -> str:
    """Return what the model reads before ``[CLS]``."""
    return f"{instruction or INSTRUCTION} Query: {query}{CONTENT_MARK} {text}"


def attention_mask(lengths: Sequence[int], width: int) -> torch.Tensor:
    """Return the boolean mask of left-padded rows, shape (rows, 1, width, width).

    Content is causal and the last row, ``[CLS]``, attends to all of it. Padding attends to itself only: a row that
    may attend to nothing would be no number, and would spread.
    """
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    first = width - torch.tensor(list(lengths))
    real = torch.arange(width) >= first[:, None]
    return ((causal & real[:, None, :]) | torch.eye(width, dtype=torch.bool))[:, None]


class QueritReranker(Reranker):
    """Scores by softmax over the two classes; ``raw`` is p1 − p0, in [−1, 1].

    Args:
        spec: the entry of the reranker.
        options: device, dtype and limits.
        classify: ids, mask and positions to logits of shape (n, 2).
        tokenizer: the model's.
        cls_id: the token that is classified.
    """

    scale: ClassVar[Scale] = "difference"

    def __init__(
        self,
        spec: RerankerSpec,
        options: LoadOptions,
        classify: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
        tokenizer: PlainTokenizer,
        cls_id: int,
    ) -> None:
        super().__init__(spec)
        self._options = options
        self._classify: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor] | None = classify
        self._tokenizer, self._cls = tokenizer, cls_id

    def score(self, query: str, documents: Sequence[Document]) -> list[Score]:
        """Score ``documents`` in their order, in length-sorted batches."""
        if not documents:
            return []
        rows = self._rows(query, [document.text for document in documents])
        raws: npt.NDArray[np.float32] = np.empty(len(rows), dtype=np.float32)
        for batch in length_sorted_batches([len(ids) for ids in rows], self._options.batch_tokens):
            raws[batch] = self._run([rows[row] for row in batch])
        return [Score(to_probability(float(raw), self.scale), float(raw)) for raw in raws]

    def _rows(self, query: str, texts: Sequence[str]) -> list[list[int]]:
        before = render(self.spec.instruction, query, "").removesuffix(" ")
        cut = self._options.max_document_tokens * CHARACTERS_PER_TOKEN
        rendered = [render(self.spec.instruction, query, text[:cut]) for text in texts]
        begun, *rows = self._tokenizer.encode([before, *rendered])
        # [CLS] is appended after the cut, so it is never lost.
        limit = min(self.spec.max_length, len(begun) + self._options.max_document_tokens)
        return [[*ids[:limit], self._cls] for ids in rows]

    @torch.inference_mode()
    def _run(self, batch: list[list[int]]) -> npt.NDArray[np.float32]:
        if self._classify is None:
            raise RuntimeError(f"the reranker {self.spec.name} is closed")
        lengths = [len(ids) for ids in batch]
        width = max(lengths)
        ids = torch.tensor([[self._tokenizer.pad_id] * (width - len(row)) + row for row in batch])
        positions = (torch.arange(width) - (width - torch.tensor(lengths))[:, None]).clamp(min=0)
        device = self._options.device
        logits = self._classify(ids.to(device), attention_mask(lengths, width).to(device), positions.to(device))
        classes = logits.float().softmax(-1)
        differences: npt.NDArray[np.float32] = (classes[:, 1] - classes[:, 0]).cpu().numpy()
        return differences

    def close(self) -> None:
        """Free the weights."""
        self._classify = None


def _caller(model: Any, head: torch.nn.Module | None) -> Callable[..., torch.Tensor]:
    """Return ids, mask, positions → logits of shape (rows, 2).

    The checkpoint's own code may return the two logits itself, for each row or each token; without that, ``head``
    (of the checkpoint) classifies the last hidden state.
    """
    accepts = inspect.signature(model.forward).parameters
    eager = getattr(model.config, "_attn_implementation", None) == "eager"

    def classify(ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        if eager:  # this implementation adds its mask to the scores
            least = torch.finfo(model.dtype).min
            mask = torch.zeros(mask.shape, dtype=model.dtype, device=mask.device).masked_fill(~mask, least)
        more = {"position_ids": positions, "use_cache": False}
        more = {name: value for name, value in more.items() if name in accepts}
        output = model(input_ids=ids, attention_mask=mask, **more)
        logits = getattr(output, "logits", None)
        if logits is None:
            hidden = getattr(output, "last_hidden_state", None)
            if head is None or hidden is None:
                raise RuntimeError("the checkpoint's code returns neither logits nor a hidden state that has a head")
            logits = head(hidden[:, -1])
        if logits.ndim == 3:
            logits = logits[:, -1]
        if tuple(logits.shape) != (len(ids), 2):
            raise RuntimeError(f"the checkpoint's code returned logits of shape {tuple(logits.shape)}, not (rows, 2)")
        found: torch.Tensor = logits
        return found

    return classify


def _native(folder: Path, files: Sequence[Path], dtype: torch.dtype) -> tuple[Any, torch.nn.Module]:
    """Load a backbone that transformers knows, and the head that its own weights hold."""
    model, report = AutoModel.from_pretrained(
        folder,
        local_files_only=True,
        use_safetensors=True,
        dtype=dtype,
        attn_implementation="sdpa",
        output_loading_info=True,
    )
    if missing := sorted(report["missing_keys"]):
        raise RerankerUnavailable(f"The checkpoint in {folder} has no weights for {missing[0]}.")
    extra: dict[str, torch.Tensor] = {}
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            names = set(tensors.keys())
            extra |= {name: tensors.get_tensor(name) for name in report["unexpected_keys"] if name in names}
    width = int(model.config.hidden_size)
    heads = [name for name, tensor in extra.items() if tuple(tensor.shape) == (2, width) and name.endswith("weight")]
    if len(heads) != 1:
        raise RerankerUnavailable(
            f"The checkpoint in {folder} holds {len(heads)} classifiers of two classes where Querit has one; "
            f"a random one would score nonsense."
        )
    bias = extra.get(heads[0].removesuffix("weight") + "bias")
    head = torch.nn.Linear(width, 2, bias=bias is not None, dtype=dtype)
    with torch.no_grad():
        head.weight.copy_(extra[heads[0]])
        if bias is not None:
            head.bias.copy_(bias)
    return model, head


def _remote(folder: Path, dtype: torch.dtype) -> tuple[Any, torch.nn.Module | None]:
    """Load a checkpoint by the code that it brings; its head is the one linear layer with two outputs."""
    model = AutoModel.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=dtype, trust_remote_code=True
    )
    heads = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m.out_features == 2]
    return model, heads[0] if len(heads) == 1 else None


def load(spec: RerankerSpec, options: LoadOptions) -> QueritReranker:
    """Load a Querit checkpoint.

    Raises:
        RerankerUnavailable: files, ``[CLS]`` or the head are missing, or its code was not allowed to run.
    """
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if options.dtype not in dtypes:
        raise RerankerUnavailable(f"{spec.name} runs in float32 or bfloat16 only, not in {options.dtype}.")
    folder = require_folder(spec, options)
    files = require_safetensors(folder)
    own_code = bool(read_json(folder / "config.json").get("auto_map"))
    if own_code and spec.name not in options.trust_remote_code:
        raise RerankerUnavailable(
            f"The reranker {spec.name} brings its own code, which is not run unasked; read it in {folder}, then set "
            f"MNEME_TRUST_REMOTE_CODE={spec.name} to allow it."
        )
    tokenizer = PlainTokenizer(folder / "tokenizer.json", also_special=(CLS,))
    cls_id = tokenizer.id_of(CLS)
    if cls_id is None:
        raise RerankerUnavailable(f"The tokenizer of {spec.name} in {folder} has no {CLS}, which the format needs.")
    dtype = dtypes[options.dtype]
    model, head = _remote(folder, dtype) if own_code else _native(folder, files, dtype)
    model.to(options.device).eval()
    if head is not None:
        head.to(options.device)
    return QueritReranker(spec, options, _caller(model, head), tokenizer, cls_id)
