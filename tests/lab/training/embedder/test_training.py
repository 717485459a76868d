"""Training the embedder on tiny weights: it learns, it resumes, and what is exported computes what was trained."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from cogs.lab.datasets.conversations import ChatTurn, Conversation, Question
from cogs.lab.training.embedder.base import encoder_of
from cogs.lab.training.embedder.export import export_folder, quantised
from cogs.lab.training.embedder.pairs import PASSAGE, QUERY, Pair, pairs_of, without_names
from cogs.lab.training.embedder.pools import across, parallel_sentences
from cogs.lab.training.embedder.source import read_source
from cogs.lab.training.embedder.train import (
    Plan,
    TextEncoder,
    averaged,
    batches,
    contrastive_loss,
    may_count,
    rate_at,
    train,
)
from cogs.lab.training.embedder.words import write_words
from cogs.memory.embedding.words_encoder import WordsEncoder
from cogs.memory.inference.words import PIECES_FILE, TABLE_FILE, WordPieces, WordTable
from tests.lab.training.embedder.tiny import source_bytes

THINGS = "cat dog car house bread river table garden piano train coffee window".split()
TURNS = tuple(ChatTurn(f"t{i}", "Ana" if i % 2 else "Bo", f"I saw the {thing} today") for i, thing in enumerate(THINGS))
TALK = Conversation(
    "talk", TURNS, tuple(Question(f"q{i}", f"where is Ana's {thing}", (f"t{i}",)) for i, thing in enumerate(THINGS))
)
PLAN = Plan(steps=30, rate=3e-3, pairs=8, together=2, hard=2, frozen=0, warm=3, most_tokens=40, bfloat16=False)


@pytest.fixture
def words(tmp_path: Path) -> Path:
    source = read_source(source_bytes(), digest=None)
    write_words(tmp_path / "words", source.pieces, [float(score) for score in source.scores], source.words)
    return tmp_path / "words"


def pairs(cut: float = 0.0) -> list[Pair]:
    return list(pairs_of(TALK, random.Random(1), cut=cut))


def test_a_pair_is_written_as_the_product_embeds_it() -> None:
    first = pairs()[0]
    assert first.query == f"{QUERY}where is Ana's cat"
    assert first.passage == f"{PASSAGE}Bo: I saw the cat today"
    assert first.negative.startswith(PASSAGE)
    assert "cat" not in first.negative
    assert pairs(cut=1.0)[0].query == f"{QUERY}where is cat"
    replied = {pair.passage for pair in pairs_of(TALK, random.Random(1), replies=True)}
    assert any("\n(in reply to " in passage for passage in replied)


def test_names_are_cut_out_whole_and_something_is_left() -> None:
    names = frozenset({"Ana", "Li"})
    assert without_names("Did Ana, or Li's sister, come to Anaheim?", names) == "Did or sister, come to Anaheim?"
    assert without_names("Ana Li", names) == "Ana Li"


def test_what_stands_beside_the_answer_or_answered_once_is_no_negative() -> None:
    question = Question("q", "where is the dog", ("t1",), ignored=tuple(f"t{i}" for i in range(3, 12) if i != 7))
    made = [next(pairs_of(replace(TALK, questions=(question,)), random.Random(seed))) for seed in range(20)]
    assert {pair.negative for pair in made} == {f"{PASSAGE}Ana: I saw the garden today"}
    assert "I saw the house today" in made[0].same


def test_a_passage_that_answers_too_does_not_count_against_a_question() -> None:
    batch = [
        Pair("query: a", "passage: X: one", "passage: X: three", frozenset({"one", "two"})),
        Pair("query: b", "passage: Y: two\n(in reply to X: hm)", "passage: X: four", frozenset({"two"})),
    ]
    assert may_count(batch, 2).tolist() == [[True, False, True, True], [True, True, True, True]]


def test_the_loss_is_small_only_where_each_question_is_nearest_to_its_own() -> None:
    unit = torch.eye(4)
    counted = torch.ones(3, 4, dtype=torch.bool)
    right = float(contrastive_loss(unit[:3], unit, counted, 0.05))
    wrong = float(contrastive_loss(unit[:3], unit[[1, 2, 0, 3]], counted, 0.05))
    assert right < 0.01 < 10 < wrong
    counted[0, 3] = False
    shared = unit.clone()
    shared[3] = shared[0]
    assert float(contrastive_loss(unit[:3], shared, counted, 0.05)) == pytest.approx(right, abs=1e-3)


def test_batches_are_of_one_source_and_the_same_for_the_same_seed() -> None:
    pools = {"a": pairs(), "b": [replace(pair, query=pair.query + "?", group="b") for pair in pairs()]}
    drawn = list(islice(batches(pools, {"a": 1.0, "b": 1.0, "absent": 5.0}, PLAN), 6))
    assert drawn == list(islice(batches(pools, {"a": 1.0, "b": 1.0}, PLAN), 6))
    for batch in drawn:
        assert len({pair.query for pair in batch}) == PLAN.pairs
        assert len({pair.group for pair in batch}) == 1
    assert len(next(batches({"a": pairs()[:3]}, {"a": 1.0}, PLAN))) == 3


def test_the_rate_rises_and_falls() -> None:
    assert rate_at(0, PLAN) < rate_at(2, PLAN) > rate_at(20, PLAN) > rate_at(29, PLAN) > 0


def test_training_learns_leaves_the_words_alone_and_goes_on_where_it_stopped(words: Path, tmp_path: Path) -> None:
    source = read_source(source_bytes(), digest=None)
    pieces = WordPieces(words / PIECES_FILE)
    pools, shares = {"a": pairs()}, {"a": 1.0}
    model = encoder_of(source)
    before = model.embeddings.word_embeddings.weight.clone()
    losses = train(model, pieces, pools, shares, PLAN, tmp_path / "whole")
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert torch.equal(model.embeddings.word_embeddings.weight, before)

    halves = encoder_of(source)
    first = train(halves, pieces, pools, shares, replace(PLAN, keep_every=10), tmp_path / "halves")
    kept = torch.load(tmp_path / "halves" / "checkpoint.pt", weights_only=True)
    assert (len(first), kept["step"]) == (30, 30)
    longer = train(encoder_of(source), pieces, pools, shares, replace(PLAN, steps=33), tmp_path / "halves")
    assert len(longer) == 3
    assert longer[0] < 0.5 * losses[0]


def test_what_is_exported_gives_the_vectors_that_were_trained(words: Path, tmp_path: Path) -> None:
    model = encoder_of(read_source(source_bytes(), digest=None))
    pieces = WordPieces(words / PIECES_FILE)
    export_folder(model, tmp_path / "out", 32, words / TABLE_FILE)
    graph = (tmp_path / "out" / "model.onnx").read_bytes()
    texts = ["", "hello", "query: where is the cat", "long " * 40, *(f"word {i} " * (i % 7) for i in range(20))]
    encoder = WordsEncoder(graph, 32, 1, pieces, WordTable(words / TABLE_FILE))
    with torch.no_grad():
        expected = TextEncoder(model, pieces, 32, bfloat16=False)(texts).numpy()
    assert np.einsum("nd,nd->n", encoder.encode(texts), expected).min() > 0.995


def test_eight_bits_of_each_output_have_a_scale_of_their_own() -> None:
    weights = np.array([[1.0, 0.01], [-0.5, 0.02]], np.float32)
    packed, scale = quantised(weights)
    assert np.allclose(packed * scale, weights, rtol=0.02)


def test_between_the_base_and_the_trained_weights() -> None:
    base, trained = {"w": torch.zeros(2)}, {"w": torch.ones(2)}
    assert averaged(base, trained, 0.25)["w"].tolist() == [0.25, 0.25]


def test_parallel_sets_give_answers_in_another_language() -> None:
    def article(language: str) -> Conversation:
        turns = tuple(ChatTurn(f"{language}-0-{i}", "N", f"{language} sentence {i}") for i in range(3))
        return Conversation(f"xquad-{language}-7", turns, (Question("q1", f"{language}?", (f"{language}-0-1",)),))

    made = list(across({"en": [article("en")], "de": [article("de")]}, random.Random(2)))
    assert {(pair.query, pair.passage) for pair in made} == {
        ("query: en?", "passage: N: de sentence 1"),
        ("query: de?", "passage: N: en sentence 1"),
    }
    assert all(pair.negative.split()[2] + "?" == pair.query.split()[1] for pair in made)
    lines = {language: [f"{language} {i}" for i in range(30)] for language in ("en", "de", "fr")}
    for pair in parallel_sentences(lines, random.Random(2)):
        assert pair.query.split()[2] == pair.passage.split()[3]
        assert pair.query.split()[1] == pair.negative.split()[2]
        assert pair.query.split()[1] != pair.passage.split()[2]
