"""Published conversation sets, one function each, from their rows to a data set. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cogs.lab.datasets.dataset import Dataset, DatasetMessage, DatasetQuery, read_time

Row = Mapping[str, Any]
_LOCOMO_CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}
_SESSION = re.compile(r"^session_(\d+)$")


def longmemeval(name: str, rows: Sequence[Row]) -> Dataset:
    """LongMemEval (S, M or oracle): each question has its own history; the turns marked ``has_answer`` are relevant.

    Questions whose answer is that there is none (``_abs``) have no such turn and are not measured. Where no turn is
    marked, the user's turns of the answer sessions are relevant.
    """
    messages: list[DatasetMessage] = []
    queries: list[DatasetQuery] = []
    qrels: dict[str, dict[str, int]] = {}
    for row in rows:
        key = str(row["question_id"])
        marked: list[str] = []
        in_session: list[str] = []
        answers = {str(i) for i in row["answer_session_ids"]}
        sessions = zip(row["haystack_session_ids"], row["haystack_dates"], row["haystack_sessions"], strict=True)
        for place, (session_id, date, turns) in enumerate(sessions):
            for number, turn in enumerate(turns):
                # A session can stand in one history twice, so its place is part of the id.
                message_id = f"{key}/{place}/{session_id}/{number}"
                messages.append(
                    DatasetMessage(message_id, str(turn["content"]), str(turn["role"]), key, read_time(date))
                )
                if turn.get("has_answer"):
                    marked.append(message_id)
                if str(session_id) in answers and turn["role"] == "user":
                    in_session.append(message_id)
        asked = read_time(row.get("question_date"))
        queries.append(DatasetQuery(key, str(row["question"]), key, row.get("question_type"), asked))
        if not key.endswith("_abs"):
            qrels[key] = dict.fromkeys(marked or in_session, 1)
    return Dataset(name, tuple(messages), tuple(queries), qrels)


def memfuse(name: str, rows: Sequence[Row]) -> Dataset:
    """MSC-MemFuse-MC10: a question with ten choices over several sessions; no turn is marked as evidence.

    Relevant are the turns that hold every telling word of the right answer, which is what the choice rests on; a
    question without such a turn is not measured.
    """
    messages: list[DatasetMessage] = []
    queries: list[DatasetQuery] = []
    qrels: dict[str, dict[str, int]] = {}
    for row in rows:
        key = str(row["question_id"])
        dates = row.get("haystack_session_datetimes") or [None] * len(row["haystack_sessions"])
        wanted = _telling(str(row["answer"]))
        for place, (date, turns) in enumerate(zip(dates, row["haystack_sessions"], strict=True)):
            for number, turn in enumerate(turns):
                message_id = f"{key}/{place}/{number}"
                text = str(turn["content"])
                messages.append(DatasetMessage(message_id, text, str(turn["role"]), key, read_time(date)))
                if wanted and wanted <= _telling(text):
                    qrels.setdefault(key, {})[message_id] = 1
        queries.append(DatasetQuery(key, str(row["question"]), key, row.get("question_type")))
    warning = "evidence is not marked in this set; relevant are the turns that hold the words of the answer"
    return Dataset(name, tuple(messages), tuple(queries), qrels, (warning,))


def _telling(text: str) -> frozenset[str]:
    return frozenset(word for word in re.findall(r"\w+", text.casefold()) if len(word) > 3 or word.isdigit())


def locomo(name: str, rows: Sequence[Row]) -> Dataset:
    """LoCoMo: two friends over many sessions; the turns named as evidence are relevant.

    A turn's image is what its caption says. Adversarial questions (category 5) keep their evidence.
    """
    messages: list[DatasetMessage] = []
    queries: list[DatasetQuery] = []
    qrels: dict[str, dict[str, int]] = {}
    for position, row in enumerate(rows):
        channel = str(row.get("sample_id", position))
        talk = row["conversation"]
        numbers = sorted(int(match[1]) for key in talk if (match := _SESSION.match(key)))
        for number in numbers:
            moment = read_time(talk.get(f"session_{number}_date_time"))
            for turn in talk[f"session_{number}"]:
                caption = turn.get("blip_caption")
                text = f"{turn['text']} [image: {caption}]" if caption else str(turn["text"])
                messages.append(DatasetMessage(f"{channel}/{turn['dia_id']}", text, turn["speaker"], channel, moment))
        for place, question in enumerate(row["qa"]):
            key = f"{channel}/q{place}"
            category = question.get("category")
            queries.append(
                DatasetQuery(key, str(question["question"]), channel, _LOCOMO_CATEGORIES.get(category, str(category)))
            )
            evidence = re.findall(r"D\d+:\d+", " ".join(map(str, question.get("evidence") or ())))
            qrels[key] = dict.fromkeys((f"{channel}/{turn}" for turn in evidence), 1)
    return Dataset(name, tuple(messages), tuple(queries), qrels)


def hotpotqa(name: str, rows: Sequence[Row]) -> Dataset:
    """HotpotQA, distractor setting: ten paragraphs for each question; those of the supporting facts are relevant."""
    messages: list[DatasetMessage] = []
    queries: list[DatasetQuery] = []
    qrels: dict[str, dict[str, int]] = {}
    for row in rows:
        key = str(row.get("_id", row.get("id")))
        context, facts = row["context"], row["supporting_facts"]
        # The files of the authors hold pairs, those of the hub two columns.
        pairs = zip(context["title"], context["sentences"], strict=True) if isinstance(context, dict) else context
        titles = set(facts["title"]) if isinstance(facts, dict) else {title for title, _ in facts}
        for place, (title, sentences) in enumerate(pairs):
            message_id = f"{key}/{place}"
            messages.append(DatasetMessage(message_id, f"{title}\n{''.join(sentences)}".strip(), "", key))
            if title in titles:
                qrels.setdefault(key, {})[message_id] = 1
        queries.append(DatasetQuery(key, str(row["question"]), key, row.get("type")))
    return Dataset(name, tuple(messages), tuple(queries), qrels)


def hindsight(name: str, rows: Sequence[Row]) -> Dataset:
    """Hindsight's triplets: a query with the right and the wrong memory, each query with a channel of its own."""
    messages: list[DatasetMessage] = []
    queries: list[DatasetQuery] = []
    qrels: dict[str, dict[str, int]] = {}
    for number, row in enumerate(rows):
        key = str(number)
        # Neither side may always stand first: where scores are equal, the place decides.
        for side in ("positive", "negative") if number % 2 else ("negative", "positive"):
            memory = row[side]
            moment = read_time(memory.get("occurred_start"))
            messages.append(DatasetMessage(f"{key}/{side}", str(memory["text"]), "", key, moment))
        qrels[key] = {f"{key}/positive": 1, f"{key}/negative": 0}
        queries.append(DatasetQuery(key, str(row["query"]), key, row["positive"].get("type")))
    return Dataset(name, tuple(messages), tuple(queries), qrels)
