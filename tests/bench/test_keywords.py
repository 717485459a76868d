"""The benchmark of keyword search, small: PostgreSQL finds what SQLite finds, in both of its usual locales."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from cogs.bench.keywords import corpus, measure

MESSAGES = 1_200


@pytest.fixture(params=["C", "C.UTF-8"])
def located(request: pytest.FixtureRequest, postgresql: str) -> str:
    """The URL of an empty database of a locale."""
    name = f"located_{request.param.replace('.', '_').replace('-', '_').lower()}"
    with psycopg.connect(postgresql, autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE '{request.param}'")
    return postgresql.replace("postgresql://", "postgresql+psycopg://").replace("/postgres?", f"/{name}?")


def test_postgresql_finds_known_items_as_sqlite_does_chinese_ones_too(tmp_path: Path, located: str) -> None:
    messages = list(corpus(MESSAGES))
    plain = measure(f"sqlite:///{tmp_path / 'mneme.db'}", messages, tmp_path)
    found = measure(located, messages, tmp_path)
    assert found.first_ten >= 0.9
    assert found.first_ten_unspaced >= 0.9
    assert found.first_ten >= plain.first_ten - 0.05
