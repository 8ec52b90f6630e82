"""Opening a SQLite file: migrations, other people's files, and places where no file can be."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from store_child import Child

from amends.errors import SchemaMismatch, StoreDamaged, StoreError, StoreUnavailable
from amends.store import sqlite_file
from amends.store.base import Filter
from amends.store.sqlite import SqliteStore
from amends.store.sqlite_lock import WorkerLock

NOBODY = 65534


async def opened(path: Path, *, work: bool = True) -> SqliteStore:
    store = SqliteStore(path, "default")
    await store.open(work=work)
    return store


def try_to_open(path: Path, *, work: bool = True) -> None:
    """Open and close."""

    async def run() -> None:
        await (await opened(path, work=work)).close()

    asyncio.run(run())


def refusal(path: Path, error: type[StoreError], *, work: bool = True) -> str:
    """What the file's opening is refused with."""
    with pytest.raises(error) as caught:
        try_to_open(path, work=work)
    return str(caught.value)


# Migrations


def test_eight_processes_that_open_an_empty_file_at_once_all_come_up(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"

    children = [Child("open", path, "work" if number == 0 else "client") for number in range(8)]
    said = [child.line() for child in children]
    for child in children:
        child.tell()
    ends = [child.end() for child in children]

    assert [line.split()[0] for line in said] == ["open"] * 8, said
    assert ends == [0] * 8


def test_eight_clients_that_open_an_empty_file_at_once_all_come_up(tmp_path: Path) -> None:
    children = [Child("open", tmp_path / "orders.db", "client") for _ in range(8)]
    said = [child.line() for child in children]
    for child in children:
        child.tell()

    assert said == ["open 0"] * 8
    assert [child.end() for child in children] == [0] * 8


def test_a_migration_killed_at_any_statement_is_done_by_the_next_opening(tmp_path: Path) -> None:
    child = Child("kill-at-statements", tmp_path / "orders.db")

    said = child.line()

    assert child.end() == 0
    assert said.startswith("came through")
    assert int(said.split()[-1]) > 15  # it was killed at every one of them


def test_a_second_opening_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    try_to_open(path, work=False)
    before = path.read_bytes()

    try_to_open(path, work=False)

    assert path.read_bytes() == before


def set_schema(path: Path, version: int, floor: int) -> None:
    try_to_open(path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE amends_schema SET version = ?, floor = ?", (version, floor))
    connection.commit()
    connection.close()


@pytest.mark.parametrize("work", [True, False])
def test_a_file_that_a_newer_schema_has_closed_to_this_code_is_refused(tmp_path: Path, work: bool) -> None:
    path = tmp_path / "orders.db"
    set_schema(path, 7, 6)

    words = refusal(path, SchemaMismatch, work=work)

    assert str(path) in words
    assert "pip install --upgrade amends" in words
    assert "schema 7" in words


def test_a_newer_schema_that_still_admits_this_code_is_used(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    set_schema(path, 7, sqlite_file.CODE_VERSION)

    try_to_open(path)

    connection = sqlite3.connect(path)
    assert connection.execute("SELECT version, floor FROM amends_schema").fetchall() == [(7, sqlite_file.CODE_VERSION)]
    connection.close()


# Other people's files


def test_amends_moves_into_a_file_with_tables_of_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    connection = sqlite3.connect(path)
    for table in ("schema", "saga", "journal", "worker", "plan", "mail", "namespace"):
        connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute(f"INSERT INTO {table} (name) VALUES ('mine')")  # noqa: S608  # names of this test
    connection.commit()

    try_to_open(path)

    assert connection.execute("SELECT name FROM saga").fetchall() == [("mine",)]
    connection.close()


def test_a_file_whose_schema_row_was_lost_is_not_migrated_again(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    try_to_open(path)
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE amends_schema")
    connection.close()

    assert "restore it from a backup" in refusal(path, SchemaMismatch)


def test_a_table_that_was_dropped_is_named(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"

    async def run() -> str:
        store = await opened(path)
        try:
            other = sqlite3.connect(path)
            other.execute("DROP TABLE amends_saga")
            other.close()
            with pytest.raises(SchemaMismatch) as caught:
                await store.find(Filter())
            return str(caught.value)
        finally:
            await store.close()

    words = asyncio.run(run())
    assert "amends_saga" in words
    assert str(path) in words


# Damaged files


def some_database(path: Path) -> int:
    """A file with a few hundred pages; gives its size."""

    async def run() -> None:
        store = await opened(path)
        await store.add_plans([(f"fingerprint-{number}", "order", "x" * 5000) for number in range(300)])
        await store.close()

    asyncio.run(run())
    return path.stat().st_size


@pytest.mark.parametrize("work", [True, False])
@pytest.mark.parametrize("damage", ["zeroed header", "text", "flipped header"])
def test_a_file_that_is_no_database_any_more_is_refused(tmp_path: Path, damage: str, work: bool) -> None:
    path = tmp_path / "orders.db"
    some_database(path)
    with path.open("r+b") as file:
        match damage:
            case "zeroed header":
                file.write(bytes(100))
            case "text":
                file.write(b"Dear reader, this is a letter, not a database at all. " * 20)
            case "flipped header":
                file.seek(16)
                file.write(b"\xff\xff\xff\xff")

    words = refusal(path, StoreDamaged, work=work)

    assert str(path) in words
    assert "backup" in words


def test_a_truncated_file_is_refused_or_found_by_doctor(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    size = some_database(path)
    os.truncate(path, size // 2)

    words = refusal(path, StoreDamaged)

    assert str(path) in words


def test_doctor_finds_a_page_that_was_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    size = some_database(path)
    with path.open("r+b") as file:
        for page in range(size // 4096 // 2, size // 4096 // 2 + 20):
            file.seek(page * 4096)
            file.write(os.urandom(64))

    async def run() -> list[str]:
        store = await opened(path)
        lines = [line.detail for line in await store.check() if line.level == "error"]
        await store.close()
        return lines

    found = asyncio.run(run())
    assert len(found) == 1
    assert str(path) in found[0]
    assert "damaged" in found[0]


# Places


@pytest.mark.parametrize("work", [True, False])
def test_a_missing_directory_is_named(tmp_path: Path, work: bool) -> None:
    words = refusal(tmp_path / "nowhere" / "orders.db", StoreUnavailable, work=work)

    assert f"no directory {tmp_path / 'nowhere'}" in words


@pytest.mark.parametrize("work", [True, False])
def test_a_directory_in_place_of_the_file_is_named(tmp_path: Path, work: bool) -> None:
    (tmp_path / "orders.db").mkdir()

    assert "is a directory" in refusal(tmp_path / "orders.db", StoreUnavailable, work=work)


def as_nobody(path: Path, kind: str) -> str:
    """What a process without rights is told; this one may be root's, whom nothing stops."""
    code = f"""
        import asyncio, os, pathlib
        from amends.errors import AmendsError
        from amends.store.sqlite import SqliteStore

        if os.getuid() == 0:
            os.setgid({NOBODY})
            os.setuid({NOBODY})
        store = SqliteStore(pathlib.Path({str(path)!r}), "default")
        try:
            asyncio.run(store.open(work={kind == "work"}))
        except AmendsError as error:
            print(type(error).__name__, error)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    return run.stdout


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory that everybody can reach."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == Path.home().owner() and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o055)
    return tmp_path


@pytest.mark.parametrize("kind", ["work", "client"])
def test_a_read_only_directory_is_named(place: Path, kind: str) -> None:
    try_to_open(place / "orders.db")
    (place / "orders.db").chmod(0o666)
    place.chmod(0o555)

    said = as_nobody(place / "orders.db", kind)

    assert said.startswith(f"StoreUnavailable {place} cannot be written by this user"), said


@pytest.mark.parametrize("kind", ["work", "client"])
def test_a_read_only_file_is_named(place: Path, kind: str) -> None:
    try_to_open(place / "orders.db")
    (place / "orders.db").chmod(0o444)
    place.chmod(0o777)

    said = as_nobody(place / "orders.db", kind)

    assert said.startswith(f"StoreUnavailable {place / 'orders.db'} cannot be written by this user"), said


def test_a_lock_file_of_another_user_is_named(place: Path) -> None:
    try_to_open(place / "orders.db")
    (place / "orders.db").chmod(0o666)
    (place / "orders.db-worker").chmod(0o600)
    place.chmod(0o777)
    if os.getuid() != 0:
        pytest.skip("needs a file of another user")

    assert "orders.db-worker cannot be made" in as_nobody(place / "orders.db", "work")


def test_a_library_that_is_too_old_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 30, 1))

    with pytest.raises(StoreUnavailable, match=r"3\.31 or later"):
        sqlite_file.connect(tmp_path / "orders.db", WorkerLock(tmp_path / "orders.db"), work=False)
