"""Verbs that look at sagas, given a database where none are: they say so, and leave it as it was."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest
from shop_floor import Floor

READING = (
    ("list",),
    ("show", "order-1"),
    ("stuck",),
    ("graph", "--id=order-1"),
    ("prune", "--older-than=1d", "--dry-run"),
)
ACTING = (
    ("retry", "order-1", "pay", "--reason=again"),
    ("cancel", "order-1", "--reason=no"),
    ("signal", "order-1", "approval", "{}"),
    ("prune", "--older-than=1d"),
    ("db", "rotate-token-key"),
)
SERVICE = """
import sqlite3
from amends import Participant, Service

inventory = Service("inventory")
count = inventory.command("count", str, reply=int, readonly=True)
app = Participant(inventory, database="sqlite:///theirs.db")

@app.handles(count)
def counted(sku: str, tx: sqlite3.Connection) -> int:
    return 3
"""


def theirs(directory: Path) -> Path:
    """A database of somebody else's."""
    path = directory / "theirs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE money (cents INTEGER)")
        connection.commit()
    return path


def prints(directory: Path) -> dict[str, str]:
    """Every file of a database, with what is in it."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.glob("theirs.db*")}


@pytest.mark.parametrize("verb", [*READING, *ACTING], ids=" ".join)
def test_a_file_without_sagas_is_told_as_that_and_left_as_it_was(floor: Floor, verb: tuple[str, ...]) -> None:
    theirs(floor.directory)
    before = prints(floor.directory)

    result = floor.amends(*verb, "--database=sqlite:///theirs.db")

    assert result.code == 7, result
    assert "theirs.db has no tables of amends for sagas" in result.err
    assert prints(floor.directory) == before


def test_an_empty_file_is_left_empty(floor: Floor) -> None:
    (floor.directory / "theirs.db").touch()

    result = floor.amends("list", "--database=sqlite:///theirs.db")

    assert result.code == 7
    assert (floor.directory / "theirs.db").stat().st_size == 0


def test_the_doctor_finds_that_no_sagas_are_there_and_makes_room_for_none(floor: Floor) -> None:
    theirs(floor.directory)
    before = prints(floor.directory)

    result = floor.amends("doctor", "--database=sqlite:///theirs.db", "--json")

    assert result.code == 11
    assert "has no tables of amends for sagas" in result.data["findings"][0]["detail"]
    assert prints(floor.directory) == before


def test_the_database_of_a_service_is_told_as_that(floor: Floor) -> None:
    (floor.directory / "service.py").write_text(SERVICE)
    floor.ok("db", "upgrade", "--app=service:app")
    before = prints(floor.directory)

    result = floor.amends("list", "--database=sqlite:///theirs.db")

    assert result.code == 7
    assert "inbox of a service" in result.err
    assert "amends outbox status" in result.err
    assert prints(floor.directory) == before


def test_a_file_of_older_code_is_upgraded_when_somebody_says_so(floor: Floor) -> None:
    floor.ok("db", "upgrade", "--database=sqlite:///theirs.db")
    with closing(sqlite3.connect("theirs.db")) as connection:
        connection.execute("UPDATE amends_schema SET version = 1")
        connection.commit()
    before = prints(floor.directory)

    result = floor.amends("list", "--database=sqlite:///theirs.db")

    assert result.code == 7
    assert "schema 1" in result.err
    assert "run `amends db upgrade`" in result.err
    assert prints(floor.directory) == before


def test_the_plans_of_the_code_at_hand_are_not_written_by_looking(floor: Floor) -> None:
    floor.ok("db", "upgrade", "--database=sqlite:///theirs.db")

    floor.ok("list", "--app=shop:orchestrator", "--database=sqlite:///theirs.db")

    with closing(sqlite3.connect("theirs.db")) as connection:
        assert connection.execute("SELECT count(*) FROM amends_plan").fetchone() == (0,)


def test_a_server_is_not_migrated_by_looking_whatever_the_app_says(floor: Floor, postgres_url: str) -> None:
    (floor.directory / "there.py").write_text(
        "from amends import Orchestrator\n"
        "from shop import place_order\n"
        f"orchestrator = Orchestrator({postgres_url!r}, sagas=[place_order], migrate=True)\n"
    )

    results = [floor.amends(*verb, "--app=there:orchestrator") for verb in (("list",), ("stuck",), ("doctor",))]

    assert [result.code for result in results] == [7, 7, 11]
    assert all("no tables of amends" in result.out + result.err for result in results)
    assert asyncio.run(_schemas(postgres_url)) == []


async def _schemas(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'amends%'")
        return [str(row[0]) for row in rows]
    finally:
        await connection.close()
