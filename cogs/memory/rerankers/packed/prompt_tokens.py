"""Text to token ids for prompts that mix our own words with those of strangers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from cogs.memory.inference.model_specs import RerankerUnavailable
from cogs.memory.rerankers.prompts import Template


class PromptTokenizer:
    """Two readings of one tokenizer: ``trusted`` knows the special tokens, ``plain`` does not.

    A message that contains ``<|im_end|>`` or ``</think>`` must not be able to end its own part of the prompt, so
    untrusted text is encoded by a copy of the tokenizer without added tokens.

    Args:
        tokenizer: a transformers tokenizer backed by ``tokenizers``.

    Raises:
        RerankerUnavailable: the tokenizer has no such backend, or plain text still yields one of its special tokens.
    """

    def __init__(self, tokenizer: Any, name: str) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise RerankerUnavailable(f"The tokenizer of {name} has no tokenizer.json; fetch the model again.")
        self._name = name
        self._trusted = _unbounded(backend.to_str())
        state = json.loads(backend.to_str())
        added: dict[str, int] = {token["content"]: token["id"] for token in state["added_tokens"]}
        self.special_tokens: tuple[str, ...] = tuple(added)
        self._ids = added
        alternatives = "|".join(re.escape(content) for content in sorted(added, key=len, reverse=True))
        self._splitter = re.compile(f"({alternatives})") if added else re.compile("(?!)")
        self._plain = _unbounded(json.dumps({**state, "added_tokens": [], "post_processor": None}))
        for content, token_id in added.items():
            if token_id in self._plain.encode(content, add_special_tokens=False).ids:
                raise RerankerUnavailable(
                    f"The tokenizer of {name} would read {content!r} in a message as a special token; it is not used."
                )
        marked = self._trusted.encode("a", add_special_tokens=True)
        inner = len(self._trusted.encode("a", add_special_tokens=False).ids)
        start = next(i for i, special in enumerate(marked.special_tokens_mask) if not special)
        self.opening: tuple[int, ...] = tuple(marked.ids[:start])
        self.closing: tuple[int, ...] = tuple(marked.ids[start + inner :])

    def trusted(self, text: str) -> list[int]:
        """Encode our own text; special tokens in it are special. Nothing is added around it."""
        return list(self._trusted.encode(text, add_special_tokens=False).ids)

    def plain(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode strangers' texts; nothing in them is special. A lone surrogate becomes a question mark."""
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        return [list(encoding.ids) for encoding in self._plain.encode_batch_fast(clean, add_special_tokens=False)]

    def fill(self, template: str, slot: str, values: Sequence[str]) -> list[list[int]]:
        """Encode our own ``template`` with each of the strangers' ``values`` in place of ``slot``.

        Special tokens of the template are special, those of a value are not; a value shares words with the text
        around it, as it would in the rendered prompt.
        """
        filled: list[list[int]] = [[] for _ in values]
        for piece in self._splitter.split(template):
            if piece in self._ids:
                for ids in filled:
                    ids.append(self._ids[piece])
            elif slot in piece:
                for ids, more in zip(filled, self.plain([piece.replace(slot, v) for v in values]), strict=True):
                    ids.extend(more)
            elif piece:
                (same,) = self.plain([piece])
                for ids in filled:
                    ids.extend(same)
        return filled

    def single(self, word: str) -> int:
        """Return the id of a word that is one token, such as ``yes``.

        Raises:
            RerankerUnavailable: it is several tokens, so that this tokenizer cannot belong to a yes/no reranker.
        """
        ids = self.trusted(word)
        if len(ids) != 1:
            raise RerankerUnavailable(
                f"The tokenizer of {self._name} spells {word!r} in {len(ids)} tokens, so it is not that of the model."
            )
        return ids[0]


def _unbounded(state: str) -> Tokenizer:
    tokenizer = Tokenizer.from_str(state)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """A query's prompts: ``constant`` + ``query`` begin every one, and each of ``tails`` ends one."""

    constant: list[int]
    query: list[int]
    tails: list[list[int]]


class PromptWriter:
    """Writes the prompts of a template in tokens, within the model's limit.

    Args:
        tokenizer: the model's.
        instruction: what fills the template's instruction.
        template: where the prompt's parts lie.
        max_length: the limit of a whole prompt, in tokens.
        max_document_tokens: the profile's limit of a document, in tokens.
        unread: the padding token, where the model reads its score at the last token that is none.
        enclosed: whether the tokenizer's own first and last tokens go around the prompt; a chat template has its own.

    Raises:
        RerankerUnavailable: the limit leaves no room for a document.
    """

    def __init__(
        self,
        tokenizer: PromptTokenizer,
        template: Template,
        instruction: str,
        max_length: int,
        max_document_tokens: int,
        unread: int | None = None,
        enclosed: bool = True,
    ) -> None:
        self._tokenizer = tokenizer
        self._template = template
        (constant,) = tokenizer.fill(template.constant, "{instruction}", [instruction])
        opening, closing = (tokenizer.opening, tokenizer.closing) if enclosed else ((), ())
        prefix = [*tokenizer.trusted(template.prefix), *opening]
        self._constant = prefix + constant
        self._ending = [*closing, *tokenizer.trusted(template.suffix)]
        _, after = template.document.split("{document}")
        self._after = tokenizer.fill(after, "{document}", [""])[0] if after else []
        self._room = max_length - len(self._constant) - len(self._ending)
        self._max_document_tokens = max_document_tokens
        if self._room <= 0:
            raise RerankerUnavailable(f"A limit of {max_length} tokens leaves no room for a document.")
        while self._ending and self._ending[-1] == unread:
            self._ending.pop()

    def write(self, query: str, documents: Sequence[str]) -> PromptTokens:
        """Return the tokens of each document's prompt.

        The tail of a document is cut where the prompt would be too long; the query only where it alone is.
        """
        (asked,) = self._tokenizer.fill(self._template.query, "{query}", [query])
        asked = asked[: self._room]
        room = min(self._room - len(asked), self._max_document_tokens)
        tails = [
            self._cut(ids, room) + self._ending
            for ids in self._tokenizer.fill(self._template.document, "{document}", documents)
        ]
        if not all(tails) and asked:
            # The query fills the prompt: its last token is where each score is read.
            tails = [[asked[-1], *tail] for tail in tails]
            asked = asked[:-1]
        return PromptTokens(self._constant, asked, tails)

    def _cut(self, ids: list[int], room: int) -> list[int]:
        if len(ids) <= room:
            return ids
        if len(self._after) <= room:
            return ids[: room - len(self._after)] + self._after
        return ids[:room]
