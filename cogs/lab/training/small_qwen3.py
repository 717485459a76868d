"""A small Qwen3 to train where no published weights can be had: random layers over MiniLM's word embeddings.

The published 0.6B needs a download and, on two cores, days. What a precision costs in ranking shows on any decoder of
the family that has learnt to rank: ``python -m cogs.lab.training.small_qwen3 FOLDER``, then ``python bot.py train
qwen3-small-chat --base FOLDER --sources SOURCES``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, processors
from transformers import AutoModel, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from cogs.lab.search.first_stage import minilm_folder

SHAPE = {
    "hidden_size": 384,
    "intermediate_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 64,
}
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def write(folder: Path, seed: int = 0) -> None:
    """Write the checkpoint and its tokenizer, MiniLM's words with Qwen's control tokens."""
    source = minilm_folder()
    inner = Tokenizer.from_file(str(source / "tokenizer.json"))
    inner.no_padding()
    inner.no_truncation()
    inner.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    inner.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    inner.add_tokens([AddedToken(token, normalized=False, special=False) for token in ("<think>", "</think>")])
    roles: dict[str, Any] = {"pad_token": SPECIAL[0], "eos_token": SPECIAL[2]}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, padding_side="left", **roles)
    torch.manual_seed(seed)
    config = Qwen3Config(
        **SHAPE,
        vocab_size=len(tokenizer),
        max_position_embeddings=4096,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model: Any = Qwen3ForCausalLM(config)
    words = AutoModel.from_pretrained(source, local_files_only=True).get_input_embeddings().weight.detach()
    with torch.no_grad():
        model.get_input_embeddings().weight[: len(words)] = words
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
