"""The pages: what two members with different rights see, hostile texts, forms of other sites, and who left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.memory.building import BEN, CARLA, GUILD, ask, message, texts
from tests.web.building import CODE, HOSTILE_NAME, KEY, MEMBER, OWNER, Site, csrf_of, posted, running_site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running_site(tmp_path) as site:
        yield site


async def test_nobody_gets_in_without_a_link_and_a_link_is_good_once(site: Site) -> None:
    async with site.browser() as client:
        for path in ("/", "/recall", "/mine", "/manage", "/judged"):
            response = await client.get(path)
            assert (response.status_code, response.headers["location"]) == (303, "/enter")
        link = site.context.gate.link(MEMBER)
        previewed = await client.get("/enter", params={"link": link})
        assert previewed.status_code == 200
        assert "set-cookie" not in previewed.headers
        entered = await client.post("/enter", data={"link": link})
        cookie = entered.headers["set-cookie"].casefold()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert (await client.get("/")).status_code == 200
    async with site.browser() as another:
        again = await another.post("/enter", data={"link": link})
        assert again.status_code == 400
        assert "used already" in again.text
        assert (await another.get("/")).status_code == 303


async def test_each_member_recalls_what_they_may_read_and_no_more(site: Site) -> None:
    async with site.browser(OWNER) as client:
        shown = await posted(client, "/recall", "/recall", query="what is the code of the safe?")
        assert CODE in shown.text
    async with site.browser(MEMBER) as client:
        shown = await posted(client, "/recall", "/recall", query="what is the code of the safe?")
        assert shown.status_code == 200
        assert "4711" not in shown.text
        shown = await posted(client, "/recall", "/recall", query="where is the key?")
        assert KEY in shown.text
        refused = await posted(client, "/recall", "/recall", query="code", channel="secret")
        assert "There is no channel" in refused.text
        overview = (await client.get("/")).text
        assert "#general" in overview
        assert "secret" not in overview
        assert "/manage" not in overview


async def test_every_stage_of_a_recall_is_shown(site: Site) -> None:
    async with site.browser(OWNER) as client:
        shown = (await posted(client, "/recall", "/recall", query="where is the key of the boat house?")).text
    for word in ("keywords", "vectors", "fused", "what was judged", "What a prompt would receive", "embed", " ms"):
        assert word in shown
    assert "Anna" in shown


async def test_hostile_texts_and_names_are_shown_as_text(site: Site) -> None:
    async with site.browser(OWNER) as client:
        shown = (await posted(client, "/recall", "/recall", query="script alert evil")).text
        assert "&lt;script&gt;alert(1)" in shown
        assert "<script" not in shown
        assert "<b onmouseover" not in shown
        assert HOSTILE_NAME not in shown
        again = (await posted(client, "/recall", "/recall", query='"><script>alert(9)</script>')).text
        assert "<script" not in again


async def test_a_form_of_another_site_does_nothing(site: Site) -> None:
    async with site.browser(OWNER) as client:
        csrf = csrf_of((await client.get("/mine")).text)
        for stolen in ({}, {"csrf": ""}, {"csrf": "x" * 43}):
            assert (await client.post("/mine/opt-out", data=stolen)).status_code == 403
        assert not await site.service.is_opted_out(OWNER.user_id, GUILD)
        async with site.browser(MEMBER) as other:
            assert (await other.post("/mine/opt-out", data={"csrf": csrf})).status_code == 403


async def test_whoever_left_the_server_sees_nothing_at_once(site: Site) -> None:
    async with site.browser(MEMBER) as client:
        csrf = csrf_of((await client.get("/recall")).text)
        site.server.leave(BEN)
        refused = await client.post("/recall", data={"csrf": csrf, "query": "where is the key?"})
        assert refused.status_code == 403
        assert KEY not in refused.text
        assert (await client.get("/")).status_code == 303, "the session has ended"


async def test_management_does_what_the_commands_do_and_only_for_managers(site: Site) -> None:
    async with site.browser(MEMBER) as client:
        csrf = csrf_of((await client.get("/mine")).text)
        for fields in ({"act": "exclude", "channel": "general"}, {"act": "forget", "author": "Anna"}):
            refused = await client.post("/manage", data={"csrf": csrf, **fields})
            assert refused.status_code == 400
            assert "may manage this server" in refused.text
        assert (await client.get("/manage")).status_code == 400
    assert len(texts(await ask(site.service, "key"))) > 0
    async with site.browser(OWNER) as client:
        asked = await posted(client, "/manage", "/manage", act="forget", author="Ben")
        assert "for good" in asked.text
        assert "Sunday" in " ".join(texts(await ask(site.service, "sail on Sunday")))
        done = await posted(client, "/manage", "/manage", act="forget", author="Ben", sure="yes")
        assert "1 message is erased" in done.text
        assert "Sunday" not in " ".join(texts(await ask(site.service, "sail on Sunday")))
        assert "not remembered" in (await posted(client, "/manage", "/manage", act="exclude", channel="general")).text
        for days in ("-1", "x", "99999", "²", "1" * 5000):
            assert (await posted(client, "/manage", "/manage", act="retention", days=days)).status_code == 400


async def test_ones_own_words_can_be_taken_along_and_erased(site: Site) -> None:
    async with site.browser(MEMBER) as client:
        exported = await posted(client, "/mine", "/mine/export")
        assert [m["content"] for m in exported.json()["messages"]] == ["Shall we sail on Sunday?"]
        asked = await posted(client, "/mine", "/mine/forget")
        assert "erases 1 message of yours" in asked.text
        assert "erased" in (await posted(client, "/mine", "/mine/forgotten")).text
    assert "Sunday" not in " ".join(texts(await ask(site.service, "sail on Sunday")))


async def test_marks_are_kept_shown_to_whoever_may_read_and_go_with_message_and_judge(site: Site) -> None:
    await site.service.remember([message(9, "The anchor is rusty", author=CARLA)])
    await site.service.drain()
    wanted = str(message(9, "").id)
    async with site.browser(OWNER) as client:
        fields = {"query": "which part is rusty?", "message": wanted}
        assert "Noted: right" in (await posted(client, "/recall", "/judge", mark="right", **fields)).text
        assert "which part is rusty?" in (await client.get("/judged")).text
        endless = {**fields, "query": "rust " * 4000}
        assert (await posted(client, "/recall", "/judge", mark="right", **endless)).status_code == 400
        missing = {**fields, "message": "12345"}
        assert (await posted(client, "/recall", "/judge", mark="right", **missing)).status_code == 400
    async with site.browser(MEMBER) as client:
        assert (await posted(client, "/recall", "/judge", mark="wrong", **fields)).status_code == 400
    await site.service.forget_messages(GUILD, [int(wanted)])
    visitor = await site.context.visitor(OWNER)
    assert visitor is not None
    assert await site.service.insight.judged(visitor.scope) == []
    await site.service.insight.judge(visitor.scope, "key?", message(1, "").id, True, OWNER.user_id)
    await site.service.forget_person(OWNER.user_id, GUILD)
    assert await site.service.insight.judged(visitor.scope) == []


async def test_health_is_for_everybody_and_metrics_for_this_machine(site: Site) -> None:
    async with site.browser() as client:
        assert (await client.get("/healthz")).text == "ok"
        assert (await client.get("/readyz")).text == "ready"
        figures = (await client.get("/metrics")).text
    assert "mneme_messages 4.0" in figures
    assert 'profile="minimal"' in figures
    assert KEY not in figures
