"""Passes of few shapes, recorded and played again; what only a GPU can do is played by a processor here.

A recording that is played must read nothing but its tensors. That is checked with a player that computes again from
them, and on a device whose tensors hold no values.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.attention import varlen

from cogs.memory.rerankers.packed import choice as packed_choice
from cogs.memory.rerankers.packed import shapes as packed_shapes
from cogs.memory.rerankers.packed.choice import fastest
from cogs.memory.rerankers.packed.decoder import PackedDecoder
from cogs.memory.rerankers.packed.kernels import STRATEGIES, Strategy, VariableLength
from cogs.memory.rerankers.packed.prompt_tokens import PromptTokens
from cogs.memory.rerankers.packed.shapes import Compute, ShapedDecoder, ShapedScorer, shape_for
from cogs.memory.rerankers.packed.spans import Shape, Spans
from tests.rerankers.packed.test_packed import BACKBONES, HEAD, flash_as_documented, plainly


class Player:
    """Plays a recording by computing it again into the same memory."""

    def __init__(self) -> None:
        self.recorded = 0
        self.played = 0

    def __call__(self, compute: Compute) -> tuple[Callable[[], None], torch.Tensor]:
        self.recorded += 1
        result = compute()

        def play() -> None:
            self.played += 1
            with torch.inference_mode():
                result.copy_(compute())

        return play, result


@pytest.fixture(autouse=True)
def _flash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen, "varlen_attn", flash_as_documented)


def some_tails(seed: int, count: int, longest: int) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(1, 90) for _ in range(rng.randint(1, longest))] for _ in range(count)]


@pytest.mark.parametrize("attention", ["padded", "varlen"])
@pytest.mark.parametrize("known", [0, 4])
def test_what_is_played_is_what_each_document_scores_alone(attention: Strategy, known: int) -> None:
    backbone = BACKBONES["qwen3"]()
    decoder, player = PackedDecoder(backbone, attention), Player()
    past = decoder.forward(None, HEAD[:known], [])[1] if known else None
    shaped = ShapedDecoder(decoder, player)
    for seed in range(6):
        # Other lengths, another number of documents and another query, all of one shape.
        query = some_tails(seed, 1, 9)[0] + [3]
        tails = some_tails(seed + 100, 3 + seed % 4, 7)
        found = shaped.read(past, query, tails)
        expected = torch.stack([plainly(backbone, HEAD[:known] + query + tail) for tail in tails])
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)
    assert player.recorded == 1
    assert player.played == 1 + 4, "once to see that it plays what it recorded, then instead of computing"


def test_a_result_outlives_the_next_playing() -> None:
    shaped = ShapedDecoder(PackedDecoder(BACKBONES["qwen3"](), "padded"), Player())
    first = [shaped.read(None, HEAD, [[5, 6], [7]]) for _ in range(3)][-1]
    kept = first.clone()
    shaped.read(None, HEAD, [[9, 1], [2]])
    torch.testing.assert_close(first, kept, atol=0, rtol=0)


def test_recordings_are_bounded_and_belong_to_their_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_shapes, "RECORDINGS", 4)
    decoder, player = PackedDecoder(BACKBONES["qwen3"](), "padded"), Player()
    shaped = ShapedDecoder(decoder, player)
    for length in range(1, 300, 30):
        shaped.read(None, HEAD, [[7] * length])
    assert len(shaped._recordings) == 4
    one, other = (decoder.forward(None, beginning, [])[1] for beginning in ([1, 2, 3], [4, 5, 6]))
    expected = shaped.read(other, HEAD, [[8, 9]])
    for _ in range(3):
        shaped.read(one, HEAD, [[8, 9]])
    torch.testing.assert_close(shaped.read(other, HEAD, [[8, 9]]), expected, atol=1e-6, rtol=1e-6)


def test_shapes_are_few_and_waste_little() -> None:
    rng = random.Random(1)
    shapes: set[Shape] = set()
    for _ in range(3000):
        lengths = [rng.randint(8, 60) for _ in range(rng.randint(20, 50))]
        head = rng.randint(8, 30)
        shape = shape_for(head, lengths)
        assert shape.head >= head
        assert shape.rows >= shape.head + sum(lengths)
        assert shape.documents >= len(lengths)
        assert shape.longest >= max(lengths)
        assert shape.rows <= 64 or shape.rows <= (shape.head + sum(lengths)) * 1.13
        shapes.add(shape)
    assert len(shapes) < 130


@pytest.mark.parametrize("fault", ["raises", "memory", "differs"])
def test_where_recording_fails_passes_are_computed(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    def record(compute: Compute) -> tuple[Callable[[], None], torch.Tensor]:
        if fault == "raises":
            raise RuntimeError("operation not permitted when stream is capturing")
        if fault == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return (lambda: None), compute() * 1.5

    backbone = BACKBONES["qwen3"]()
    shaped = ShapedDecoder(PackedDecoder(backbone, "padded"), record)
    expected = plainly(backbone, [*HEAD, 4, 2])
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            torch.testing.assert_close(shaped.read(None, HEAD, [[4, 2]])[0], expected, atol=2e-5, rtol=2e-5)
    assert caplog.text.count("passes are not recorded any more") == 1


def test_a_scorer_of_shapes_scores_as_the_plain_model_and_gets_through_with_little_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backbone = BACKBONES["qwen3"]()
    readout = torch.randn(2, backbone.config.hidden_size)
    player = Player()
    scorer = ShapedScorer(PackedDecoder(backbone, "padded"), readout, 4096, player)
    prompt = PromptTokens([1, 2, 3], [4, 5], some_tails(3, 20, 12))
    whole = [[*prompt.constant, *prompt.query, *tail] for tail in prompt.tails]
    expected = torch.stack([plainly(backbone, ids) for ids in whole]) @ readout.T
    for _ in range(3):
        torch.testing.assert_close(scorer.read(prompt), expected, atol=5e-5, rtol=5e-5)
    assert player.played == 2

    read, sizes = ShapedDecoder.read, []

    def scarce(self: ShapedDecoder, past: Any, head: Any, tails: Any) -> torch.Tensor:
        sizes.append(len(tails))
        if len(tails) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return read(self, past, head, tails)

    monkeypatch.setattr(ShapedDecoder, "read", scarce)
    torch.testing.assert_close(scorer.read(prompt), expected, atol=5e-5, rtol=5e-5)
    assert sizes[0] == 20
    assert max(sizes[-3:]) <= 6
    assert scorer.read(PromptTokens([1], [2], [])).shape == (0, 2)
    other = PromptTokens([9, 9, 9], [4, 5], prompt.tails[:2])
    again = torch.stack([plainly(backbone, [9, 9, 9, 4, 5, *tail]) for tail in other.tails]) @ readout.T
    torch.testing.assert_close(scorer.read(other), again, atol=5e-5, rtol=5e-5)
    scorer.close()


@pytest.mark.parametrize("name", ["qwen3", "qwen3-vl"])
@pytest.mark.parametrize("attention", ["padded", "varlen"])
def test_a_pass_asks_its_device_for_no_value(name: str, attention: Strategy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording cannot wait for one. Tensors of the device ``meta`` have none to give, and do not mix with others."""
    backbone = BACKBONES[name]()
    monkeypatch.setattr(varlen, "varlen_attn", lambda query, *_, **__: torch.empty_like(query))
    with torch.device("meta"):
        abstract = type(backbone)(backbone.config)
    decoder = PackedDecoder(abstract, attention)
    _, past = decoder.forward(None, HEAD, [])
    tails = [[1, 2, 3], [4], [5, 6]]
    spans = Spans(len(past), 2, (3, 1, 2), shape_for(2, [3, 1, 2]))
    ids, positions = spans.rows([7, 8], tails).to("meta"), spans.positions().to("meta")
    plan = STRATEGIES[attention](spans, decoder.device)
    assert {tensor.device.type for tensor in plan.tensors} == {"meta"}
    with pytest.raises((RuntimeError, NotImplementedError)):
        plan.tensors[0].sum().item()
    hidden, state = decoder.compute(ids, positions, past, plan)
    assert hidden.shape == (spans.shape.documents, backbone.config.hidden_size)
    assert hidden.device.type == state.keys[0].device.type == "meta"
    assert ShapedDecoder(decoder, None).read(past, [7, 8], tails).shape == (3, backbone.config.hidden_size)


class Elsewhere(torch.Tensor):
    """A tensor that, as one of a GPU, is computed with others only after it was brought to the processor."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        if any(type(value) is torch.Tensor for value in args):
            raise RuntimeError("Expected all tensors to be on the same device")
        return super().__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]


def test_results_are_compared_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = PackedDecoder.forward

    def far(self: PackedDecoder, *args: Any) -> Any:
        hidden, state = forward(self, *args)
        return hidden.as_subclass(Elsewhere), state

    monkeypatch.setattr(PackedDecoder, "forward", far)
    monkeypatch.setattr(packed_choice, "ROUNDS", 1)
    assert fastest(PackedDecoder(BACKBONES["qwen3"]()), None, ["padded"]) == "padded"


def test_the_fastest_right_way_of_attending_is_chosen(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    decoder = PackedDecoder(BACKBONES["qwen3"]())
    seconds = {"padded": 0.003, "varlen": 0.001, "flex": 0.002}
    measured = packed_choice._measured

    def timed(shaped: ShapedDecoder, *rest: Any) -> tuple[torch.Tensor, float]:
        (name,) = (name for name, kind in STRATEGIES.items() if kind is decoder.attention)
        return measured(shaped, *rest)[0], seconds[name]

    monkeypatch.setattr(packed_choice, "_measured", timed)
    monkeypatch.setattr(packed_choice, "ROUNDS", 1)
    assert fastest(decoder, Player()) == "varlen"

    # What is fast and wrong is not used, nor is what this device lacks.
    attend = VariableLength.attend
    monkeypatch.setattr(VariableLength, "attend", lambda *args, **kwargs: attend(*args, **kwargs) * 1.2)
    with caplog.at_level(logging.WARNING):
        assert fastest(decoder, Player()) == "flex"
    assert "varlen computes something else" in caplog.text

    def absent(*_: Any, **__: Any) -> torch.Tensor:
        raise NotImplementedError("no kernel for this device")

    for name in ("varlen", "flex"):
        monkeypatch.setattr(STRATEGIES[name], "attend", absent)
    assert fastest(decoder, Player()) == "padded"
    monkeypatch.setattr(STRATEGIES["padded"], "attend", absent)
    with caplog.at_level(logging.WARNING):
        assert fastest(decoder, Player()) is None
    assert "one after another" in caplog.text
    assert decoder.attention is STRATEGIES["per_document"]
