"""The base as an encoder of Transformers: in memory, or as a folder of weights and tokenizer for other trainings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer
from tokenizers.models import Unigram
from tokenizers.normalizers import NFKC, Replace
from tokenizers.normalizers import Sequence as Normalizers
from tokenizers.pre_tokenizers import Metaspace, WhitespaceSplit
from tokenizers.pre_tokenizers import Sequence as PreTokenizers
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel

from cogs.lab.training.embedder.source import BLOCK_BYTES, SourceModel, dequantized

_LAYER: Final = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_CONTROL: Final = "[\\x01-\\x08\\x0b\\x0e-\\x1f\\x7f\\u008f\\u009f]"
_BLANK: Final = "[\\t\\n\\f\\r\\u1680\\u200b-\\u200f\\u2028\\u2029\\u2581\\ufeff\\ufffd]"
_WAVE: Final = "\uff5e"
_KEPT: Final = "\uf8fe"


def config_of(source: SourceModel) -> BertConfig:
    """Return the architecture: a BERT, whatever the vocabulary."""
    sizes = source.sizes
    return BertConfig(
        hidden_size=sizes["hidden"],
        num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"],
        intermediate_size=sizes["intermediate"],
        vocab_size=sizes["rows"],
        max_position_embeddings=sizes["positions"],
        type_vocab_size=sizes["types"],
        layer_norm_eps=1e-12,
        pad_token_id=source.special["<pad>"],
    )


def state_of(source: SourceModel) -> dict[str, torch.Tensor]:
    """Return the tensors under the names of Transformers' ``BertModel``."""
    hidden, rows = source.sizes["hidden"], len(source.words)
    words = dequantized(source.words.reshape(rows, -1, BLOCK_BYTES)).reshape(rows, hidden)
    tensors = {name: torch.from_numpy(values.copy()) for name, values in source.tensors.items()}
    state = {
        "embeddings.word_embeddings.weight": torch.from_numpy(words),
        "embeddings.position_embeddings.weight": tensors["emb.pos"].reshape(-1, hidden),
        "embeddings.token_type_embeddings.weight": tensors["emb.type"].reshape(-1, hidden),
        "embeddings.LayerNorm.weight": tensors["emb.ln.w"],
        "embeddings.LayerNorm.bias": tensors["emb.ln.b"],
    }
    for layer in range(source.sizes["layers"]):
        for short, long in _LAYER.items():
            weight, bias = tensors[f"l{layer}.{short}.w"], tensors[f"l{layer}.{short}.b"]
            matrix = weight if short.endswith("ln") else weight.reshape(len(bias), -1)
            state[f"encoder.layer.{layer}.{long}.weight"] = matrix
            state[f"encoder.layer.{layer}.{long}.bias"] = bias
    return state


def encoder_of(source: SourceModel) -> Any:
    """Return the encoder, ready to be trained above its frozen words."""
    model: Any = BertModel(config_of(source), add_pooling_layer=False)
    model.load_state_dict(state_of(source), strict=False)
    return model.eval()


def tokenizer_of(source: SourceModel) -> Tokenizer:
    """Return the pieces as the ``tokenizers`` package has them; the ids are those of the shared words."""
    scores = [float(str(score)) for score in source.scores]
    tokenizer = Tokenizer(Unigram([*zip(source.pieces, scores, strict=True)], unk_id=3, byte_fallback=False))
    # NFKC would make the wave dash a tilde, which the model knows as another piece: it is hidden from it.
    tokenizer.normalizer = Normalizers(
        [
            Replace(Regex(_CONTROL), ""),
            Replace(Regex(_BLANK), " "),
            Replace(_WAVE, _KEPT),
            NFKC(),
            Replace(_KEPT, _WAVE),
        ]
    )
    tokenizer.pre_tokenizer = PreTokenizers([WhitespaceSplit(), Metaspace("▁", prepend_scheme="always")])
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def write_base(source: SourceModel, folder: Path) -> None:
    """Write a folder that ``AutoModel`` and ``Tokenizer.from_file`` open."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state_of(source), folder / "model.safetensors", {"format": "pt"})
    config_of(source).save_pretrained(folder)
    tokenizer_of(source).save(str(folder / "tokenizer.json"), pretty=False)
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(about) + "\n", encoding="utf-8")
