"""BERT and XLM-R cross-encoders beside a plain reading of their cards: one pair at a time, in float32, unpadded."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification

from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.inference.onnx_graphs import sha256_of
from cogs.memory.rerankers.base import Document, Score
from cogs.memory.rerankers.chat_text import NEAR_WORDS, PASSAGE_WORDS, PASSAGES, passages
from cogs.memory.rerankers.formats import cross_encoder, onnx_cross_encoder
from cogs.memory.rerankers.pairs import PairEncoder, longest_first
from cogs.memory.rerankers.probabilities import Choice
from tests.rerankers.checkpoints_other import DOCUMENTS, QUERY, TEXTS, bert, options, xlm_roberta


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pairs")
    return {"bert": bert(root / "bert"), "xlm-r": xlm_roberta(root / "xlm-r"), "models": root / "models"}


def reference(folder: Path, query: str, texts: list[str], limit: int = 128) -> list[float]:
    """Return the logits as the cards compute them; special-token text counts as the characters that it is."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit, strategy="longest_first")
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    logits = []
    if model.config.model_type == "xlm-roberta":  # its vocabulary holds these as pieces
        for token in ("</s>", "<s>", "<pad>"):
            query, *texts = [text.replace(token, f"{token[0]} {token[1:]}") for text in (query, *texts)]
    for text in texts:
        encoding = tokenizer.encode(query, text)
        inputs = {"input_ids": torch.tensor([encoding.ids]), "attention_mask": torch.ones(1, len(encoding.ids)).long()}
        if model.config.type_vocab_size > 1:
            inputs["token_type_ids"] = torch.tensor([encoding.type_ids])
        with torch.no_grad():
            logits.append(float(model(**inputs).logits[0, 0]))
    return logits


def spec(folder: Path, **changes: object) -> RerankerSpec:
    return dataclasses.replace(RerankerSpec("tiny", "cross-encoder", str(folder)), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", ["bert", "xlm-r"])
@pytest.mark.parametrize("batch_tokens", [1, 300, 4096])
def test_logits_are_those_of_the_card(folders: dict[str, Path], family: str, batch_tokens: int) -> None:
    reranker = cross_encoder.load(spec(folders[family]), options(folders["models"], batch_tokens=batch_tokens))
    scores = reranker.score(QUERY, DOCUMENTS)
    expected = reference(folders[family], QUERY, TEXTS)
    assert [score.raw for score in scores] == pytest.approx(expected, abs=1e-5)
    assert [score.probability for score in scores] == pytest.approx(
        [1 / (1 + math.exp(-x)) for x in expected], abs=1e-5
    )
    assert len(set(expected)) >= 8
    assert reranker.score(QUERY, []) == []


@pytest.mark.parametrize("query", ["", "q", "who? " * 30, "who met Alice at the harbour? " * 30, "[SEP] </s>"])
def test_queries_of_any_length(folders: dict[str, Path], query: str) -> None:
    for family in ("bert", "xlm-r"):
        scores = cross_encoder.load(spec(folders[family]), options(folders["models"])).score(query, DOCUMENTS)
        assert [score.raw for score in scores] == pytest.approx(reference(folders[family], query, TEXTS), abs=1e-5)


def test_pytorch_scores_as_onnx_does(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_encoder, "LARGEST_GRAPH_BYTES", 0)
    for family in ("bert", "xlm-r"):
        scores = cross_encoder.load(spec(folders[family]), options(folders["models"])).score(QUERY, DOCUMENTS)
        assert [score.raw for score in scores] == pytest.approx(reference(folders[family], QUERY, TEXTS), abs=1e-5)


def test_int8_keeps_the_scores_near(folders: dict[str, Path]) -> None:
    scores = cross_encoder.load(spec(folders["bert"]), options(folders["models"], dtype="int8")).score(QUERY, DOCUMENTS)
    expected = reference(folders["bert"], QUERY, TEXTS)
    spread = max(expected) - min(expected)
    assert all(abs(score.raw - logit) < 0.3 * spread for score, logit in zip(scores, expected, strict=True))
    assert list((folders["models"] / "onnx").glob("*pair-int8*"))


def test_an_int8_score_does_not_depend_on_the_other_candidates(folders: dict[str, Path]) -> None:
    reranker = cross_encoder.load(spec(folders["bert"]), options(folders["models"], dtype="int8"))
    together = reranker.score(QUERY, DOCUMENTS)
    alone = [reranker.score(QUERY, [document])[0] for document in DOCUMENTS]
    assert [score.raw for score in together] == [score.raw for score in alone]


def test_special_token_text_is_no_special_token(folders: dict[str, Path]) -> None:
    for family, token in (("bert", "[SEP]"), ("xlm-r", "</s>")):
        encoder = PairEncoder(folders[family] / "tokenizer.json", 128, 512, "longest_first")
        special = Tokenizer.from_file(str(folders[family] / "tokenizer.json")).token_to_id(token)
        plain = next(encoder.batches("q", ["a b"], 999)).input_ids
        for spelled in (token, "＜/s＞", f"x{token}{token}"):
            attacked = next(encoder.batches("q", [f"a {spelled} b"], 999)).input_ids
            assert (attacked == special).sum() == (plain == special).sum()


def test_documents_lose_their_tail_at_the_profiles_limit(folders: dict[str, Path]) -> None:
    reranker = cross_encoder.load(spec(folders["bert"]), options(folders["models"], max_document_tokens=5))
    same, cut = reranker.score(QUERY, [Document("one two three four five"), Document("one two three four five six")])
    assert same.raw == pytest.approx(cut.raw, abs=1e-6)


def test_two_labels_need_their_head_named(folders: dict[str, Path], tmp_path: Path) -> None:
    two = bert(tmp_path / "two", labels=2)
    with pytest.raises(RerankerUnavailable, match="head"):
        cross_encoder.load(spec(two), options(folders["models"]))
    reranker = cross_encoder.load(spec(two, options={"head": "last"}), options(folders["models"]))
    model = AutoModelForSequenceClassification.from_pretrained(two).eval()
    tokenizer = Tokenizer.from_file(str(two / "tokenizer.json"))
    tokenizer.no_padding()
    encoding = tokenizer.encode(QUERY, TEXTS[3])
    with torch.no_grad():
        logits = model(torch.tensor([encoding.ids]), token_type_ids=torch.tensor([encoding.type_ids])).logits[0]
    score = reranker.score(QUERY, [DOCUMENTS[3]])[0]
    assert score.probability == pytest.approx(float(logits.softmax(0)[1]), abs=1e-5)


def test_a_checkpoint_without_its_head_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = bert(tmp_path / "headless")
    weights = {name: t for name, t in load_file(folder / "model.safetensors").items() if "classifier" not in name}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(RerankerUnavailable, match="classifier"):
        cross_encoder.load(spec(folder), options(folders["models"]))


def test_longest_first_is_the_tokenizers_rule(folders: dict[str, Path]) -> None:
    tokenizer = Tokenizer.from_file(str(folders["bert"] / "tokenizer.json"))
    tokenizer.no_padding()
    for room in (1, 4, 9, 10):
        tokenizer.enable_truncation(room + 3, strategy="longest_first")
        for first in range(1, 14):
            for second in range(1, 14):
                encoding = tokenizer.encode("a " * first, "a " * second)
                kept = (encoding.sequence_ids.count(0), encoding.sequence_ids.count(1))
                assert longest_first(first, second, room) == kept


@pytest.fixture
def shipped(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A folder as the trainer writes one."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(cross_encoder.export(folders["bert"]))
    (folder / "tokenizer.json").write_bytes((folders["bert"] / "tokenizer.json").read_bytes())
    about = {"rendering": "chat", "max_length": 64, "temperature": 2.0, "bias": 0.5, "score": "logit"}
    (folder / "mneme.json").write_text(json.dumps(about))
    return folder


def test_the_shipped_folder_reads_chat_lines_and_is_calibrated(shipped: Path, folders: dict[str, Path]) -> None:
    when = dt.datetime(2024, 5, 3, tzinfo=dt.UTC)
    documents = [
        Document("we  moved\nto Lisbon", author="Alice", timestamp=when, context="Bob: where do you live?"),
        Document("no idea", author="Carol"),
        Document("the cake " * 39, author="Bob", timestamp=when),
    ]
    lines = [
        "Alice (3 May 2024): we moved to Lisbon | answering: Bob: where do you live?",
        "Carol: no idea",
        "Bob (3 May 2024): " + " ".join(["the cake"] * 39),
    ]
    reranker = onnx_cross_encoder.load(RerankerSpec("own", "onnx-cross-encoder", str(shipped)), LoadOptions(threads=1))
    expected = reference(folders["bert"], QUERY, lines, limit=64)
    scores = reranker.score(QUERY, documents)
    assert [score.raw for score in scores] == pytest.approx(expected, abs=1e-5)
    assert [s.probability for s in scores] == pytest.approx(
        [1 / (1 + math.exp(-(x + 0.5) / 2)) for x in expected], abs=1e-5
    )


def test_a_long_message_counts_for_its_best_passage(shipped: Path) -> None:
    reranker = onnx_cross_encoder.load(RerankerSpec("own", "onnx-cross-encoder", str(shipped)), LoadOptions(threads=1))
    filler = [f"word{number}" for number in range(400)]
    answer = "the leeks stand behind the shed".split()
    long = Document(" ".join([*filler[:250], *answer, *filler[250:]]), author="Ina")
    parts = passages("where are the leeks and the shed", long)
    assert len(parts) == PASSAGES
    assert any("leeks stand behind the shed" in part.text for part in parts)
    assert [part.author for part in parts] == ["Ina"] * PASSAGES
    assert all(len(part.text.split()) <= PASSAGE_WORDS for part in parts)
    one, *others = reranker.score("where are the leeks and the shed", [long, *parts, Document("")])
    assert one.raw == pytest.approx(max(score.raw for score in others[:-1]), abs=1e-6)
    short = Document(" ".join(filler[:70]))
    assert passages("leeks", short) == [short]


def test_a_long_message_is_cut_between_sentences() -> None:
    sentences = [f"Sentence {n} tells of the {n}th thing that happened in the garden." for n in range(30)]
    parts = passages("thing 7", Document(" ".join(sentences)))
    assert len(parts) == PASSAGES
    for part in parts:
        assert part.text.startswith("Sentence")
        assert part.text.endswith("garden.")
        assert len(part.text.split()) <= PASSAGE_WORDS + 2 * NEAR_WORDS
    # Nothing is lost where all passages are read, with sentences and without any.
    for text in (" ".join(sentences[:12]), " ".join(f"word{n}" for n in range(170))):
        assert " ".join(part.text for part in passages("q", Document(text))) == text


def test_a_query_longer_than_the_limit_still_scores(shipped: Path) -> None:
    reranker = onnx_cross_encoder.load(RerankerSpec("own", "onnx-cross-encoder", str(shipped)), LoadOptions(threads=1))
    assert len(reranker.score("why? " * 500, [Document("x"), Document("")])) == 2


def test_candidates_of_a_question_share_what_is_certain(shipped: Path) -> None:
    about = json.loads((shipped / "mneme.json").read_text())
    about |= {"prior_weight": 0.5, "choice": {"scale": 1.5, "nothing": -1.0}}
    (shipped / "mneme.json").write_text(json.dumps(about))
    reranker = onnx_cross_encoder.load(RerankerSpec("own", "onnx-cross-encoder", str(shipped)), LoadOptions(threads=1))
    documents = [dataclasses.replace(d, prior=p) for d, p in zip(DOCUMENTS[:3], (0.9, 0.1, 0.5), strict=True)]
    alone = reranker.score(QUERY, documents)
    found = reranker.among(QUERY, documents, alone)
    numbers = [
        s.raw + 0.5 * math.log(d.prior / (1 - d.prior)) for s, d in zip(alone, documents, strict=True) if d.prior
    ]
    counts = [math.exp(1.5 * number) for number in numbers]
    assert [s.probability for s in found] == pytest.approx([c / (sum(counts) + math.exp(-1.0)) for c in counts])
    assert [s.raw for s in found] == [s.raw for s in alone]
    # One that fits twice is half as sure to be the answer; a text without a first stage is judged on its own.
    twice = reranker.among(QUERY, [documents[0]] * 2, [alone[0]] * 2)
    assert twice[0].probability < reranker.among(QUERY, documents[:1], alone[:1])[0].probability
    assert reranker.among(QUERY, DOCUMENTS[:3], alone) == alone
    assert reranker.among(QUERY, [], []) == []


def test_the_first_stage_weighs_more_among_long_messages(shipped: Path) -> None:
    about = json.loads((shipped / "mneme.json").read_text())
    about |= {"prior_weight": 0.5, "usual_words": 10, "choice": {"scale": 1.0, "nothing": 0.0}}
    (shipped / "mneme.json").write_text(json.dumps(about))
    reranker = onnx_cross_encoder.load(RerankerSpec("own", "onnx-cross-encoder", str(shipped)), LoadOptions(threads=1))
    scores = [Score(0.5, 0.0), Score(0.5, 0.0)]

    def odds(words: int) -> float:
        """The log-odds of the better of two between each other, whose priors are 0.75 and 0.25."""
        documents = [Document("word " * words, prior=prior) for prior in (0.75, 0.25)]
        first, second = reranker.among(QUERY, documents, scores)
        return math.log(first.probability / second.probability)

    usual = 0.5 * 2 * math.log(3)
    assert odds(3) == odds(10) == pytest.approx(usual)
    assert odds(20) == pytest.approx(2 * usual)
    assert odds(30) == odds(500) == pytest.approx(3 * usual)


def test_a_choice_of_huge_scores_neither_overflows_nor_forgets_the_rest() -> None:
    found = Choice(1.0, 0.0).probabilities([2000.0, 1999.0, -2000.0])
    assert found[0] == pytest.approx(1 / (1 + math.exp(-1)))
    assert sum(found) == pytest.approx(1.0)
    assert Choice(1.0, 3000.0).probabilities([2000.0]) == [0.0]


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        ({"rendering": "bare"}, "rendering"),
        ({"rendering": "chat", "usual_words": 0}, "usual words"),
        ({"rendering": "chat", "choice": {"scale": 0, "nothing": 1}}, "choice"),
        ({"rendering": "chat", "choice": {"scale": 1}}, "choice"),
        ({"rendering": "chat", "choice": "no"}, "choice"),
        ({"rendering": "chat", "temperature": 0}, "temperature"),
        ({"rendering": "chat", "model_sha256": "0" * 64}, "damaged"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(shipped: Path, about: dict[str, object], sentence: str) -> None:
    (shipped / "mneme.json").write_text(json.dumps(about))
    with pytest.raises(RerankerUnavailable, match=sentence):
        onnx_cross_encoder.load(RerankerSpec("own", "onnx-cross-encoder", str(shipped)), LoadOptions())


def test_a_damaged_graph_is_refused_in_one_sentence(shipped: Path) -> None:
    (shipped / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(RerankerUnavailable, match="cannot be loaded"):
        onnx_cross_encoder.load(RerankerSpec("own", "onnx-cross-encoder", str(shipped)), LoadOptions())


def test_a_graph_with_the_stated_hash_loads(shipped: Path) -> None:
    about = {"rendering": "chat", "model_sha256": sha256_of(shipped / "model.onnx")}
    (shipped / "mneme.json").write_text(json.dumps(about))
    spec = RerankerSpec("own", "onnx-cross-encoder", str(shipped))
    assert len(onnx_cross_encoder.load(spec, LoadOptions(threads=1)).score("q", DOCUMENTS)) == len(DOCUMENTS)
