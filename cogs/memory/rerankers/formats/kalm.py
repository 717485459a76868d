"""KaLM-Reranker-V1 (arXiv 2606.22807): passages are encoded once, ahead of any query; only a short decoder runs then.

Source: the cards of https://huggingface.co/KaLM-Embedding/KaLM-Reranker-V1-Nano (T5Gemma 2). Options of an entry:
``chunk_size`` (1, 2, 4, 8, 16 or 32; default 4) says how many encoder states become one stored vector;
``store_dtype`` (``bfloat16`` or ``float32``; default: as computed) is the width of what is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM

from cogs.memory.inference.batches import length_sorted_batches
from cogs.memory.inference.model_folders import load_tokenizer, require_folder, require_safetensors
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.inference.plain_tokenizer import CHARACTERS_PER_TOKEN
from cogs.memory.records import PreparedPassage
from cogs.memory.rerankers.base import Document, Reranker, Scale, Score, sigmoid
from cogs.memory.rerankers.prompts import JUDGE

INSTRUCTION: Final = "Given a query, retrieve documents that answer the query."
CHUNK_SIZES: Final = (1, 2, 4, 8, 16, 32)
QUERY_TOKENS: Final = 512
DOCUMENT_MARK: Final = "<Document>:"
KNOWN_VOCABULARY, KNOWN_YES, KNOWN_NO = 262_000, 4443, 1904


def render_document(text: str) -> str:
    """Return what the encoder reads."""
    return f"{DOCUMENT_MARK} {text}"


class KalmTokenizer:
    """Documents and queries → token ids; text that spells a special token stays text.

    Special tokens always split a text before it is tokenized, so the parts between them tokenize as the whole does.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer = load_tokenizer(folder / "tokenizer.json")
        self._tokenizer.encode_special_tokens = True
        self._bos, self._start, self._end = (self._id(t) for t in ("<bos>", "<start_of_turn>", "<end_of_turn>"))
        self.yes, self.no = self._id("yes"), self._id("no")
        size = self._tokenizer.get_vocab_size()
        if size >= KNOWN_VOCABULARY and (self.yes, self.no) != (KNOWN_YES, KNOWN_NO):
            raise RerankerUnavailable(
                f"The tokenizer in {folder} has yes and no at {self.yes} and {self.no}, not {KNOWN_YES} and {KNOWN_NO}."
            )
        self.mark_tokens = len(self._plain(DOCUMENT_MARK))

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise RerankerUnavailable(f"The tokenizer has no token {token!r}, which the KaLM format needs.")
        return int(found)

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def documents(self, texts: Sequence[str], limit: int) -> list[list[int]]:
        """Return the encoder's ids of each document, at most ``limit`` of them."""
        rendered = [render_document(_encodable(text[: limit * CHARACTERS_PER_TOKEN])) for text in texts]
        encodings = self._tokenizer.encode_batch(rendered, add_special_tokens=False)
        return [encoding.ids[:limit] for encoding in encodings]

    def query(self, instruction: str, query: str) -> list[int]:
        """Return the decoder's ids; the query is cut to 512 tokens, what follows it never."""
        query = _encodable(query[: QUERY_TOKENS * CHARACTERS_PER_TOKEN])
        offsets = self._tokenizer.encode(query, add_special_tokens=False).offsets
        if len(offsets) > QUERY_TOKENS:
            query = query[: offsets[QUERY_TOKENS - 1][1]]
        asked = self._plain(f"user\n{JUDGE}\n\n<Instruct>: {instruction}\n<Query>: {query}")
        answer = self._plain("model\n\n\n\n")
        return [self._bos, self._start, *asked, self._end, *self._plain("\n"), self._start, *answer]


class KalmReranker(Reranker):
    """Scores pooled passages; ``raw`` is the log-odds of "yes".

    Args:
        spec: the entry of the reranker.
        options: device, dtype, limits, and where prepared passages lie.
        model: the encoder-decoder, of transformers.
        tokenizer: the model's.
        fingerprint: identifies the weights, in the keys of prepared passages.
        chunk_size: how many tokens are pooled into one state.
        store_dtype: of a prepared passage.
    """

    scale: ClassVar[Scale] = "log_odds"
    prepares: ClassVar[bool] = True

    def __init__(
        self,
        spec: RerankerSpec,
        options: LoadOptions,
        model: Any,
        tokenizer: KalmTokenizer,
        fingerprint: str,
        chunk_size: int,
        store_dtype: torch.dtype,
    ) -> None:
        super().__init__(spec)
        self._options = options
        self._tokenizer = tokenizer
        self._chunk = chunk_size
        self._stored = store_dtype
        self._limit = min(spec.max_length, tokenizer.mark_tokens + options.max_document_tokens)
        self._instruction = spec.instruction or INSTRUCTION
        self._encoder, self._decoder = model.get_encoder(), model.get_decoder()
        self._dim = int(model.config.decoder.hidden_size)
        self._cap: float | None = model.config.decoder.final_logit_softcapping
        rows = torch.tensor([tokenizer.yes, tokenizer.no])
        # Two rows of the head are all that is ever read of it.
        self._head = model.get_output_embeddings().weight.detach()[rows.to(model.device)].clone()
        width = str(store_dtype).removeprefix("torch.")
        self._key = f"{spec.name}@{fingerprint}/chunk{chunk_size}/{width}/{options.dtype}/{self._limit}"

    def score(self, query: str, documents: Sequence[Document]) -> list[Score]:
        """Score ``documents`` in their order; passages that were prepared are read, the others encoded now."""
        if not documents:
            return []
        keys = [self._passage_key(document) for document in documents]
        states: list[torch.Tensor | None] = [None] * len(documents)
        if self._options.passages is not None:
            wanted = {d.message_id: key for d, key in zip(documents, keys, strict=True) if d.message_id is not None}
            found = self._options.passages.load(wanted)
            states = [
                self._unpacked(found[d.message_id]) if d.message_id in found and wanted[d.message_id] == key else None
                for d, key in zip(documents, keys, strict=True)
            ]
        missing = [i for i, state in enumerate(states) if state is None]
        for i, state in zip(missing, self._encode([documents[i].text for i in missing]), strict=True):
            states[i] = state
        raws = self._decode(query, [state for state in states if state is not None])
        return [Score(sigmoid(raw), raw) for raw in raws]

    @property
    def passage_form(self) -> str:
        """The model, its revision, the chunk size, the widths and the limit."""
        return self._key

    def prepare(self, documents: Sequence[Document]) -> list[PreparedPassage]:
        """Return the pooled states of each document, to be stored until a query comes."""
        states = self._encode([document.text for document in documents])
        return [
            PreparedPassage(self._passage_key(document), _packed(state))
            for document, state in zip(documents, states, strict=True)
        ]

    def _passage_key(self, document: Document) -> str:
        digest = hashlib.blake2b(document.text.encode("utf-8", "replace"), digest_size=16).hexdigest()
        return f"{self._key}:{digest}"

    @torch.inference_mode()
    def _encode(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """Return the pooled states of each text, shape (chunks, dim), in the width that is stored."""
        rows = self._tokenizer.documents(texts, self._limit)
        pooled = [torch.empty(0)] * len(rows)
        for batch in length_sorted_batches([len(ids) for ids in rows], self._options.batch_tokens):
            width = len(rows[int(batch[-1])])
            ids: npt.NDArray[np.int64] = np.zeros((len(batch), width), dtype=np.int64)
            mask = np.zeros_like(ids)
            for line, row in enumerate(batch):
                ids[line, : len(rows[row])] = rows[row]
                mask[line, : len(rows[row])] = 1
            device = self._options.device
            hidden = self._encoder(
                input_ids=torch.from_numpy(ids).to(device), attention_mask=torch.from_numpy(mask).to(device)
            ).last_hidden_state
            for line, row in enumerate(batch):
                pooled[int(row)] = pool(hidden[line, : len(rows[row])], self._chunk).to(self._stored)
        return pooled

    @torch.inference_mode()
    def _decode(self, query: str, states: Sequence[torch.Tensor]) -> list[float]:
        """Return the log-odds of "yes" for each passage, in order."""
        device = self._options.device
        prompt = torch.tensor(self._tokenizer.query(self._instruction, query), device=device)
        raws: npt.NDArray[np.float32] = np.empty(len(states), dtype=np.float32)
        for batch in length_sorted_batches([len(prompt) + len(s) for s in states], self._options.batch_tokens):
            width = max(len(states[row]) for row in batch)
            hidden = torch.zeros(len(batch), width, self._dim, dtype=self._head.dtype, device=device)
            mask = torch.zeros(len(batch), width, dtype=torch.long, device=device)
            for line, row in enumerate(batch):
                hidden[line, : len(states[row])] = states[row].to(device, hidden.dtype)
                mask[line, : len(states[row])] = 1
            last = self._decoder(
                input_ids=prompt.expand(len(batch), -1),
                encoder_hidden_states=hidden,
                encoder_attention_mask=mask,
                use_cache=False,
            ).last_hidden_state[:, -1]
            logits = torch.nn.functional.linear(last, self._head).float()
            if self._cap is not None:
                logits = torch.tanh(logits / self._cap) * self._cap
            raws[batch] = (logits[:, 0] - logits[:, 1]).cpu().numpy()
        if not np.isfinite(raws).all():
            raise RuntimeError(f"the reranker {self.spec.name} returned a score that is no number")
        return [float(raw) for raw in raws]

    def _unpacked(self, data: bytes) -> torch.Tensor | None:
        """Return stored states, or ``None`` where their length shows that they are damaged."""
        size = self._dim * self._stored.itemsize
        if not data or len(data) % size:
            return None
        return torch.frombuffer(bytearray(data), dtype=self._stored).view(-1, self._dim)

    def close(self) -> None:
        """Free the weights."""
        del self._encoder, self._decoder, self._head


def pool(states: torch.Tensor, chunk_size: int) -> torch.Tensor:
    """Return the means of ``chunk_size`` states each, the last of those that remain; (n, dim) → (⌈n/chunk⌉, dim)."""
    count, dim = states.shape
    missing = -count % chunk_size
    padded = torch.nn.functional.pad(states, (0, 0, 0, missing)).view(-1, chunk_size, dim)
    sizes = torch.full((len(padded), 1), chunk_size, dtype=states.dtype, device=states.device)
    sizes[-1] = chunk_size - missing
    return padded.sum(1) / sizes


def _packed(state: torch.Tensor) -> bytes:
    data: bytes = state.cpu().contiguous().view(torch.uint8).numpy().tobytes()
    return data


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _fingerprint(spec: RerankerSpec, files: Sequence[Path]) -> str:
    """Return what tells one set of weights from another: the pinned revision, or the files' sizes and times."""
    if spec.revision is not None and not Path(spec.id).expanduser().is_dir():
        return spec.revision[:12]
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.blake2b(repr(stats).encode(), digest_size=6).hexdigest()


def load(spec: RerankerSpec, options: LoadOptions) -> KalmReranker:
    """Load encoder and decoder; the vision tower that T5Gemma 2 has is dropped.

    Raises:
        RerankerUnavailable: files are missing, the architecture or an option is another, or the profile wants INT8.
    """
    chunk_size = spec.options.get("chunk_size", 4)
    if chunk_size not in CHUNK_SIZES:
        raise RerankerUnavailable(f"The chunk_size of {spec.name} is {chunk_size!r}; choose one of {CHUNK_SIZES}.")
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if options.dtype not in dtypes:
        raise RerankerUnavailable(f"{spec.name} runs in float32 or bfloat16 only, not in {options.dtype}.")
    store_dtype = spec.options.get("store_dtype", options.dtype)
    if store_dtype not in dtypes:
        raise RerankerUnavailable(f"The store_dtype of {spec.name} is {store_dtype!r}; choose float32 or bfloat16.")
    folder = require_folder(spec, options)
    files = require_safetensors(folder)
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type != "t5gemma2":
        raise RerankerUnavailable(f"The format kalm runs T5Gemma 2; {spec.name} is a {config.model_type}.")
    tokenizer = KalmTokenizer(folder)
    model, report = AutoModelForSeq2SeqLM.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=dtypes[options.dtype], output_loading_info=True
    )
    if missing := sorted(key for key in report["missing_keys"] if "lm_head" not in key):
        raise RerankerUnavailable(f"The checkpoint in {folder} has no weights for {missing[0]}.")
    del model.get_encoder().vision_tower
    model.to(options.device).eval()
    return KalmReranker(spec, options, model, tokenizer, _fingerprint(spec, files), chunk_size, dtypes[store_dtype])
