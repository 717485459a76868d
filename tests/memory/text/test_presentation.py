from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cogs.memory.records import (
    Attachment,
    Hit,
    PersonSummary,
    ProfileReport,
    Reach,
    RecallResult,
    Status,
    StoredMessage,
)
from cogs.memory.text import presentation
from cogs.memory.text.excerpts import Span, excerpt, excerpt_markdown
from cogs.memory.text.presentation import HitViews, empty_sentence, hit_view, reach_phrase, result_pages
from cogs.memory.text.sanitize import defused, markdown, visible
from cogs.memory.text.status_lines import person_lines, profile_lines, status_lines

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)


def message(content: str = "We ordered the blue paint for the fence.", **changes: object) -> StoredMessage:
    plain = StoredMessage(
        id=30,
        guild_id=10,
        channel_id=20,
        author_id=1,
        author_name="Ana",
        content=content,
        created_at=dt.datetime(2026, 5, 3, 14, 5, tzinfo=dt.UTC),
        edited_at=None,
        reply_to_id=None,
        channel_name="garden",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def result(*hits: Hit, reach: Reach | None = None, degraded: str | None = None) -> RecallResult:
    return RecallResult(hits, reach or Reach(3, 1, NOW), profile="cpu", reranker="small-ce", degraded=degraded)


def test_a_hit_tells_author_time_channel_excerpt_link_and_rerank_score() -> None:
    view = hit_view(Hit(message(), 0.4, rerank_score=0.8731), 1, "paint", NOW)
    assert view.author == "Ana"
    assert view.when == "3 May, 14:05 UTC"
    assert view.channel == "#garden"
    assert view.score == "rerank_score 0.873"
    assert view.jump_url == "https://discord.com/channels/10/20/30"
    assert view.title_markdown == "\\[1\\] Ana · #garden"
    assert view.value_markdown == (
        "We ordered the blue **paint** for the fence.\n-# <t:1777817100:f> · rerank\\_score 0.873 · "
        "[Jump to message](<https://discord.com/channels/10/20/30>)"
    )


def test_a_terminal_shows_times_in_its_own_zone() -> None:
    now = NOW.astimezone(ZoneInfo("Asia/Tokyo"))
    assert hit_view(Hit(message(), 0.4), 1, "", now).when == "3 May, 23:05 JST"


def test_another_years_date_says_the_year() -> None:
    old = message(created_at=dt.datetime(2024, 12, 31, 23, 59, tzinfo=dt.UTC))
    assert hit_view(Hit(old, 0.4), 1, "", NOW).when == "31 December 2024, 23:59 UTC"


def test_a_fused_order_is_told_on_the_hit_and_on_the_page() -> None:
    page = result_pages(result(Hit(message(), 0.41), degraded="The reranker missed its deadline."), "paint", NOW)[0]
    assert page.hits[0].score == "not reranked (fused 0.41)"
    assert page.notice == "⚠ The reranker missed its deadline."
    assert page.footer == "profile cpu · fused order"
    assert "missed its deadline" in page.description_markdown


def test_pages_hold_five_and_number_on() -> None:
    pages = result_pages(result(*[Hit(message(), 0.5, 0.5)] * 12), "paint", NOW)
    assert [len(page.hits) for page in pages] == [5, 5, 2]
    assert [hit.number for page in pages for hit in page.hits] == list(range(1, 13))
    assert pages[1].footer == "page 2 of 3 · profile cpu · ranked by small-ce"


def test_a_page_turn_renders_only_what_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def watched(text: str, *more: Any, **named: Any) -> tuple[Span, ...]:
        looked.append(text)
        return excerpt(text, *more, **named)

    monkeypatch.setattr(presentation, "excerpt", watched)
    hits = tuple(Hit(message(f"message {number}", id=number), 0.5, 0.5) for number in range(12))
    rendered = HitViews("message")
    first = result_pages(result(*hits), "message", NOW, rendered=rendered)
    assert len(looked) == 12
    looked.clear()
    again = result_pages(result(*hits[1:]), "message", NOW, rendered=rendered)
    assert looked == []
    assert [hit.number for page in again for hit in page.hits] == list(range(1, 12))
    assert again[0].hits[0].excerpt == first[0].hits[1].excerpt
    edited = replace(hits[3], message=message("another text", id=3))
    pages = result_pages(result(*hits[:3], edited, *hits[4:]), "message", NOW, rendered=rendered)
    assert "another text" in pages[0].fields[3][1]
    assert looked == ["message 0", "another text"]
    looked.clear()
    result_pages(result(*hits), "message", NOW, rendered=rendered, names={7: "garden"})
    assert len(looked) == 12, "a name of a channel that the reader may no longer see is gone"


def test_names_are_put_in_once_and_begin_no_mention() -> None:
    names = {7: "<#7>", 8: "[rules](https://evil.example)", 9: "<t:0>", 10: "@everyone"}
    assert defused("in <#7>", names) == "in #‹#7>"
    assert defused("<#7>" * 3, names) == "#‹#7>" * 3
    assert "](" not in defused("see <#8>", names)
    assert defused("<#9>", names) == "#‹t:0>"
    assert defused("<@10>", names) == "＠＠everyone"
    assert len(defused("<#7>" * 10, {7: "x" * 5000})) < 1100


def test_an_empty_result_says_how_far_the_memory_reaches() -> None:
    reach = Reach(1204, 4, dt.datetime(2026, 5, 3, tzinfo=dt.UTC))
    page = result_pages(result(reach=reach), "unicorn", NOW)[0]
    assert (
        page.empty
        == "I found nothing that fits. I remember 1,204 messages since 3 May in 4 channels that you can read here."
    )
    assert page.fields == ()
    assert "1,204 messages since 3 May in 4 channels" in page.description_markdown
    assert reach_phrase(Reach(1, 1, NOW), NOW) == "1 message since 1 June in 1 channel"
    assert "nothing yet" in empty_sentence(Reach(0, 0, None), NOW)


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("Der Schlüssel liegt unter der MATTE.", "matte schlüssel", ["Schlüssel", "MATTE"]),
        ("我们把服务器搬到新机房了", "服务器", ["服务器"]),
        ("החתול ישן על הספה", "החתול", ["החתול"]),
        ("what is it", "what is it", []),
        ("see https://example.org/paint for paint", "paint", ["paint", "paint"]),
    ],
)
def test_what_matches_is_told_apart(text: str, query: str, expected: list[str]) -> None:
    spans = excerpt(text, query)
    assert [span.text for span in spans if span.match] == expected
    assert "".join(span.text for span in spans) == text


def test_a_match_inside_a_link_leaves_the_link_whole() -> None:
    assert excerpt_markdown(excerpt("see https://example.org/blue_paint now", "paint")) == (
        "see https://example.org/blue_paint now"
    )


def test_the_excerpt_of_a_long_message_is_around_what_matches() -> None:
    text = "lorem ipsum " * 100 + "the key is under the mat " + "dolor sit " * 100
    shown = "".join(span.text for span in excerpt(text, "where is the key, under a mat?"))
    assert "the key is under the mat" in shown
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert len(shown) <= 282
    proof = "".join(span.text for span in excerpt(text + "and the gate is red", "key", evidence="the gate is red"))
    assert "the gate is red" in proof


def test_a_cut_never_turns_a_link_into_another_address() -> None:
    text = "x" * 200 + " https://good.example.com.evil.example/path and more words behind it " * 5
    shown = excerpt_markdown(excerpt(text, ""), 250)
    assert "https://" not in shown or "https://good.example.com.evil.example/path" in shown


def test_attachments_and_embeds_are_read_and_an_empty_message_says_so() -> None:
    with_file = message("", attachments=(Attachment(1, "plan.pdf", "https://x/plan.pdf"),), embed_text="Floor plan")
    shown = "".join(span.text for span in hit_view(Hit(with_file, 0.1), 1, "", NOW).excerpt)
    assert shown == "Floor plan\n(attached: plan.pdf)"
    nothing = hit_view(Hit(message("", author_name="\u3164"), 0.1), 1, "", NOW)
    assert "".join(span.text for span in nothing.excerpt) == "(no text)"
    assert nothing.author == "somebody"


def test_mentions_become_names_that_the_reader_may_know() -> None:
    names = {5: "Bo", 7: "garden"}
    assert defused("<@5> in <#7> not <#8> says <@!6>", names) == "＠Bo in #garden not #a-channel says ＠someone"
    assert defused("<@5>", {5: "<@9>\n@everyone"}) == "＠‹＠9> ＠everyone"


@pytest.mark.parametrize("text", ["👩‍👩‍👧 ❤️ 1️⃣", "می‌خواهم", "क्‍ष", "中文，標點。", "naïve café", "שלום", "a\nb\tc"])
def test_what_a_script_or_an_emoji_needs_stays(text: str) -> None:
    assert visible(text) == text


def test_markdown_is_shown_as_it_was_typed_and_links_stay_links() -> None:
    assert markdown("**b** https://x.org/a_b(c), 1) _i_") == "\\*\\*b\\*\\* https://x.org/a_b%28c%29, 1) \\_i\\_"
    assert markdown("# h\n- l\n2. n\n> q") == "\\# h\n\\- l\n2\\. n\n\\> q"


def test_status_tells_everything_an_administrator_asks_for() -> None:
    status = Status(
        messages=1204,
        channels=4,
        queue=3,
        profile="cpu",
        embedder="all-MiniLM-L6-v2",
        reranker=None,
        device="cpu",
        index="exact, 1,204 vectors",
        last_error="disk\nfull @everyone",
        latency={"recall": {"p50": 0.041, "p95": 0.11}},
        uptime=3700,
        degraded="The reranker could not be loaded.",
        tokens_saved=5120,
    )
    assert status_lines(status) == (
        "Messages: 1,204 in 4 channels",
        "Queue: 3 messages waiting",
        "Profile: cpu on cpu",
        "Embedder: all-MiniLM-L6-v2",
        "Reranker: none, results come in fused order",
        "Index: exact, 1,204 vectors",
        "Latency of recall: p50 41 ms, p95 110 ms",
        "Tokens saved by evidence: 5,120",
        "Up for 1 hour",
        "⚠ The reranker could not be loaded.",
        "Last error: disk full ＠everyone",
    )


def test_profiles_say_which_is_in_use_and_why_not_the_others() -> None:
    lines = profile_lines(
        [
            ProfileReport("cpu", "Two cores.", active=True, runnable=True),
            ProfileReport("gpu-large", "8B.", active=False, runnable=False, reason="no CUDA device"),
            ProfileReport("minimal", "No reranker.", active=False, runnable=True),
        ]
    )
    assert lines == (
        "● cpu: Two cores. (in use)",
        "✕ gpu-large: 8B. — not here: no CUDA device",
        "○ minimal: No reranker.",
    )


def test_a_person_reads_what_is_stored_about_them() -> None:
    first, last = NOW - dt.timedelta(days=200), NOW
    assert person_lines(PersonSummary(12, 2, first, last, False), NOW) == (
        "I remember 12 messages of yours in 2 channels, from 13 November 2025 to 1 June.",
    )
    assert "opted out" in person_lines(PersonSummary(0, 0, None, None, True), NOW)[0]
    assert person_lines(PersonSummary(0, 0, None, None, False), NOW) == ("Nothing of yours is stored.",)
