"""The full-text index keeps no piece of a forgotten word, and finds the living ones as before."""

from __future__ import annotations

import random
from pathlib import Path

from cogs.memory.records import Filters, Scope
from cogs.memory.storage.repository import Repository
from cogs.memory.storage.verify import verify_stores
from tests.memory.building import ANNA, BEN, GENERAL, GUILD, message

NUMBERS, PIECE = 1_500, 8


def test_no_piece_of_a_forgotten_number_is_left_in_the_file(tmp_path: Path) -> None:
    rng = random.Random(3)
    # Numbers that begin alike: then the index's directory holds more of them than where the first letters differ.
    numbers = ["4915" + str(rng.randrange(10**7, 10**8)) for _ in range(2 * NUMBERS)]
    forgotten, kept = numbers[:NUMBERS], numbers[NUMBERS:]
    pairs = zip(forgotten, kept, strict=True)
    chat = [
        each
        for i, (gone, stays) in enumerate(pairs)
        for each in (message(2 * i, f"call {gone}", ANNA), message(2 * i + 1, f"call {stays} café", BEN))
    ]
    repository = Repository.open(f"sqlite:///{tmp_path / 'mneme.db'}", tmp_path)
    for start in range(0, len(chat), 100):
        repository.messages.save(chat[start : start + 100])
    ids = repository.messages.ids_where(GUILD, author_id=ANNA)
    for start in range(0, len(ids), 400):
        repository.messages.delete(GUILD, ids[start : start + 400], lambda _: None)
    assert repository.erase_traces()

    with repository.database.writing() as db:
        db.exec_driver_sql("INSERT INTO keywords(keywords) VALUES('integrity-check')")
    assert verify_stores(repository).agrees
    scope = Scope.of(GUILD, [GENERAL])
    assert all(repository.keywords.candidates([number], scope, Filters(), 5) for number in kept)
    assert not any(repository.keywords.candidates([number], scope, Filters(), 5) for number in forgotten)
    repository.messages.save([message(9_000, f"call {forgotten[0]} again", BEN)])
    assert repository.keywords.candidates([forgotten[0]], scope, Filters(), 5)
    repository.messages.delete(GUILD, [message(9_000, "").id], lambda _: None)
    assert repository.erase_traces()
    repository.close()

    file = (tmp_path / "mneme.db").read_bytes()
    living = {number[i : i + PIECE] for number in kept for i in range(len(number) - PIECE + 1)}
    pieces = {number[i : i + PIECE] for number in forgotten for i in range(len(number) - PIECE + 1)} - living
    assert [piece for piece in pieces if piece.encode() in file] == []
