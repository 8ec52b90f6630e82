"""What bulk operations cost in a SQLite file: what every worker asks now and then reads no row of those that ended, and
what is forgotten holds nobody up for long."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from amends.store import bulk_sqlite, sqlite_file
from amends.store.bulk import NewBulk, NewTarget
from amends.store.bulk_sqlite import SQL, Job, SqliteBulks
from amends.store.sqlite import SqliteStore

FOUND_BY = {
    "bulk_free": "amends_bulk USING INDEX amends_bulk_held (ns=?)",
    "bulk_free_one": "amends_bulk USING INDEX sqlite_autoindex_amends_bulk_1 (ns=? AND key=?)",
    "bulk_left": "amends_bulk USING INDEX amends_bulk_had (ns=?)",
    "bulk_forget_targets": "amends_bulk_target USING PRIMARY KEY (bulk=? AND n>? AND n<?)",
    "bulk_targets": "amends_bulk_target USING PRIMARY KEY (bulk=? AND n>?)",
    "bulk_record": "amends_bulk_target USING PRIMARY KEY (bulk=? AND n=?)",
    "bulk_log": "amends_bulk_log USING PRIMARY KEY (bulk=?)",
    "bulk_count": "amends_bulk USING INDEX sqlite_autoindex_amends_bulk_1 (ns=? AND key=?)",
}


@pytest.mark.parametrize("name", FOUND_BY)
def test_a_statement_of_bulk_operations_finds_its_rows_by_an_index(name: str) -> None:
    statement = SQL[name]
    numbered = [int(number) for number in re.findall(r"\?(\d+)", statement)]
    values = (None,) * (max(numbered) if numbered else statement.count("?"))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        sqlite_file.migrate(connection, Path("memory"))
        plan = " | ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values))

    assert FOUND_BY[name] in plan
    assert not re.search(r"SCAN (?!json_each|CONSTANT)|TEMP B-TREE", plan), plan


def test_one_with_very_many_targets_is_forgotten_a_stretch_at_a_time_and_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_sqlite, "FORGET_ROWS", 10)
    changed: list[int] = []

    async def main() -> None:
        store = SqliteStore(tmp_path / "one.db", "default")
        await store.open(work=False)
        bulks = cast(SqliteBulks, store.bulks)
        write = bulks._write

        async def counted(job: Job) -> object:
            def with_a_count(connection: sqlite3.Connection) -> object:
                before = connection.total_changes
                given = job(connection)
                changed.append(connection.total_changes - before)
                return given

            return await write(with_a_count)

        await bulks.add(NewBulk("one", "counting", b"{}", b"{}"), "starter", 60)
        await bulks.fill("one", "counting", "starter", [NewTarget(n, f"s{n}", 1) for n in range(1, 36)], 60)
        await bulks.move("one", 1, "cancelled", b"{}")
        monkeypatch.setattr(bulks, "_write", counted)

        assert await bulks.forget(("cancelled",), store.now() + 60, 1) == 1
        await store.close()

    asyncio.run(main())

    assert changed == [10, 10, 10, 5, 3]  # the row itself, and the two lines of its log, go last
    with closing(sqlite3.connect(tmp_path / "one.db")) as connection:
        left = "SELECT (SELECT count(*) FROM amends_bulk_target), (SELECT count(*) FROM amends_bulk_log)"
        assert connection.execute(left).fetchone() == (0, 0)
