"""A plan that was made while the tables were empty, and is kept, costs no more when they have grown."""

from __future__ import annotations

import asyncio
import json

import pytest

from amends.store.base import WorkerInfo
from amends.store.postgres import PostgresStore
from amends.store.postgres_line import SQL, connect
from amends.store.postgres_place import SETTINGS, place_of

PAGES_MAX = 600  # two or three for each worker; one for each saga would be tens of thousands
GROW = """
INSERT INTO amends.worker (ns, host, pid, plans, started_at, expires_at, retired_at)
SELECT 1, 'host', 1, '{1}', 0, 0, 1 FROM generate_series(1, 200);
INSERT INTO amends.saga (ns, plan, id, key, status, epoch, owner, wake_at, created_at, updated_at, input_hash, stuck)
SELECT 1, 1, gen_random_uuid(), n, CASE WHEN n % 2 = 0 THEN 'running' ELSE 'parked' END, 1, NULL,
       CASE WHEN n % 2 = 0 THEN 1e11 END, 0, 0, '', CASE WHEN n % 2 = 1 THEN 'stuck' END
FROM generate_series(1, 10000) AS n;
"""
LOOKS = {
    "peek": "(1)",
    "claim": "(1, {worker}, '{{1}}', 100)",
    "worker_owners": "(1)",
    "unstall": "(1, '{{1}}', 5000)",
    "mail_owned": "(1, {worker})",
    "mail_answer_ended": "(1, 100)",
    "adopt": "(1, {worker}, 2, 100)",
}
TYPES = {"peek": "int", "claim": "int, bigint, int[], int", "adopt": "int, bigint, bigint, int"}


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.parametrize("kept", [True, False], ids=["kept plan", "new plan"])
def test_a_look_for_work_reads_no_saga_that_sleeps_or_is_parked(name: str, kept: bool, postgres_url: str) -> None:
    """Nor with a plan that is made anew without statistics."""

    async def main() -> int:
        store = PostgresStore(postgres_url, "default", migrate=True)
        await store.open(work=True)
        worker = await store.register(WorkerInfo("host", 1, (1,), 3600.0))
        await store.close()
        line = await connect(place_of(postgres_url).options(name="looks", settings=SETTINGS), pooled=False)
        try:
            await line.execute("ALTER TABLE amends.saga SET (autovacuum_enabled = false)")
            await line.execute(f"SET plan_cache_mode = {'force_generic_plan' if kept else 'force_custom_plan'}")
            types = f"({TYPES[name]})" if name in TYPES else ""
            values = LOOKS[name].format(worker=worker)
            await line.execute(f"PREPARE look{types} AS {SQL[name]}")
            await line.execute(f"EXECUTE look{values}")
            await line.execute(GROW)
            plan = await line.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE look{values}")
            top = json.loads(plan)[0]["Plan"]
            return int(top["Shared Hit Blocks"] + top["Shared Read Blocks"])
        finally:
            await line.close()

    assert asyncio.run(main()) <= PAGES_MAX
