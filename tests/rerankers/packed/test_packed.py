"""The packed pass itself: every way of attending, cached beginnings, budgets, and INT8 with its cost."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import varlen
from transformers import (
    AutoModel,
    LlamaConfig,
    LlamaModel,
    Qwen3Config,
    Qwen3Model,
    Qwen3VLTextConfig,
    Qwen3VLTextModel,
)

from cogs.memory.rerankers.base import Document
from cogs.memory.rerankers.formats import qwen3
from cogs.memory.rerankers.packed import attention as packed_attention
from cogs.memory.rerankers.packed.budget import Budget, token_budgets
from cogs.memory.rerankers.packed.decoder import PackedDecoder, can_pack
from cogs.memory.rerankers.packed.dense import InPlace, Prepacked, kernels_for
from cogs.memory.rerankers.packed.int8 import Int8Linear, quantize
from cogs.memory.rerankers.packed.kernels import STRATEGIES, Strategy
from cogs.memory.rerankers.packed.ops import inverse_rms, norm_by_length, norm_fused
from cogs.memory.rerankers.packed.prefix_cache import KeyValues, PrefixCache
from tests.rerankers import checkpoints_causal as checkpoints

HEAD = [5, 9, 11, 2, 7]
TAILS = [[3], [4], [1, 2, 3, 4, 5, 6, 7], [8, 8], [9, 1], [1, 9], list(range(20, 60)), [3, 1]]
"""Runs of one length, and a length that comes again."""


def qwen3_vl_text() -> Any:
    torch.manual_seed(5)
    values = checkpoints.config_values(checkpoints.family_tokenizer())
    values["rope_parameters"] = {**values["rope_parameters"], "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    model = Qwen3VLTextModel(Qwen3VLTextConfig(**values)).eval()
    checkpoints.stir(model)
    return model


BACKBONES: dict[str, Callable[[], Any]] = {
    "qwen3": lambda: AutoModel.from_pretrained(checkpoints.qwen3(), dtype=torch.float32).eval(),
    "qwen2": lambda: AutoModel.from_pretrained(checkpoints.qwen2(), dtype=torch.float32).eval(),
    "qwen3-vl": qwen3_vl_text,
}


def flash_as_documented(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """PyTorch's variable-length attention, which no processor has, in plain steps; what it leaves open is not a
    number here."""
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert len(cu_seq_q) == len(cu_seq_k)
    result = torch.full_like(query, torch.nan)
    groups = query.shape[1] // key.shape[1] if enable_gqa else 1
    for (q_start, q_end), (k_start, k_end) in zip(pairwise(cu_seq_q), pairwise(cu_seq_k), strict=True):
        count, seen = int(q_end - q_start), int(k_end - k_start)
        assert count <= max_q
        assert seen <= max_k
        own, keys, values = query[q_start:q_end], key[k_start:k_end], value[k_start:k_end]
        products = torch.einsum("qhd,khd->hqk", own, keys.repeat_interleave(groups, 1)) * scale
        if window_size == (-1, 0):
            # Aligned to the end of the keys, as flash attention is since its version 2.1.
            products += torch.full((count, seen), -torch.inf).triu(seen - count + 1)
        result[q_start:q_end] = torch.einsum("hqk,khd->qhd", products.softmax(-1), values.repeat_interleave(groups, 1))
    return result


@torch.no_grad()
def plainly(backbone: Any, ids: list[int]) -> torch.Tensor:
    states: torch.Tensor = backbone(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0, -1]
    return states


@pytest.mark.parametrize("attention", STRATEGIES)
@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("known", [0, 1, 3, 5])
def test_each_document_is_computed_as_if_alone(
    name: str, attention: Strategy, known: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(varlen, "varlen_attn", flash_as_documented)
    backbone = BACKBONES[name]()
    expected = torch.stack([plainly(backbone, HEAD + tail) for tail in TAILS])
    decoder = PackedDecoder(backbone, attention)
    past = decoder.forward(None, HEAD[:known], [])[1] if known else None
    found, state = decoder.forward(past, HEAD[known:], TAILS)
    assert len(state) == len(HEAD)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)
    again, _ = decoder.forward(state, [], TAILS[::-1])
    torch.testing.assert_close(again, expected.flip(0), atol=2e-5, rtol=2e-5)
    # The model itself still runs: its weights have moved, not changed.
    torch.testing.assert_close(plainly(backbone, HEAD + TAILS[1]), expected[1], atol=1e-5, rtol=1e-5)


def test_prompts_of_many_lengths_need_few_compiled_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN keeps a kernel, with memory of its own, for each number of rows of each dense layer."""
    decoder = PackedDecoder(BACKBONES["qwen3"]())
    rows: set[int] = set()
    linear = torch.nn.functional.linear

    def counted(x: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        rows.add(len(x))
        return linear(x, *rest)

    monkeypatch.setattr(torch.nn.functional, "linear", counted)
    for length in range(1, 150):
        decoder.forward(None, HEAD, [[7] * length, [8] * length])
    assert len(rows) <= 16


def test_products_and_kernel_agree_in_bfloat16() -> None:
    torch.manual_seed(0)
    query = (torch.randn(9, 8, 16) / 4).bfloat16()
    key, value = torch.randn(2, 21, 16).bfloat16(), torch.randn(2, 21, 16).bfloat16()
    mask = torch.ones(9, 21, dtype=torch.bool).tril(12)
    for seen in (mask, None):
        fused = packed_attention._attend(query, key, value, seen)
        products = packed_attention._attend_on_processor(query[None], key[None], value[None], seen)[0]
        torch.testing.assert_close(products, fused, atol=0.03, rtol=0.03)


def test_both_norms_agree() -> None:
    torch.manual_seed(0)
    norm = Qwen3Model(Qwen3Config(**checkpoints.config_values(checkpoints.family_tokenizer()))).norm
    checkpoints.stir(norm)
    x = torch.randn(7, 48) * 30
    torch.testing.assert_close(norm_by_length(x, norm), norm_fused(x, norm), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(norm_by_length(x, norm), norm(x), atol=1e-5, rtol=1e-5)


def test_joined_weights_are_the_models_own() -> None:
    backbone = BACKBONES["qwen3"]()
    decoder = PackedDecoder(backbone)
    attention = backbone.layers[0].self_attn
    assert attention.q_proj.weight.untyped_storage().data_ptr() == attention.v_proj.weight.untyped_storage().data_ptr()
    before, _ = decoder.forward(None, HEAD, TAILS)
    with torch.no_grad():
        attention.v_proj.weight.mul_(2)
    after, _ = decoder.forward(None, HEAD, TAILS)
    assert (before - after).abs().max() > 1e-3


@pytest.mark.parametrize("name", BACKBONES)
def test_weights_that_are_given_away_score_as_those_in_place(name: str) -> None:
    backbone = BACKBONES[name]().to(torch.bfloat16)
    kept = PackedDecoder(copy.deepcopy(backbone))
    in_place, state = kept.forward(None, HEAD, TAILS)
    held = sum(parameter.nbytes for parameter in backbone.layers.parameters())
    taking = PackedDecoder(backbone, give_away=True)
    found, also = taking.forward(None, HEAD, TAILS)
    # They differ by roundings alone: what is fused into a product is computed before its output is rounded.
    exact, _ = PackedDecoder(copy.deepcopy(BACKBONES[name]())).forward(None, HEAD, TAILS)
    error, before = (found.float() - exact).abs().mean(), (in_place.float() - exact).abs().mean()
    assert error < 1.25 * before
    assert len(also) == len(state)
    again, _ = taking.forward(also, [], TAILS)
    assert (again.float() - exact).abs().mean() < 1.25 * before
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        # No second copy of them stays in memory.
        assert sum(parameter.nbytes for parameter in backbone.layers.parameters()) < held / 10


def test_weights_are_taken_only_where_they_are_given_and_where_it_pays() -> None:
    half = BACKBONES["qwen3"]().to(torch.bfloat16)
    fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert isinstance(kernels_for(half, give_away=True), Prepacked) == fast
    assert isinstance(kernels_for(half, give_away=False), InPlace)
    assert isinstance(kernels_for(BACKBONES["qwen3"](), give_away=True), InPlace)
    half.config.hidden_act = "gelu"
    assert isinstance(kernels_for(half, give_away=True), InPlace)
    half.config.hidden_act = "silu"
    quantize(half)
    assert isinstance(kernels_for(half, give_away=True), InPlace)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [128, 16, 18])
def test_the_length_of_pieces_is_the_length_of_the_whole(dtype: torch.dtype, width: int) -> None:
    torch.manual_seed(0)
    x = (torch.randn(50, 3, width) * torch.logspace(-2, 2, 50)[:, None, None]).to(dtype)
    exact = torch.rsqrt(x.double().square().mean(-1, keepdim=True) + 1e-6)
    found = inverse_rms(x, 1e-6).double()
    assert ((found - exact).abs() / exact).max() < (1e-6 if dtype == torch.float32 else 2**-7)


def test_what_cannot_be_packed_is_refused() -> None:
    values = checkpoints.config_values(checkpoints.family_tokenizer())
    llama = LlamaModel(LlamaConfig(**values))
    sliding = Qwen3Model(Qwen3Config(**values, use_sliding_window=True, sliding_window=4, max_window_layers=1))
    for backbone in (llama, sliding):
        assert not can_pack(backbone)
        with pytest.raises(ValueError, match="cannot be packed"):
            PackedDecoder(backbone)


def test_a_pass_needs_a_beginning_and_no_empty_document() -> None:
    decoder = PackedDecoder(BACKBONES["qwen3"]())
    for head, tails in (([], [[1]]), ([1], [[1], []])):
        with pytest.raises(ValueError, match="packed pass"):
            decoder.forward(None, head, tails)


lengths = st.lists(st.integers(1, 50), max_size=30)


@given(lengths, st.integers(1, 120), st.booleans())
def test_budgets_cover_every_document_once_and_hold(lengths: list[int], budget: int, padded: bool) -> None:
    runs = list(token_budgets(lengths, budget, padded=padded))
    assert [place for run in runs for place in run] == list(range(len(lengths)))
    for run in runs:
        cost = len(run) * max(lengths[i] for i in run) if padded else sum(lengths[i] for i in run)
        assert len(run) == 1 or cost <= budget
    for run, following in pairwise(runs):
        grown = [*(lengths[i] for i in run), lengths[following.start]]
        assert (len(grown) * max(grown) if padded else sum(grown)) > budget, "no run ends early"


@settings(deadline=None)
@given(lengths, st.integers(1, 200), st.integers(50, 120), st.booleans())
def test_a_device_of_any_size_gets_through(lengths: list[int], budget: int, memory: int, padded: bool) -> None:
    def run(places: range) -> list[int]:
        held = [lengths[place] for place in places]
        if (len(held) * max(held) if padded else sum(held)) > memory:
            raise torch.OutOfMemoryError("too much")
        return list(places)

    spent = Budget(budget, padded=padded)
    assert spent.spend(lengths, run) == list(range(len(lengths)))
    tokens = spent.tokens
    spent.spend(lengths, run)
    assert spent.tokens == tokens or tokens > memory


def test_the_cache_of_beginnings_is_bounded_and_knows_the_longest() -> None:
    cache = PrefixCache(entries=2)

    def state(length: int) -> KeyValues:
        return KeyValues((torch.zeros(1, length, 2),), (torch.zeros(1, length, 2),))

    cache.put([1, 2], state(2))
    cache.put([1, 2, 3], state(3))
    assert cache.longest([1, 2, 3, 4], (2, 3))[0] == 3
    assert cache.longest([1, 2, 9], (2, 3))[0] == 2
    cache.put([7], state(1))
    assert len(cache) == 2
    assert cache.longest([1, 2, 3], (3,)) == (0, None), "the one unused for longest went"
    assert state(3).nbytes == 48


def test_int8_layers_are_close_and_free_the_originals() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 40, bias=True)
    quantized = Int8Linear.of(layer)
    x = torch.randn(3, 5, 64) * torch.tensor([0.01, 1.0, 100.0])[:, None, None]
    error = (quantized(x) - layer(x)).norm(dim=-1) / layer(x).norm(dim=-1)
    assert quantized(x).shape == (3, 5, 40)
    assert error.max() < 0.03
    assert quantized(torch.zeros(1, 64)).isfinite().all()
    assert quantized.weight.dtype == torch.int8
    model = torch.nn.Sequential(layer, torch.nn.Linear(40, 3))
    quantize(model)
    assert isinstance(model[0], Int8Linear)
    assert type(model[1]) is torch.nn.Linear, "3 is no width for the integer kernels"


def test_joined_int8_layers_give_both_outputs() -> None:
    torch.manual_seed(0)
    first, second = (Int8Linear.of(torch.nn.Linear(16, size)) for size in (8, 24))
    x = torch.randn(20, 16)
    expected = torch.cat([first(x), second(x)], dim=-1)
    joined = Int8Linear.joined([copy.deepcopy(first), copy.deepcopy(second)])
    torch.testing.assert_close(joined(x), expected)


def test_int8_keeps_near_the_float32_scores() -> None:
    path: Path = checkpoints.qwen3()
    documents = [Document(text) for text in checkpoints.DOCUMENTS]
    spec = checkpoints.spec(path, "qwen3")
    exact = qwen3.load(spec, checkpoints.options()).score("who?", documents)
    rough = qwen3.load(spec, checkpoints.options(dtype="int8")).score("who?", documents)
    differences = [abs(a.raw - b.raw) for a, b in zip(exact, rough, strict=True)]
    assert 0 < max(differences) < 1.5
    assert differences != [0.0] * len(differences), "INT8 was really used"
