"""What looking for sagas reads on PostgreSQL: what is found, or a stretch, however many have ended."""

from __future__ import annotations

import asyncio
import json

from amends.store.postgres import PostgresStore
from amends.store.postgres_line import SQL, Connection, connect
from amends.store.postgres_place import SETTINGS, place_of

PAGES_MAX = 150  # the table has some hundred pages
GROW = """
ALTER TABLE amends.saga SET (autovacuum_enabled = false);
INSERT INTO amends.saga
    (ns, plan, id, key, status, epoch, owner, wake_at, created_at, updated_at, input_hash, stuck, fingerprint, step)
SELECT 1, 1, lpad(to_hex(n), 32, '0')::uuid, n, CASE WHEN open THEN 'parked' ELSE 'completed' END, 1, NULL,
       NULL, n, n, 'a hash of an input', CASE WHEN open THEN 'no' END, CASE WHEN open THEN 'f1' END,
       CASE WHEN open THEN 'ship' END
FROM (SELECT n, n % 1000 = 0 AS open FROM generate_series(1, 20000) AS n) AS n;
"""
ZERO, LAST = f"'{'0' * 32}'", f"'{'f' * 32}'"
NOTHING = "NULL, NULL, NULL, NULL, NULL, NULL, false, NULL, NULL, NULL"  # narrows nothing: $4 to $13
SEARCH = f"(1, {LAST}, {ZERO}, {{}}, 50)"
SEARCH_TYPES = "int, uuid, uuid, text[], int[], text[], text[], text, text, boolean, float8, float8, float8, bigint"
LOOKS = {
    "search_all": (SEARCH_TYPES, SEARCH.format(NOTHING)),
    "search_open": (SEARCH_TYPES, SEARCH.format(NOTHING)),
    "search_trouble": (SEARCH_TYPES, SEARCH.format(NOTHING)),
    "search_wrong": (SEARCH_TYPES, SEARCH.format(NOTHING.replace("NULL, NULL", "NULL, '{1}'", 1))),
    "groups": (SEARCH_TYPES, SEARCH.format(NOTHING)),
    "end_of_all": ("int, uuid, uuid, int", f"(1, {LAST}, {ZERO}, 200)"),
    "heads_by_id": ("int, uuid[]", f"(1, ARRAY[{ZERO}::uuid])"),
    "beginnings": ("int, uuid[]", f"(1, ARRAY[{ZERO}::uuid])"),
    "ended_per_minute": ("int, float8, bigint", "(1, 0, 200)"),
    "started_per_minute": ("int, float8, bigint, uuid", f"(1, 0, 200, {ZERO})"),
    "parked_per_minute": ("int, float8, bigint", "(1, 0, 200)"),
    "troubled": ("int", "(1)"),
    "due_since": ("int, float8, bigint", "(1, 1e11, 200)"),
    "owned_by_each": ("int", "(1)"),
    "prune": ("int, uuid[], float8", f"(1, ARRAY[{ZERO}::uuid], 1e11)"),
}


def test_a_look_reads_what_is_open_or_a_stretch_however_many_have_ended(postgres_url: str) -> None:
    """With a plan that is made for its values, and with one that is kept; without statistics, and with them."""

    async def main() -> dict[str, int]:
        store = PostgresStore(postgres_url, "default", migrate=True)
        await store.open(work=True)
        await store.close()
        line = await connect(place_of(postgres_url).options(name="looks", settings=SETTINGS), pooled=False)
        found: dict[str, int] = {}
        try:
            await line.execute(GROW)
            for statistics in (False, True):
                if statistics:
                    await line.execute("ANALYZE amends.saga")
                for mode in ("force_custom_plan", "force_generic_plan"):
                    await line.execute(f"SET plan_cache_mode = {mode}")
                    for name in LOOKS:
                        found[f"{name}, {mode}, {statistics}"] = await pages(line, name)
        finally:
            await line.close()
        return found

    found = asyncio.run(main())

    assert len(found) == 4 * len(LOOKS)
    assert {name: read for name, read in found.items() if read > PAGES_MAX} == {}


async def pages(line: Connection, name: str) -> int:
    """How many pages a statement reads."""
    types, values = LOOKS[name]
    await line.execute(f"PREPARE look ({types}) AS {SQL[name]}")
    plan = await line.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE look{values}")
    await line.execute("DEALLOCATE look")
    top = json.loads(plan)[0]["Plan"]
    return int(top["Shared Hit Blocks"] + top["Shared Read Blocks"])
