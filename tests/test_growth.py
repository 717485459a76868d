"""No text that somebody may send takes more than its share of work: every expression, and all that renders."""

from __future__ import annotations

import datetime as dt
import functools
import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import cogs
from cogs.chat.rendering import extractive_answer, render_answer, without_reasoning
from cogs.chat.service import question_of
from cogs.memory.recall.conversation import points_back
from cogs.memory.recall.query import repeats
from cogs.memory.records import Hit, StoredMessage
from cogs.memory.rerankers.formats.prism_parse import parse_explanation
from cogs.memory.text.excerpts import excerpt, excerpt_markdown, fit
from cogs.memory.text.presentation import hit_view
from cogs.memory.text.sanitize import defused, for_prompt, markdown, one_line, visible, whole_links
from cogs.memory.text.terms import keyword_text
from tests.growth import Case, cases, grows_too_fast

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
FROM_OUTSIDE = ("app", "chat", "commands", "extensions", "gateway", "imports", "memory")


def hit(text: str) -> Hit:
    return Hit(StoredMessage(30, 10, 20, 1, text, text, NOW, None, None, (), text, text, (text,)), 0.5, 0.5, None, text)


#: What stopped a bot once.
KNOWN = [
    Case("", "[", "a" + "](x)" * 130 + "[x](" + " " * 3000),
    Case("[x](", " ", ""),
    Case("", "[x](", ""),
    Case("[", "](x)", "[x]("),
    Case("https://x", ")", ""),
    Case("<@1>", " ", "x"),
    Case("", "\n", "x"),
    Case("", "\n1", "x"),
    Case("a", "\u0315\u0301", ""),
    Case("<", " ", "evidence"),
    Case("", "<#7>", ""),
    Case("", "[[1]", ""),
]

RENDERERS: dict[str, Callable[[str], object]] = {
    "visible": visible,
    "defused": lambda text: defused(text, {1: text, 7: "<#7>"}),
    "markdown": markdown,
    "for_prompt": for_prompt,
    "one_line": one_line,
    "fit": lambda text: fit(text, 1024),
    "whole_links": lambda text: whole_links(text, len(text) // 2),
    "excerpt": lambda text: excerpt_markdown(excerpt(text, "where is the 火山 x a 1 https", text[:80])),
    "hit_view": lambda text: hit_view(hit(text), 1, "x 火", NOW).value_markdown,
    "render_answer": lambda text: render_answer(text, [hit("said")], NOW),
    "extractive_answer": lambda text: extractive_answer([hit(text)], NOW, "nothing", failure=text[:200]),
    "without_reasoning": lambda text: without_reasoning(text, final=False),
    "question_of": lambda text: question_of(text, 1),
    "keyword_text": keyword_text,
    "points_back": points_back,
    "repeats": lambda text: repeats("where is it", text),
    "parse_explanation": parse_explanation,
}


def patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    """Yield every expression that a module of the bot keeps, by its name."""
    for module in pkgutil.walk_packages(cogs.__path__, "cogs."):
        if module.name.split(".")[1] not in FROM_OUTSIDE or ".migrations" in module.name:
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            found = [value] if isinstance(value, re.Pattern) else []
            if isinstance(value, list):
                found = [part for item in value if isinstance(item, tuple) for part in item]
            for number, pattern in enumerate(part for part in found if isinstance(part, re.Pattern)):
                yield f"{module.name}.{name}.{number}", pattern


PATTERNS = {name: pattern for pattern, name in {pattern: name for name, pattern in patterns()}.items()}


def test_the_expressions_are_found() -> None:
    assert len(PATTERNS) > 50
    assert any("sanitize" in name for name in PATTERNS)


@pytest.mark.parametrize("name", PATTERNS)
def test_an_expression_takes_time_in_proportion_to_the_text(name: str) -> None:
    pattern = PATTERNS[name]
    run: Callable[[str], object] = functools.partial(pattern.sub, "")
    if isinstance(pattern.pattern, bytes):
        # One that looks at the beginning of a file, and there only.
        as_bytes = re.compile(pattern.pattern, pattern.flags)
        pattern = re.compile(pattern.pattern.decode("ascii"), pattern.flags & ~re.UNICODE)

        def run(text: str) -> object:
            return as_bytes.match(text.encode("utf-8", "surrogatepass"))

    literal = [c for c in dict.fromkeys(re.sub(r"\\[a-zA-Z]|[^\w<>@#/:\[\]()`.,\"'-]", "", pattern.pattern)) if c]
    words = re.findall(r"[a-z]{2,}", pattern.pattern)
    own = (*literal, *words, " ", "\n", "1", "a ", "[", "](", " ")
    for case in [*KNOWN, *cases(17, 12, own), *cases(18, 6)]:
        assert grows_too_fast(run, case) is None, case


@pytest.mark.parametrize("name", RENDERERS)
def test_what_is_rendered_takes_time_in_proportion_to_the_text(name: str) -> None:
    for case in [*KNOWN, *cases(19, 25)]:
        assert grows_too_fast(RENDERERS[name], case) is None, case
