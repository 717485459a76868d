"""How often people may ask, and what they are told who ask too often."""

from __future__ import annotations

import pytest

from cogs.app.allowance import KEPT, Allowance, Allowances, TooOften

ANN, BEN, PLACE, ELSEWHERE = 1, 2, 100, 101


def test_eighty_mentions_get_a_few_replies_and_one_kind_word() -> None:
    allowed = Allowances(commands=5, replies=6, channel_replies=20)
    told = [allowed.reply(ANN, PLACE, second / 10) for second in range(80)]
    assert told[:6] == [None] * 6
    assert told[6] == "I need a moment to catch my breath between your questions; ask me again in 59 seconds."
    assert set(told[7:]) == {""}
    assert allowed.reply(BEN, PLACE, 9.0) is None, "others are answered meanwhile"
    assert allowed.reply(ANN, PLACE, 61.0) is None


def test_a_channel_has_a_limit_of_its_own() -> None:
    allowed = Allowances(commands=5, replies=6, channel_replies=20)
    told = [allowed.reply(person, PLACE, 1.0) for person in range(30)]
    assert told.count(None) == 20
    assert "many questions here" in str(told[20])
    assert allowed.reply(99, ELSEWHERE, 1.0) is None


def test_commands_are_refused_kindly_and_go_on_afterwards() -> None:
    allowed = Allowances(commands=2, replies=6, channel_replies=20)
    allowed.command(ANN, 0.0)
    allowed.command(ANN, 10.0)
    with pytest.raises(TooOften, match="ask me again in 40 seconds"):
        allowed.command(ANN, 20.0)
    allowed.command(BEN, 20.0)
    allowed.command(ANN, 60.5)


def test_no_limit_and_a_bound_on_what_is_kept() -> None:
    free = Allowance(0)
    for _ in range(100):
        assert free.wait(ANN, 0.0) == 0
        free.take(ANN, 0.0)
    kept = Allowance(1)
    for person in range(KEPT + 50):
        kept.take(person, 0.0)
    assert kept.wait(0, 1.0) == 0
    assert kept.wait(KEPT, 1.0) > 0
