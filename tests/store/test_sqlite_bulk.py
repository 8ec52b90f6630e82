"""What bulk operations cost in a SQLite file: what every worker asks now and then reads no row of those that ended."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from amends.store import sqlite_file
from amends.store.bulk_sqlite import SQL

FOUND_BY = {
    "bulk_free": "amends_bulk USING INDEX amends_bulk_held (ns=?)",
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
