"""A memory killed with SIGKILL at random moments keeps what it acknowledged, and lets go of what was deleted.

``MNEME_CRASH_KILLS=200`` kills it as often as that (about seven minutes); the seed is fixed, the moments depend on
the machine as well.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from tests.reliability import driver
from tests.reliability.ledger import Ledger, Operation

KILLS = int(os.environ.get("MNEME_CRASH_KILLS", "10"))
SEED = int(os.environ.get("MNEME_CRASH_SEED", "5"))
# What is looked for in the raw bytes: so many of the texts that went last (all of them would take the day).
LOOKED_FOR = 150


class Life:
    """One process with a memory in it, and what it says through its pipe."""

    def __init__(self, context: Any, folder: Path, seed: int, first: int, expected: dict[int, str] | None) -> None:
        self._connection: Connection
        self._connection, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=driver.live, args=(theirs, folder, seed, first, expected), daemon=True)
        self._process.start()
        theirs.close()

    def report(self) -> driver.Report | None:
        """Wait until it runs, and return what it found."""
        assert self._connection.poll(60), "the memory did not come up within a minute"
        report: driver.Report | None = self._connection.recv()
        return report

    def watch(self, ledger: Ledger, seconds: float) -> None:
        """Write down what it does for a while."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._connection.poll(left):
                _note(ledger, self._connection.recv())

    def kill(self, ledger: Ledger) -> None:
        """Kill it, and hear what it still said before."""
        assert self._process.is_alive(), "the memory ended by itself; its error stands above"
        self._process.kill()
        self._process.join()
        for said in self._rest():
            _note(ledger, said)
        ledger.crashed()

    def _rest(self) -> Iterator[Any]:
        while True:
            try:
                yield self._connection.recv()
            except (EOFError, OSError):
                self._connection.close()
                return


def _note(ledger: Ledger, said: Any) -> None:
    if isinstance(said, Operation):
        ledger.began(said)
    elif isinstance(said, int):
        ledger.ended(said)


def _traces(folder: Path, texts: list[str]) -> list[str]:
    """Return the files that hold a rare word, or its end (the keyword index shares beginnings), of any text."""
    words = [text.split()[0][-9:].encode() for text in texts]
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            found += [f"{path.name} holds {word!r}" for word in words if word in data]
    return found


@pytest.mark.timeout(60 + 10 * KILLS)
def test_whatever_was_acknowledged_survives_a_kill_and_whatever_was_deleted_stays_gone(tmp_path: Path) -> None:
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "tests.reliability.driver"])
    rng = random.Random(SEED)
    ledger, kills, folder, problems = Ledger(), 0, tmp_path / "memory", list[str]()
    while kills < KILLS:
        if rng.random() < 0.25:
            # While it starts: it migrates a new database, reads the snapshot, levels the index.
            fresh = folder if rng.random() < 0.5 else tmp_path / f"fresh-{kills}"
            early = Life(context, fresh, rng.randrange(10**6), 10_000 * kills, None)
            time.sleep(rng.random() * 0.7)
            early.kill(ledger if fresh == folder else Ledger())
            kills += 1
            _comes_up(context, fresh) if fresh != folder else None
        before = ledger.present()
        life = Life(context, folder, rng.randrange(10**6), 10_000 * kills, before)
        report = life.report()
        assert report is not None
        wrong = ledger.settle(report.stored) + report.problems
        problems += [f"after kill {kills}: {what}" for what in wrong]
        problems += [f"after kill {kills}: {what}" for what in _traces(folder, ledger.gone_texts()[:LOOKED_FOR])]
        assert not problems, "\n".join(problems)
        life.watch(ledger, rng.random() * 1.5)
        life.kill(ledger)
        kills += 1
    assert ledger.acknowledged > KILLS * 5, "the stream hardly ran, so nothing was tried"


def _comes_up(context: Any, folder: Path) -> None:
    """A memory that was killed while its database was made begins as if nothing had been."""
    life = Life(context, folder, 0, 0, {})
    report = life.report()
    assert report is not None
    assert report.problems == []
    life.kill(Ledger())
