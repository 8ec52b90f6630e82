"""A worker dies with many sagas in its hands: the others take all of them over, and none twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import psycopg
from little import Order, calls, lingering_saga
from postgres_worker import shop
from processes import HERE, process, wait_for

SAGAS = 500
ADOPTED = """
SELECT count(*), count(DISTINCT saga) FROM amends.journal
WHERE jsonb_path_exists(row::jsonb, '$[2][*] ? (@[0] == "adopted")')
"""
GONE_BACK = "SELECT count(*) FROM amends.saga WHERE status = 'compensated'"
WORKER = str(HERE / "postgres_worker.py")


def _row(url: str, statement: str) -> tuple[int, ...]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchone() or ()


async def _start(url: str) -> None:
    orchestrator = shop(url)
    async with orchestrator.client():
        starts = (orchestrator.start(lingering_saga, Order(), id=f"saga-{number}") for number in range(SAGAS))
        await asyncio.gather(*starts)


def test_after_a_kill_five_hundred_sagas_in_flight_are_all_taken_over_by_two_workers_and_none_twice(
    postgres_url: str, tmp_path: Path
) -> None:
    book = tmp_path / "book"
    given = {"LITTLE_URL": postgres_url, "LITTLE_LEASE": "2"}
    with process(WORKER, database=book, **given) as dying:
        dying.until("ready")
        asyncio.run(_start(postgres_url))
        wait_for(lambda: sum(call.step == "linger" for call in calls(book)) == SAGAS, "all are in its hands")

        with process(WORKER, database=book, **given) as one, process(WORKER, database=book, **given) as other:
            one.until("ready")
            other.until("ready")
            dying.kill()
            wait_for(lambda: _row(postgres_url, GONE_BACK) == (SAGAS,), "all have gone back")

    assert _row(postgres_url, ADOPTED) == (SAGAS, SAGAS)
    made = Counter((call.step, call.phase) for call in calls(book))
    assert made == {
        ("reserve", "action"): SAGAS,
        ("linger", "action"): SAGAS,  # its only attempt died with its worker
        ("linger", "undo"): SAGAS,
        ("reserve", "undo"): SAGAS,
    }
