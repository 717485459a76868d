"""English pairs go to one reranker and all others to another, and their candidates stand in one order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.rerankers.base import Document
from cogs.memory.rerankers.formats import by_language, joint
from cogs.memory.rerankers.pairs import Logits, PairBatch, PairReranker
from cogs.memory.rerankers.probabilities import Choice


class Lengths:
    """A model whose logit is the number of a message's characters."""

    workers = 1

    def __init__(self) -> None:
        self.seen: list[str] = []

    def batches(self, query: str, documents: Sequence[str], batch_tokens: int) -> Iterator[PairBatch]:
        self.seen += documents
        for row, text in enumerate(documents):
            ids = np.array([[len(text)]])
            yield PairBatch(np.array([row]), ids, ids, ids)

    def __call__(self, batch: PairBatch) -> Logits:
        return batch.input_ids.astype(np.float32)


def pair(model: Lengths, scale: float, nothing: float) -> PairReranker:
    spec = RerankerSpec("fake", "fake")
    return PairReranker(spec, model, model, 1, render=lambda document: document.text, choice=Choice(scale, nothing))


def both() -> tuple[by_language.ByLanguage, Lengths, Lengths]:
    english, others = Lengths(), Lengths()
    whole = by_language.ByLanguage(RerankerSpec("both", "by-language"), pair(english, 0.1, 2.0), pair(others, 0.2, 1.0))
    return whole, english, others


def test_each_pair_is_judged_by_the_model_that_reads_it() -> None:
    whole, english, others = both()
    documents = [Document("I live in Ghent now"), Document("Ich wohne jetzt in Gent"), Document("ok")]
    assert [score.raw for score in whole.score("Where does Anna live?", documents)] == [19.0, 23.0, 2.0]
    assert english.seen == ["I live in Ghent now", "ok"]
    assert others.seen == ["Ich wohne jetzt in Gent"]


def test_a_question_in_another_language_goes_to_the_other_model_alone() -> None:
    whole, english, others = both()
    whole.score("安娜住在哪里？", [Document("I live in Ghent now"), Document("我住在根特")])
    assert english.seen == []
    assert len(others.seen) == 2


def test_candidates_of_both_models_stand_on_one_scale() -> None:
    whole, _, _ = both()
    texts = ("the " * 5, "der " * 5)
    documents = [Document(text.strip(), prior=0.5) for text in texts]
    scores = whole.score("Where does the cat live?", documents)
    first, second = whole.among("Where does the cat live?", documents, scores)
    odds = np.exp([0.1 * 19 - 2.0, 0.2 * 19 - 1.0])
    assert [first.probability, second.probability] == pytest.approx(list(odds / (odds.sum() + 1)))
    # A text that is judged alone keeps its own probability.
    alone = [replace(document, prior=None) for document in documents]
    assert whole.among("q", alone, scores) == scores


def test_the_likeliest_english_candidates_are_judged_by_both_and_stay_above_the_others() -> None:
    english, others = Lengths(), Lengths()
    parts = (pair(english, 0.1, 2.0), pair(others, 0.2, 1.0))
    whole = by_language.ByLanguage(RerankerSpec("both", "by-language"), *parts, both=2)
    documents = [Document("the " * count + "cat", prior=0.5) for count in (5, 9, 3, 7)]
    question = "Where is the cat?"
    found = whole.among(question, documents, whole.score(question, documents))
    assert others.seen == [documents[1].text, documents[3].text]
    mean = [((0.1 * n - 2.0) + (0.2 * n - 1.0)) / 2 for n in (len(documents[1].text), len(documents[3].text))]
    odds = [0.1 * len(documents[0].text) - 2.0, mean[0], 0.1 * len(documents[2].text) - 2.0, mean[1]]
    counts = np.exp(odds)
    assert [score.probability for score in found] == pytest.approx(list(counts / (counts.sum() + 1)))


def test_what_the_other_model_lowers_stays_above_what_it_did_not_read() -> None:
    english, others = Lengths(), Lengths()
    parts = (pair(english, 0.1, 0.0), pair(others, 0.1, 50.0))
    whole = by_language.ByLanguage(RerankerSpec("both", "by-language"), *parts, both=1)
    documents = [Document("the " * count + "cat", prior=0.5) for count in (5, 9, 3)]
    found = whole.among("Where is the cat?", documents, whole.score("Where is the cat?", documents))
    likeliest = sorted(range(3), key=lambda place: -found[place].probability)
    assert (likeliest[0], likeliest[-1]) == (1, 2)


def test_both_models_are_closed() -> None:
    whole, _, _ = both()
    whole.close()
    for text in ("the cat is here", "der Hund ist da"):
        with pytest.raises(RuntimeError, match="closed"):
            whole.score("Where is the cat?", [Document(text)])


@pytest.mark.parametrize("both", [-1, "ten"])
def test_a_number_of_candidates_that_is_none_is_refused(
    both: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joint, "load", lambda spec, options: pair(Lengths(), 1.0, 0.0))
    spec = RerankerSpec("two", "by-language", options={"english": "mneme-reranker-chat", "both": both})
    with pytest.raises(RerankerUnavailable, match="both"):
        by_language.load(spec, LoadOptions(models_dir=tmp_path, threads=1))


@pytest.mark.parametrize("options", [{}, {"english": "nobody"}])
def test_an_entry_without_a_model_for_english_is_named(options: dict[str, str], tmp_path: Path) -> None:
    spec = RerankerSpec("both", "by-language", options=options)
    with pytest.raises(RerankerUnavailable, match="english"):
        by_language.load(spec, LoadOptions(models_dir=tmp_path))


def test_a_model_that_cannot_say_how_sure_it_is_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = pair(Lengths(), 1.0, 0.0)
    plain._choice = None
    monkeypatch.setattr(joint, "load", lambda spec, options: plain)
    spec = RerankerSpec("both", "by-language", options={"english": "mneme-reranker-chat"})
    with pytest.raises(RerankerUnavailable, match="how sure"):
        by_language.load(spec, LoadOptions(models_dir=tmp_path, threads=1))
