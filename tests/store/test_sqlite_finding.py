"""What looking for sagas costs in a SQLite file: what is found, or a stretch, however many have ended.

Cost is counted in instructions of SQLite's virtual machine: they do not depend on the machine.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from store_child import number_of
from test_sqlite_growth import cost, filled

from amends.store import sqlite_file
from amends.store.finding import Finder, Wanted
from amends.store.finding_sqlite import SQL
from amends.store.sqlite import SqliteStore

OPEN = ("running", "compensating", "parked")
FEW, MANY, LOOK = 300, 6_000, 200
WRONG = "amends_saga_wrong (ns=? AND fingerprint"
PLANS = {
    "search_all": "amends_saga USING PRIMARY KEY (ns=? AND id>? AND id<?)",
    "end_of_all": "amends_saga USING PRIMARY KEY (ns=? AND id>? AND id<?)",
    "search_open": "COVERING INDEX amends_saga_open (ns=?)",
    "end_of_open": "COVERING INDEX amends_saga_open (ns=?)",
    "search_trouble": "amends_saga_trouble (ns=? AND id>? AND id<?)",
    "search_wrong": f"{WRONG}>?)",
    "search_fingerprint": f"{WRONG}=?",
    "groups": f"COVERING INDEX {WRONG}>?)",
    "groups_narrow": f"{WRONG}>?)",
    "head_by_id": "amends_saga USING PRIMARY KEY (ns=? AND id=?)",
    "beginning": "amends_journal USING PRIMARY KEY (ns=? AND saga=? AND seq=?)",
    "ended_per_minute": "COVERING INDEX amends_saga_ended (ns=? AND updated_at>?)",
    "started_per_minute": "amends_saga USING PRIMARY KEY (ns=? AND id>?)",
    "parked_per_minute": f"COVERING INDEX {WRONG}>?)",
    "troubled": "amends_saga_trouble (ns=?)",
    "due_since": "COVERING INDEX amends_saga_open (ns=? AND owner=? AND wake_at<?)",
    "owned_by_each": "COVERING INDEX amends_saga_open (ns=? AND owner>?)",
}
# What depends on what is open alone, and what depends on how far is looked.
BY_WHAT_IS_OPEN: dict[str, Callable[[Finder], Awaitable[object]]] = {
    "open": lambda finder: finder.search(Wanted(OPEN), LOOK),
    "open, narrow": lambda finder: finder.search(Wanted(OPEN, assigned="ada", prefix="s1"), LOOK),
    "trouble": lambda finder: finder.search(Wanted(OPEN, trouble=True), LOOK),
    "wrong": lambda finder: finder.search(Wanted(OPEN, steps=("ship",)), LOOK),
    "fingerprint": lambda finder: finder.search(Wanted(OPEN, fingerprints=("f1",)), LOOK),
    "groups": lambda finder: finder.groups(Wanted(), 20),
    "groups, narrow": lambda finder: finder.groups(Wanted(steps=("ship",)), 20),
    "parked": lambda finder: finder.parked_per_minute(0.0, LOOK),
    "troubled": lambda finder: finder.troubled(),
    "due": lambda finder: finder.due(5e9, LOOK),
    "owned": lambda finder: finder.owned_by(),
    "heads": lambda finder: finder.heads([number_of(1)]),
    "beginnings": lambda finder: finder.beginnings([number_of(1)]),
}
BY_THE_STRETCH: dict[str, Callable[[Finder], Awaitable[object]]] = {
    "all": lambda finder: finder.search(Wanted(), LOOK),
    "all, none fits": lambda finder: finder.search(Wanted(assigned="ada"), LOOK),
    "ended, none fits": lambda finder: finder.search(Wanted(("compensated",), steps=("ship",)), LOOK),
    "ended": lambda finder: finder.ended_per_minute(0.0, LOOK),
    "started": lambda finder: finder.started_per_minute(0.0, LOOK),
}


@pytest.mark.parametrize("name", sorted(SQL))
def test_a_look_finds_its_rows_by_an_index(name: str) -> None:
    statement = SQL[name]
    numbered = [int(number) for number in re.findall(r"\?(\d+)", statement)]
    values = (None,) * (max(numbered) if numbered else statement.count("?"))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        sqlite_file.migrate(connection, Path("memory"))
        plan = " | ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values))

    assert PLANS[name] in plan
    assert not re.search(r"SCAN (?!json_each|CONSTANT|\(subquery)", plan), plan


def test_a_look_costs_what_is_open_or_a_stretch_however_many_have_ended(tmp_path: Path) -> None:
    async def costs(ended: int) -> dict[str, int]:
        store, _ = await filled(tmp_path / f"{ended}.db", waiting=20, ended=ended)
        await go_wrong(store)
        try:
            looks = {**BY_WHAT_IS_OPEN, **BY_THE_STRETCH}
            return {name: await cost(store, partial(look, store.finder)) for name, look in looks.items()}
        finally:
            await store.close()

    few, many = asyncio.run(costs(FEW)), asyncio.run(costs(MANY))

    grown = {name: (few[name], many[name]) for name in few if many[name] > few[name] * 1.1 + 100}
    assert grown == {}


async def go_wrong(store: SqliteStore) -> None:
    """Have some of those that are open be in trouble."""
    await store._thread.run(
        lambda connection: connection.execute(
            "UPDATE amends_saga SET status = 'parked', stuck = 'no', fingerprint = 'f1', step = 'ship' "
            "WHERE status = 'running' AND length(key) = 2"
        )
    )
