"""Questions made by rule from real chat turns: a first-person statement becomes a question about its author.

"I bought a new monitor yesterday" by Nia → "What did Nia buy?", "When did Nia buy a new monitor?". The turn is the
evidence; other turns of the same author on the same words are left out of judgement.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from cogs.lab.datasets.conversations import ChatTurn, Conversation, Question
from cogs.lab.datasets.generate_words import IRREGULAR, NAMES, STOPWORDS, stem, words

_PAST = re.compile(
    r"\b(?:I|i|we|We)(?:'ve| have)?(?: just| finally| also| already| once| actually| even| recently)?"
    r" ([a-z]+) ((?:[A-Za-z0-9'’\-_/.+]+ ?){1,9})"
)
_NOW = re.compile(
    r"\b(?:I|i)(?: really| also| still| just)?"
    r" (like|love|hate|want|need|use|have|live|work|prefer|know|think|believe|own|run)"
    r" ((?:[A-Za-z0-9'’\-_/.+]+ ?){1,9})"
)
_GOING = re.compile(
    r"\b(?:I'm|i'm|im|I am|i am) (?:going to|gonna|trying to|planning to) ((?:[A-Za-z0-9'’\-_/.+]+ ?){2,8})"
)
_OWNED = re.compile(r"\b(?:my|My) ([a-z]{3,14})(?: ([a-z]{3,14}))? (?:is|was|are|were|has|had|got) ")
_ABOUT = (
    "What did {a} say about {p}?",
    "what does {a} think about {p}",
    "Did {a} mention {p}?",
    "{a} {p}",
    "what was it that {a} told us about {p}?",
    "{a} talking about {p}",
    "who mentioned {p}?",
    "Who was talking about {p}?",
    "when did {a} bring up {p}?",
    "{p}",
    "message about {p}",
)
_SWAP = {"my": "their", "me": "them", "i": "they", "our": "their", "we": "they", "us": "them", "your": "someone's"}


def ask_about(
    turns: Sequence[ChatTurn], index: int, rarity: Mapping[str, int], rng: random.Random
) -> tuple[str, str] | None:
    """Return (question, category) for a turn, or ``None`` where no rule fits it; rare words make better phrases."""
    turn = turns[index]
    made: list[tuple[str, str]] = []
    for verb, rest in _PAST.findall(turn.text):
        base = IRREGULAR.get(verb)
        head = " ".join(_turned(rest).split()[: rng.randint(2, 5)])
        if base and head:
            made += [
                (f"What did {turn.author} {base}?", "what"),
                (rng.choice([f"When did {turn.author} {base} {head}?", f"Did {turn.author} {base} {head}?"]), "when"),
                (rng.choice([f"Why did {turn.author} {base} {head}?", f"Who {verb} {head}?"]), "who"),
            ]
    for verb, rest in _NOW.findall(turn.text):
        head = " ".join(_turned(rest).split()[: rng.randint(2, 5)])
        if not head:
            continue
        made += [
            (
                rng.choice([f"What does {turn.author} {verb}?", f"what does {turn.author} {verb} {head.split()[0]}"]),
                "what",
            ),
            (rng.choice([f"Does {turn.author} {verb} {head}?", f"Who {verb}s {head}?"]), "who"),
        ]
    for rest in _GOING.findall(turn.text):
        made.append(
            (rng.choice([f"What is {turn.author} planning to do?", f"Who is going to {_turned(rest)}?"]), "what")
        )
    for first, second in _OWNED.findall(turn.text):
        thing = f"{first} {second}".strip()
        made.append(
            (
                rng.choice([f"What about {turn.author}'s {thing}?", f"What is wrong with {turn.author}'s {thing}?"]),
                "what",
            )
        )
    if made and rng.random() < 0.65:
        return rng.choice(made)
    phrase = _phrase(turn.text, rarity, rng)
    if phrase is None:
        return None
    return rng.choice(_ABOUT).format(a=turn.author, p=phrase), "about"


def question_conversation(conversation: Conversation, count: int, rng: random.Random) -> Conversation:
    """Return the conversation under other names, with up to ``count`` questions made by rule from its turns."""
    turns = renamed(conversation, rng).turns
    spans = [i for i, turn in enumerate(turns) if 5 <= len(turn.text.split()) <= 60]
    names = {turn.author.lower() for turn in turns}
    rarity = Counter({name: len(turns) for name in names})
    for turn in turns:
        rarity.update(set(words(turn.text)))
    questions: list[Question] = []
    for index in rng.sample(spans, len(spans)):
        if len(questions) >= count:
            break
        asked = ask_about(turns, index, rarity, rng)
        if asked is None:
            continue
        text, category = asked
        wanted = (
            {stem(word) for word in words(text)}
            - {stem(word) for word in STOPWORDS}
            - {stem(turns[index].author.lower())}
        )
        named = turns[index].author.lower() in text.lower()
        ignored = tuple(
            turn.id
            for i, turn in enumerate(turns)
            if i != index
            and (turn.author == turns[index].author or not named)
            and len(wanted & {stem(word) for word in words(turn.text)}) * 2 >= max(1, len(wanted))
        )
        questions.append(
            Question(f"{conversation.id}-made{index}", text, (turns[index].id,), f"made-{category}", ignored=ignored)
        )
    return Conversation(f"{conversation.id}-made", turns, tuple(questions))


def renamed(conversation: Conversation, rng: random.Random) -> Conversation:
    """Return the conversation with its speakers' names replaced, in turns and questions, by names drawn at random."""
    authors = sorted({turn.author for turn in conversation.turns})
    # A busy log has more speakers than there are names: the rest keep theirs.
    drawn = dict(zip(rng.sample(authors, len(authors)), rng.sample(NAMES, min(len(NAMES), len(authors))), strict=False))
    lowered = {author.lower(): name for author, name in drawn.items() if len(author) > 2}

    def swap(text: str) -> str:
        return re.sub(r"[A-Za-z0-9_\-\[\]`^|{}]+", lambda match: lowered.get(match[0].lower(), match[0]), text)

    turns = tuple(
        ChatTurn(turn.id, drawn.get(turn.author, turn.author), swap(turn.text), turn.timestamp, turn.reply_to)
        for turn in conversation.turns
    )
    questions = tuple(
        Question(q.id, swap(q.text), q.positives, q.category, q.asked_at, q.negatives, q.ignored)
        for q in conversation.questions
    )
    return Conversation(conversation.id, turns, questions)


def question_all(conversations: Iterable[Conversation], per_hundred: int, seed: int) -> Iterator[Conversation]:
    """Yield every conversation with about ``per_hundred`` made questions for each hundred of its turns."""
    for conversation in conversations:
        rng = random.Random(f"{seed}-{conversation.id}")
        yield question_conversation(conversation, max(1, len(conversation.turns) * per_hundred // 100), rng)


def _phrase(text: str, rarity: Mapping[str, int], rng: random.Random) -> str | None:
    tokens = re.findall(r"[A-Za-z0-9][A-Za-z0-9'_\-.]*[A-Za-z0-9]", text)
    good = [i for i, token in enumerate(tokens) if token.lower() not in STOPWORDS and len(token) > 3]
    if not good:
        return None
    start = rng.choice(sorted(good, key=lambda i: rarity.get(tokens[i].lower(), 1))[:3])
    phrase = tokens[start : start + rng.randint(1, 3)]
    while phrase and phrase[-1].lower() in STOPWORDS:
        phrase.pop()
    return " ".join(phrase) or None


def _turned(rest: str) -> str:
    return " ".join(_SWAP.get(word.lower(), word) for word in rest.split()).rstrip(".,'’")
