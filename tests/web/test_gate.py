"""Links open one session, tokens name one member, and nothing that was made up or is too old opens anything."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cogs.memory.errors import BadRequest, StorageError
from cogs.web.gate import LINK_SECONDS, SESSION_SECONDS, SESSIONS, TOKEN_SECONDS, Gate, Person, page_key

ADA = Person(1, 10)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("itsdangerous.timed.time.time", clock)
    return clock


def test_a_link_opens_one_session_for_whom_it_was_made(clock: Clock) -> None:
    gate = Gate(b"k" * 32, clock)
    link = gate.link(ADA)
    assert gate.check_link(link) == ADA
    assert gate.check_link(link) == ADA, "looking at a link must not use it up"
    session = gate.enter(link)
    assert session.person == ADA
    assert gate.session(session.id) == session
    for refuse in (gate.enter, gate.check_link):
        with pytest.raises(BadRequest, match="used already"):
            refuse(link)


def test_an_old_link_and_an_old_session_open_nothing(clock: Clock) -> None:
    gate = Gate(b"k" * 32, clock)
    link, session = gate.link(ADA), gate.enter(gate.link(ADA))
    clock.now += LINK_SECONDS + 1
    with pytest.raises(BadRequest, match="expired"):
        gate.enter(link)
    clock.now += SESSION_SECONDS
    assert gate.session(session.id) is None


def test_a_link_of_before_a_restart_opens_nothing_because_nobody_knows_whether_it_was_used(clock: Clock) -> None:
    link = Gate(b"k" * 32, clock).link(ADA)
    clock.now += 5
    with pytest.raises(BadRequest):
        Gate(b"k" * 32, clock).enter(link)


@pytest.mark.parametrize("forged", ["", "x", "WzEsMTBd.abc.def", "é" * 50, "a" * 100_000, "a.b.c\x00"])
def test_what_was_made_up_opens_nothing(clock: Clock, forged: str) -> None:
    gate = Gate(b"k" * 32, clock)
    with pytest.raises(BadRequest):
        gate.enter(forged)
    with pytest.raises(BadRequest):
        gate.bearer(forged)
    assert gate.session(forged) is None


def test_a_link_is_no_token_and_another_key_opens_nothing(clock: Clock) -> None:
    gate, other = Gate(b"k" * 32, clock), Gate(b"o" * 32, clock)
    for wrong in (gate.link(ADA), other.token(ADA)):
        with pytest.raises(BadRequest):
            gate.bearer(wrong)
    with pytest.raises(BadRequest):
        gate.enter(gate.token(ADA))


def test_a_token_names_its_member_until_it_is_too_old(clock: Clock) -> None:
    gate = Gate(b"k" * 32, clock)
    token = gate.token(ADA)
    assert Gate(b"k" * 32, clock).bearer(token) == ADA, "a token outlives a restart"
    clock.now += TOKEN_SECONDS + 1
    with pytest.raises(BadRequest, match="not valid any more"):
        gate.bearer(token)


def test_sessions_are_bounded_and_end_when_somebody_leaves(clock: Clock) -> None:
    gate = Gate(b"k" * 32, clock)
    first = gate.enter(gate.link(ADA))
    last = first
    for _ in range(SESSIONS):
        last = gate.enter(gate.link(ADA))
    assert gate.session(first.id) is None
    gate.leave(last)
    assert gate.session(last.id) is None


def test_the_key_is_made_once_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    key = page_key(tmp_path / "new")
    assert page_key(tmp_path / "new") == key
    assert stat.S_IMODE((tmp_path / "new" / "page.key").stat().st_mode) == 0o600
    (tmp_path / "new" / "page.key").write_bytes(b"short")
    with pytest.raises(StorageError, match="damaged"):
        page_key(tmp_path / "new")
