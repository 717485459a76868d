"""Messages as they arrive: everything that people see of one is remembered."""

from __future__ import annotations

import pytest

from cogs.gateway.translate import incoming
from tests.gateway.messages import SHOWING, payload, received


@pytest.mark.parametrize("name", SHOWING)
def test_what_a_message_shows_is_remembered(name: str) -> None:
    data, lines, files = SHOWING[name]
    record = incoming(received(data))
    assert record is not None
    assert record.kind == "default"
    assert record.embed_text.splitlines() == lines
    assert len(record.attachments) == files


def test_a_message_that_shows_nothing_is_not_remembered() -> None:
    assert incoming(received(payload())) is None
