"""Import: messages a second through ``remember`` until all are embedded and indexed, and where the time goes."""

from __future__ import annotations

import asyncio
import functools
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

from cogs.bench import chatter
from cogs.bench.measure import Config, PathFigures, Run, machine, peak_memory
from cogs.bench.report import Bench, Target
from cogs.memory.embedding.specs import MINILM, verified_folder
from cogs.memory.service import MemoryService
from cogs.memory.storage import messages as messages_module
from config.settings import PROJECT_DIR, Settings

BATCH: Final = 500
"""Messages of one call of ``remember``."""
SAMPLE: Final = 500
"""Messages that the baseline embeds; its time is scaled up."""
MNEME, BASELINE = "mneme: remember and drain", "SentenceTransformer.encode alone"
STAGES: Final = ("commit", "keywords", "read the queue", "embed", "store vectors", "index")


class Stopwatch:
    """Adds up the time of stages, on the clock and of the processor, without what nested stages take."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._nested = threading.local()

    def timed(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``call`` with its time counted to ``stage``."""

        @functools.wraps(call)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            outer = getattr(self._nested, "inner", (0.0, 0.0))
            self._nested.inner = (0.0, 0.0)
            cpu, wall = time.thread_time(), time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                used, passed = time.thread_time() - cpu, time.perf_counter() - wall
                inner = self._nested.inner
                with self._lock:
                    self.wall[stage] += passed - inner[0]
                    self.cpu[stage] += used - inner[1]
                self._nested.inner = (outer[0] + passed, outer[1] + used)

        return wrapper

    @contextmanager
    def watching(self, owner: Any, names: dict[str, str]) -> Iterator[None]:
        """Count the time of an object's methods (or a module's functions) to stages."""
        before = {name: getattr(owner, name) for name in names}
        own = {name for name in names if name in vars(owner)}
        try:
            for name, stage in names.items():
                setattr(owner, name, self.timed(stage, before[name]))
            yield
        finally:
            for name in names:
                if name in own:
                    setattr(owner, name, before[name])
                else:
                    delattr(owner, name)


@asynccontextmanager
async def running(folder: Path, profile: str, channel_count: int = 20) -> AsyncIterator[MemoryService]:
    """Yield a started service on an empty folder with the generated server's channels."""
    # No .env: a benchmark never touches what somebody remembers.
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        database_url=None,
        data_dir=folder,
        models_dir=PROJECT_DIR / "data" / "runtime" / "models",
        profile=profile,
    )
    service = await MemoryService.open(settings)
    try:
        await service.start()
        await service.upsert_guild(chatter.GUILD, "generated")
        await service.upsert_channels(chatter.channels(channel_count))
        yield service
    finally:
        await service.close()


async def _import(messages: int, watch: Stopwatch, say: Callable[[str], None]) -> tuple[float, float]:
    """Import; return the seconds that passed on the clock and of the processor."""
    with tempfile.TemporaryDirectory() as scratch:
        async with running(Path(scratch), "minimal") as service:
            loadout = service.slot.current
            await asyncio.to_thread(loadout.embedder.embed_passages, chatter.texts(20))
            repository = service.repository
            indexes: Any = loadout.indexes
            with (
                watch.watching(messages_module, {"keywords_of": "keywords"}),
                watch.watching(repository.messages, {"save": "commit"}),
                watch.watching(repository.keywords, {"write": "keywords"}),
                watch.watching(repository.vectors, {"pending": "read the queue", "save": "store vectors"}),
                watch.watching(loadout.embedder, {"embed_passages": "embed"}),
                watch.watching(indexes, {"add": "index", "save": "index"}),
            ):
                await asyncio.to_thread(indexes.store, chatter.GUILD)
                source = chatter.messages(messages)
                cpu, started = time.process_time(), time.perf_counter()
                done = 0
                while batch := list(islice(source, BATCH)):
                    done += await service.remember(batch)
                    if done % (20 * BATCH) == 0:
                        say(f"{done:,} of {messages:,} messages committed")
                await service.drain()
                passed, used = time.perf_counter() - started, time.process_time() - cpu
            vectors = await asyncio.to_thread(lambda: len(indexes.store(chatter.GUILD)))
            if (done, vectors) != (messages, messages):
                raise RuntimeError(f"{messages} messages were sent, {done} were committed and {vectors} are indexed")
            return passed, used


def build(path: str, config: Config) -> Run:
    """Return what imports ``config["messages"]`` messages, or embeds a sample as sentence-transformers does."""
    if path == MNEME:
        return lambda: asyncio.run(_import(config["messages"], Stopwatch(), lambda _: None))
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(verified_folder(MINILM)), device="cpu", local_files_only=True)
    texts = [message.content for message in chatter.messages(min(SAMPLE, config["messages"]))]
    return lambda: model.encode(texts, show_progress_bar=False)


def run(messages: int, threads: int, *, memory: bool = True, say: Callable[[str], None] = lambda _: None) -> Bench:
    """Import ``messages`` generated messages into an empty database."""
    bench = Bench("import", {}, machine())
    config: Config = {"messages": messages, "threads": threads}
    baseline = build(BASELINE, config)
    before = _scaled(baseline, messages)
    watch = Stopwatch()
    passed, used = asyncio.run(_import(messages, watch, say))
    after = _scaled(baseline, messages)
    bases = (before[0], after[0])
    base = sum(bases) / 2
    bench.paths[MNEME] = PathFigures(
        passed, (passed, passed), base / passed, (min(bases) / passed, max(bases) / passed)
    )
    bench.paths[MNEME].cpu_ratio = (before[1] + after[1]) / 2 / used
    bench.paths[BASELINE] = PathFigures(base, (min(bases), max(bases)), 1.0, (1.0, 1.0), cpu_ratio=1.0)
    for name, figures in bench.paths.items():
        figures.facts["messages_per_second"] = round(messages / figures.seconds, 1)
        if memory:
            say(f"memory: {name}")
            figures.note_memory(peak_memory(__name__, name, config))
    # With one thread its own processor time tells what a stage costs; with several, only the clock can.
    times = watch.cpu if threads == 1 else watch.wall
    total = sum(times.values())
    bench.facts = {
        "messages": messages,
        "stages": {
            stage: {
                "seconds": round(watch.wall[stage], 3),
                "cpu_seconds": round(watch.cpu[stage], 3),
                "share": round(times[stage] / total, 4),
            }
            for stage in STAGES
        },
    }
    share = times["embed"] / total
    split = ", ".join(f"{stage} {times[stage] / total:.1%}" for stage in STAGES)
    bench.notes = [
        f"{messages:,} generated messages by {BATCH} into an empty SQLite database; all-MiniLM-L6-v2.",
        f"Time by stage ({'processor time' if threads == 1 else 'clock, stages overlap'}): {split}.",
        f"The baseline embeds {min(SAMPLE, messages)} of the messages before and after, and nothing else; its time is "
        "scaled to all of them.",
    ]
    bench.targets = [Target("≥ 80 % of the time in the embedding model", f"{share:.0%}", share >= 0.8)]
    return bench


def _scaled(baseline: Run, messages: int) -> tuple[float, float]:
    cpu, started = time.process_time(), time.perf_counter()
    baseline()
    factor = messages / min(SAMPLE, messages)
    return (time.perf_counter() - started) * factor, (time.process_time() - cpu) * factor
