"""The sandbox on a SQLite file: transactions of steps and of the test's own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from amends import Completed, Saga, step
from amends.errors import DefinitionError, NotEnlisted
from amends.testing import NewSandbox


@dataclass(frozen=True)
class Note:
    text: str
    seconds: float = 0.0


@step
async def write(note: Note, tx: sqlite3.Connection) -> str:
    tx.execute("INSERT INTO note VALUES (?)", (note.text,))
    await asyncio.sleep(note.seconds)
    return note.text


@write.compensation
async def erase(note: Note, tx: sqlite3.Connection) -> None:
    tx.execute("DELETE FROM note WHERE text = ?", (note.text,))


keep = Saga("keep", write, input=Note, output=write)


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "notes.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE note (text TEXT)")
        yield connection


def texts(notes: sqlite3.Connection) -> list[str]:
    return [text for (text,) in notes.execute("SELECT text FROM note").fetchall()]


def test_a_step_with_a_transaction_needs_a_file(amends: NewSandbox) -> None:
    with pytest.raises(DefinitionError, match=r"step write: .*database=tmp_path"):
        amends([keep])


def test_what_a_step_writes_is_there_once(amends: NewSandbox, notes: sqlite3.Connection, tmp_path: Path) -> None:
    app = amends([keep], database=tmp_path / "notes.db")

    assert app.run(keep, Note("hello")) == Completed("hello")
    assert texts(notes) == ["hello"]


def test_a_transaction_that_dies_with_its_worker_is_rolled_back(
    amends: NewSandbox, notes: sqlite3.Connection, tmp_path: Path
) -> None:
    app = amends([keep], database=tmp_path / "notes.db")
    note = app.start(keep, Note("hello", seconds=2))
    app.advance(seconds=1)

    app.kill_worker()
    assert texts(notes) == []

    assert note.outcome() == Completed("hello")
    assert texts(notes) == ["hello"]


def test_other_sagas_wait_while_a_step_holds_the_file(
    amends: NewSandbox, notes: sqlite3.Connection, tmp_path: Path
) -> None:
    app = amends([keep], database=tmp_path / "notes.db")
    bank = [app.start(keep, Note("slow", seconds=3), id="slow"), app.start(keep, Note("quick"), id="quick")]

    assert [note.outcome() for note in bank] == [Completed("slow"), Completed("quick")]
    assert sorted(texts(notes)) == ["quick", "slow"]


def test_a_transaction_that_the_test_leaves_open_is_told_and_not_waited_for(
    amends: NewSandbox, notes: sqlite3.Connection, tmp_path: Path
) -> None:
    app = amends([keep], database=tmp_path / "notes.db")
    notes.execute("BEGIN IMMEDIATE")
    note = app.start(keep, Note("hello"), id="one", within=notes)
    notes.execute("COMMIT")
    notes.execute("BEGIN IMMEDIATE")

    with pytest.raises(AssertionError, match="nothing can be written"):
        note.outcome()

    notes.execute("ROLLBACK")
    assert note.outcome() == Completed("hello")


def test_memory_takes_part_in_no_transaction(amends: NewSandbox, notes: sqlite3.Connection) -> None:
    @step(readonly=True)
    async def look(note: Note) -> None:
        return None

    saga = Saga("look", look, input=Note)
    app = amends([saga])
    notes.execute("BEGIN IMMEDIATE")

    with pytest.raises(NotEnlisted):
        app.start(saga, Note("hello"), within=notes)
    notes.execute("ROLLBACK")
