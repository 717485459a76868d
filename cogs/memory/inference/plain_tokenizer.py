"""A model folder's tokenizer.json, bounded in characters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cogs.memory.inference.model_folders import load_tokenizer

CHARACTERS_PER_TOKEN: Final = 64
"""A text is cut at this many characters for each token of the limit before it is tokenized, to bound the time."""
Marks = list[tuple[int, int]]


class PlainTokenizer:
    """A ``tokenizer.json`` for which no text of a person ever becomes a special token.

    ``also_special`` names tokens that a format uses as marks whether or not the file calls them special.
    """

    def __init__(self, tokenizer_file: Path, also_special: Sequence[str] = ()) -> None:
        self._tokenizer = load_tokenizer(tokenizer_file)
        self._tokenizer.encode_special_tokens = True
        special = {
            number: token.content
            for number, token in self._tokenizer.get_added_tokens_decoder().items()
            if token.special
        }
        for token in also_special:
            if (number := self.id_of(token)) is not None:
                special[number] = token
        names = {content: number for number, content in special.items()}
        self._unknown = next((names[token] for token in ("[UNK]", "<unk>") if token in names), None)
        self._special = {number: content for number, content in special.items() if number != self._unknown}
        self.pad_id = next((names[token] for token in ("[PAD]", "<pad>", "<|endoftext|>") if token in names), 0)

    def id_of(self, token: str) -> int | None:
        """Return the id of a token, or ``None``."""
        found: int | None = self._tokenizer.token_to_id(token)
        return found

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, without the marks around it; lone surrogates become question marks."""
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch(clean, add_special_tokens=False)]
        return [
            ids if self._special.keys().isdisjoint(ids) else self._spelled(text)
            for ids, text in zip(rows, clean, strict=True)
        ]

    def _spelled(self, text: str) -> list[int]:
        # SentencePiece vocabularies hold "</s>" as a piece, so its text still finds it; a space inside breaks it up.
        for content in self._special.values():
            text = text.replace(content, f"{content[0]} {content[1:]}")
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        # What only becomes a special token by normalisation ("＜/s＞") is replaced or left out.
        instead = [] if self._unknown is None else [self._unknown]
        return [kept for token in ids for kept in (instead if token in self._special else [token])]

    def pair_template(self) -> tuple[Marks, Marks, Marks, int, int]:
        """Return what stands before, between and after a pair, as (id, type), and the types of its two texts."""
        sample = self._tokenizer.encode("a", "a")
        sides, marks = sample.sequence_ids, list(zip(sample.ids, sample.type_ids, strict=True))
        first, second = sides.index(0), sides.index(1)
        end_first, end_second = first + sides.count(0), second + sides.count(1)
        return (
            marks[:first],
            marks[end_first:second],
            marks[end_second:],
            sample.type_ids[first],
            sample.type_ids[second],
        )
