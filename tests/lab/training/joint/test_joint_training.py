"""Training of the joint reranker on tiny weights: what is drawn, what is lost, and that a run goes on."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from cogs.lab.datasets.conversations import ChatTurn, Conversation, Question
from cogs.lab.datasets.generate_phrases import Told
from cogs.lab.training.joint.channels import (
    ReadChannel,
    Reader,
    across,
    chained,
    read_shards,
    with_askers,
    write_shards,
)
from cogs.lab.training.joint.model import Lower, Upper
from cogs.lab.training.joint.train import LESSER, Drawn, Plan, draw, logits_of, loss_of, probe, train
from tests.rerankers.checkpoints_other import bert

WIDTH = 24


def channel(count: int = 12, seed: int = 0) -> ReadChannel:
    """Messages of which number n answers question n: both are near to the same direction."""
    torch.manual_seed(seed)
    ways = torch.randn(count, WIDTH)
    messages = [(ways[n] + 0.1 * torch.randn(4 + n % 3, WIDTH)).bfloat16() for n in range(count)]
    questions = [(ways[n] + 0.1 * torch.randn(3, WIDTH)).bfloat16() for n in range(count)]
    texts = [f"question {seed} {n}" for n in range(count)]
    nothing: list[list[int]] = [[] for _ in range(count)]
    positives = [[n] for n in range(count)]
    return ReadChannel("made", messages, questions, texts, torch.eye(count), positives, nothing, list(nothing))


def upper() -> Upper:
    torch.manual_seed(1)
    return Upper(1, WIDTH, 32, 4)


def test_the_answer_stands_first_then_what_was_true_before() -> None:
    one = channel()
    one.lesser[2], one.ignored[2] = [5], [6]
    for seed in range(30):
        found = draw(one, 2, random.Random(seed), nobody=0.0)
        assert found.places[:2] == [2, 5]
        assert found.worth == [1.0, LESSER, *[0.0] * 6]
        assert len(set(found.places)) == 8
        assert 6 not in found.places


def test_nobody_answered_where_the_answer_is_left_out() -> None:
    one = channel()
    one.lesser[2] = [5]
    found = draw(one, 2, random.Random(0), nobody=1.0)
    assert not {2, 5} & set(found.places)
    assert not any(found.worth)
    one.positives[2] = []
    assert not any(draw(one, 2, random.Random(0), nobody=0.0).worth)


def test_a_short_channel_gives_a_short_list() -> None:
    one = channel(3)
    assert sorted(draw(one, 1, random.Random(0), nobody=0.0).places) == [0, 1, 2]


def test_the_loss_wants_the_answer_above_nobody_and_nobody_above_wrong_ones() -> None:
    one = channel()
    answered, empty = Drawn(one, 0, [0, 1], [1.0, 0.0]), Drawn(one, 1, [2, 3], [0.0, 0.0])

    def loss(first: list[float], second: list[float]) -> float:
        return float(loss_of(torch.tensor([first, second]), [answered, empty]))

    right = loss([5.0, -5.0], [-5.0, -5.0])
    assert right < 0.02
    assert loss([-5.0, 5.0], [-5.0, -5.0]) > 1
    assert loss([5.0, -5.0], [5.0, -5.0]) > 1
    assert loss([-5.0, -9.0], [-5.0, -5.0]) > 1


def test_a_pair_scores_alike_whatever_it_is_padded_with() -> None:
    model, one = upper().eval(), channel()
    with torch.inference_mode():
        alone = logits_of(model, [Drawn(one, 0, [1], [1.0])])
        beside = logits_of(model, [Drawn(one, 0, [1, 2, 5, 8], [1.0, 0, 0, 0]), Drawn(one, 3, [2], [1.0])])
    assert float(beside[0, 0]) == pytest.approx(float(alone[0, 0]), abs=0.05)
    assert torch.isneginf(beside[1, 1:]).all()


def test_it_learns_and_says_so(tmp_path: Path) -> None:
    channels = [channel(seed=seed) for seed in range(4)]
    model = upper()
    lists = [draw(one, number, random.Random(number), 0.0) for one in channels for number in range(12)]
    before = probe(model, lists)
    log = train(model, channels, Plan(steps=60, rate=3e-3, save_steps=50), tmp_path)
    after = probe(model, lists)
    assert after["loss"] < before["loss"]
    assert after["accuracy"] > 0.8
    assert log[-1]["step"] == 60
    assert (tmp_path / "log.jsonl").read_text().count("\n") == len(log)


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    channels = [channel(seed=seed) for seed in range(2)]
    train(upper(), channels, Plan(steps=10, save_steps=5), tmp_path)
    model = upper()
    log = train(model, channels, Plan(steps=14, save_steps=5), tmp_path)
    assert [row["step"] for row in log if "loss" in row and "final" not in row and "accuracy" not in row] == [
        11,
        12,
        13,
        14,
    ]


def test_a_clock_ends_a_run(tmp_path: Path) -> None:
    assert train(upper(), [channel()], Plan(steps=10_000, seconds=0.0), tmp_path)[-1]["step"] == 0


def test_nothing_to_train_on_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no question"):
        train(upper(), [], Plan(steps=1), tmp_path)


def test_channels_are_read_as_the_model_reads_them_and_kept(tmp_path: Path) -> None:
    folder = bert(tmp_path / "bert")
    torch.manual_seed(2)
    lower, rest = Lower(1, WIDTH, 32, 4, 128).eval(), Upper(1, WIDTH, 32, 4).eval()
    words = torch.randn(Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size(), WIDTH)
    reader = Reader(words, lower, rest, Tokenizer.from_file(str(folder / "tokenizer.json")))
    turns = tuple(ChatTurn(f"t{n}", "Alice", f"I saw the harbour {n}", "2024-05-03T10:00:00+00:00") for n in range(5))
    asked = (Question("q", "who saw the harbour?", ("t1",)), Question("gone", "and this?", ("elsewhere",)))
    told = Told(Conversation("one", turns, asked), {"q": ("t0", "elsewhere")})
    assert write_shards(reader, [("made", told), ("made", Told(Conversation("empty", turns), {}))], tmp_path / "s") == 1
    (found,) = read_shards(tmp_path / "s")
    assert (found.positives, found.lesser, found.texts) == ([[1]], [[0]], ["who saw the harbour?"])
    assert len(found.messages) == 5
    alone, _ = reader.read(["who saw the harbour?"], "query: ", 48)
    assert torch.allclose(alone[0].float(), found.questions[0].float(), atol=0.05)
    with pytest.raises(FileNotFoundError):
        read_shards(tmp_path / "none")


def test_conversations_get_dates_and_people_who_only_ask() -> None:
    turns = tuple(ChatTurn(f"t{n}", f"person {n % 2}", f"text {n}") for n in range(6))
    questions = tuple(Question(f"q{n}", f"question {n}?", ("t0",)) for n in range(20))
    found = with_askers(Conversation("c", turns, questions), random.Random(1))
    assert all(turn.timestamp for turn in found.turns)
    assert [turn.id for turn in found.turns if not turn.id.startswith("ask")] == [turn.id for turn in turns]
    assert 1 <= sum(turn.id.startswith("ask") for turn in found.turns) <= 10


def test_questions_cross_languages_and_chats_are_joined() -> None:
    one = Conversation("c", (ChatTurn("t", "A", "x"),), (Question("q", "wo?", ("t",)),))
    texts = {"q": {"de": "wo?", "en": "where?"}}
    assert across(one, texts, "de", random.Random(0), 1.0).questions[0].text == "where?"
    assert across(one, texts, "de", random.Random(0), 0.0).questions[0].text == "wo?"
    assert [len(whole.turns) for whole in chained([one] * 5, 2)] == [2, 2]
