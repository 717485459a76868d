"""Checkpoints of the published shapes with random weights: as slow as the real ones, with scores that mean nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Literal

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from cogs.bench import chatter
from cogs.memory.embedding.specs import MINILM, verified_folder
from cogs.memory.rerankers.prompts import LYCHEEMEM_INSTRUCTION, QWEN3, QWEN3_INSTRUCTION

Size = Literal["full", "tiny"]
FULL: Final = {
    "vocab_size": 151_669,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
"""Qwen3-0.6B, https://huggingface.co/Qwen/Qwen3-Reranker-0.6B/blob/main/config.json."""
TINY: Final = {
    "vocab_size": 6_000,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
PATTERN: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The Qwen family's own pre-tokenizer."""
QWEN_ROLES: Final[dict[str, Any]] = {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
BERT_ROLES: Final[dict[str, Any]] = {
    f"{role}_token": f"[{role.upper()}]" for role in ("pad", "cls", "sep", "unk", "mask")
}


def qwen_tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of the Qwen kind, trained on the generated messages and the prompts.

    It carries the chat template by which sentence-transformers words a pair as the card does.
    """
    tokenizer = Tokenizer(models.BPE(byte_fallback=False))
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated", invert=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=4000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    prompts = [QWEN3.render(QWEN3_INSTRUCTION, query, "yes no") for query in chatter.QUERIES] * 20
    tokenizer.train_from_iterator([*chatter.texts(2000), *prompts, LYCHEEMEM_INSTRUCTION, "yes", "no"], trainer)
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in ("<think>", "</think>")])
    found = PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side="left", **QWEN_ROLES)
    found.chat_template = _chat_template()
    return found


def _chat_template() -> str:
    query, document = (
        '{{ messages | selectattr("role", "eq", "ROLE") | map(attribute="content") | first }}'.replace("ROLE", role)
        for role in ("query", "document")
    )
    prompt = QWEN3.render(QWEN3_INSTRUCTION, "<<query>>", "<<document>>")
    parts = []
    for piece in prompt.split("<<query>>"):
        for number, text in enumerate(piece.split("<<document>>")):
            parts.append(("" if number == 0 else document) + "{{ " + json.dumps(text) + " }}")
        parts.append(query)
    return "".join(parts[:-1])


def qwen3(folder: Path, layers: int, size: Size) -> Path:
    """Write a Qwen3 causal checkpoint with ``layers`` layers in bfloat16, as the published ones are."""
    torch.manual_seed(0)
    tokenizer = qwen_tokenizer()
    config = Qwen3Config(
        **(FULL if size == "full" else TINY),
        num_hidden_layers=layers,
        max_position_embeddings=40_960,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model: Any = Qwen3ForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def lycheemem(folder: Path, base: Path) -> Path:
    """Write a LoRA adapter of the card's rank over ``base``, with its own scoring head."""
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.bfloat16)
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    adapted: Any = get_peft_model(
        model, LoraConfig(task_type="SEQ_CLS", r=16, lora_alpha=32, lora_dropout=0.0, target_modules=modules)
    )
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.01 * torch.randn(parameter.shape))
    adapted.save_pretrained(folder)
    return folder


def minilm_cross_encoder(folder: Path, layers: int, size: Size) -> Path:
    """Write a cross-encoder of the MiniLM shape with one logit, and all-MiniLM-L6-v2's tokenizer."""
    torch.manual_seed(2)
    source = verified_folder(MINILM)
    config = BertConfig(
        vocab_size=30_522,
        hidden_size=384 if size == "full" else 48,
        intermediate_size=1536 if size == "full" else 96,
        num_hidden_layers=layers,
        num_attention_heads=12 if size == "full" else 4,
        num_labels=1,
        initializer_range=0.05,
    )
    model: Any = BertForSequenceClassification(config)
    model.save_pretrained(folder)
    # Without the padding and the cut that the embedder's file prescribes, which no cross-encoder's file does.
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=512,
        **BERT_ROLES,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)
    return folder
