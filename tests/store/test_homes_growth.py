"""What looking at the homes of choreographed sagas costs: a page, however many there are; and whom it holds up."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from amends.run.effects import upgrade_inbox
from amends.store import effects
from amends.store.effects_postgres import SQL as POSTGRES
from amends.store.postgres_line import connect
from amends.store.postgres_place import SETTINGS, place_of

PAGE = 201
STANDS = {
    "home_list": ("ended", "open", "parked", "unknown-plan"),
    "home_list_open": ("open", "parked", "unknown-plan"),
}
PLANS = {
    "home_list": "amends_home USING PRIMARY KEY (saga<?)",
    "home_list_open": "amends_home USING INDEX amends_home_open (service=? AND saga<?)",
}
FILL = """
INSERT INTO amends_home (saga, service, key, plan, fingerprint, stand, way, seconds, first, history, length, at)
WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
SELECT printf('%032x', n), 'orders', n, 'buy', 'f', CASE WHEN n % 100 = 0 THEN 'parked' ELSE 'ended' END, '{}', 1.0,
    '[]', '[]', 1, 1.0 FROM n
"""
GROW = """
ALTER TABLE amends.home SET (autovacuum_enabled = false);
INSERT INTO amends.home (saga, service, key, plan, fingerprint, stand, way, seconds, first, history, length, at)
SELECT lpad(to_hex(n), 32, '0')::uuid, 'orders', n, 'buy', 'f', CASE WHEN n % 100 = 0 THEN 'parked' ELSE 'ended' END,
    '{}', 1.0, '[]', '[]', 1, 1.0 FROM generate_series(1, 20000) AS n;
"""
PAGES_MAX = 50  # the table has some hundred


def asked(name: str, before: str | None = None) -> str:
    return json.dumps({"service": "orders", "stands": STANDS[name], "plans": None, "before": before})


def steps(connection: sqlite3.Connection, name: str) -> int:
    """The instructions of SQLite's machine that a page takes."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(step, 1)
    try:
        rows = effects.ask(connection, name, (asked(name, f"{2000:032x}"), 11))
    finally:
        connection.set_progress_handler(None, 1)
    assert len(rows) == 11
    return count


@pytest.mark.parametrize("name", sorted(PLANS))
def test_a_page_is_read_along_an_index_and_sorted_by_nobody(name: str, tmp_path: Path) -> None:
    with closing(effects.connect(tmp_path / "orders.db")) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {effects.SQL[name]}", (asked(name), PAGE)).fetchall()
    plan = " | ".join(row[3] for row in rows)

    assert PLANS[name] in plan
    assert not re.search(r"TEMP B-TREE|CORRELATED|SCAN (?!json_each)", plan), plan


@pytest.mark.parametrize("name", sorted(PLANS))
def test_a_page_costs_the_same_however_many_homes_there_are(name: str, tmp_path: Path) -> None:
    def cost(homes: int) -> int:
        with closing(effects.connect(tmp_path / f"{homes}.db")) as connection:
            connection.execute(FILL, (homes,))
            return steps(connection, name)

    assert cost(20_000) <= cost(2_000) * 1.1


def test_whoever_looks_waits_for_nobody_who_writes_and_keeps_nobody_from_it(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    with closing(effects.connect(path)) as reader, closing(effects.connect(path)) as writer:
        writer.execute(FILL, (100,))
        effects.begin(writer)
        writer.execute("UPDATE amends_home SET stand = 'parked'")

        seen = effects.ask(reader, "home_list_open", (asked("home_list_open"), PAGE))

        assert [row[6] for row in seen] == ["100"]
        effects.finish(writer)


def test_a_page_reads_the_same_on_postgresql_however_many_homes_there_are(postgres_url: str) -> None:
    """With a plan that is made for its values, and with one that is kept; without statistics, and with them."""

    async def main() -> dict[str, int]:
        await upgrade_inbox(postgres_url)
        line = await connect(place_of(postgres_url).options(name="looks", settings=SETTINGS), pooled=False)
        found: dict[str, int] = {}
        try:
            await line.execute(GROW)
            for statistics in (False, True):
                if statistics:
                    await line.execute("ANALYZE amends.home")
                for mode in ("force_custom_plan", "force_generic_plan"):
                    await line.execute(f"SET plan_cache_mode = {mode}")
                    for name in PLANS:
                        await line.execute(f"PREPARE look (text, integer) AS {POSTGRES[name]}")
                        look = f"EXECUTE look('{asked(name, str(2000).rjust(32, '0'))}', 11)"
                        plan = await line.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {look}")
                        await line.execute("DEALLOCATE look")
                        top = json.loads(plan)[0]["Plan"]
                        found[f"{name}, {mode}, {statistics}"] = top["Shared Hit Blocks"] + top["Shared Read Blocks"]
        finally:
            await line.close()
        return found

    found = asyncio.run(main())

    assert len(found) == 4 * len(PLANS)
    assert {name: read for name, read in found.items() if read > PAGES_MAX} == {}
