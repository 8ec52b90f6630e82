"""Hints on PostgreSQL: work from elsewhere is found at once, in few words; and an idle worker asks little."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from postgres_scene import HERE, Gate, Order, on, user

from amends import Completed
from services.postgres import Postgres
from services.proxy import Proxy

SLOW_POLL = 60.0
QUIET = {"poll_seconds": SLOW_POLL, "lease_seconds": 600.0}  # nothing but a hint has it look
AT_ONCE = 15.0  # far less than the poll, and than the rarer duties' twenty seconds; and enough for a busy machine
LISTENS = f"SELECT count(*) >= $1 FROM {HERE} AND application_name = 'amends hints' AND state = 'idle'"
CUT = f"SELECT count(pg_terminate_backend(pid)) FROM {HERE} AND application_name = 'amends hints'"


@asynccontextmanager
async def heard(url: str) -> AsyncIterator[list[str]]:
    """All that is said on the channel of the namespace."""
    words: list[str] = []
    connection = await asyncpg.connect(url, server_settings={"application_name": "an ear"})
    await connection.add_listener("amends_1", lambda *said: words.append(str(said[3])))
    try:
        yield words
    finally:
        await connection.close()


def test_a_start_from_elsewhere_is_picked_up_and_its_end_told_at_once(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amends.run.waiting.LOOK_FIRST_SECONDS", SLOW_POLL)
    monkeypatch.setattr("amends.run.waiting.LOOK_LAST_SECONDS", SLOW_POLL)

    async def main() -> None:
        gate = Gate()
        client = on(postgres_url, gate.saga)
        async with on(postgres_url, gate.saga, **QUIET), client.client(), user(postgres_url) as somebody:
            await somebody.until(LISTENS, 2)
            for number in range(5):
                outcome = await asyncio.wait_for(client.run(gate.saga, Order(), id=f"n{number}"), AT_ONCE)
                assert outcome == Completed(None)

    asyncio.run(main())


def test_a_burst_of_starts_is_said_in_far_fewer_words(postgres_url: str) -> None:
    async def main() -> tuple[int, int]:
        gate = Gate()
        client = on(postgres_url, gate.saga)
        async with on(postgres_url, gate.saga, **QUIET), client.client(), heard(postgres_url) as words:
            outcomes = await asyncio.gather(*(client.run(gate.saga, Order()) for _ in range(500)))
        assert outcomes == [Completed(None)] * 500
        return len(words), sum(word.count('"work":true') for word in words)

    words, work = asyncio.run(main())
    assert 1 <= work <= 50
    assert words <= 500  # of 1,500; the slower the others commit, the fewer find one to go along with


def test_nothing_is_said_of_what_stays_in_the_process(postgres_url: str) -> None:
    async def main() -> list[str]:
        gate = Gate()
        async with on(postgres_url, gate.saga) as orchestrator, heard(postgres_url) as words:
            outcomes = await asyncio.gather(*(orchestrator.run(gate.saga, Order()) for _ in range(100)))
            assert outcomes == [Completed(None)] * 100
        return words

    assert asyncio.run(main()) == []


@pytest.mark.parametrize("times", [1, 3])
def test_whoever_listens_and_is_cut_off_listens_again_and_misses_nothing(times: int, postgres_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        client = on(postgres_url, gate.saga)
        async with on(postgres_url, gate.saga, **QUIET), client.client(), user(postgres_url) as somebody:
            for round in range(times):
                await somebody.until(LISTENS, 2)
                assert await somebody.value(CUT) == 2
                starts = [client.run(gate.saga, Order(), id=f"{round}-{number}") for number in range(20)]
                outcomes = await asyncio.wait_for(asyncio.gather(*starts), AT_ONCE)
                assert outcomes == [Completed(None)] * 20
            await somebody.until(LISTENS, 2)

    asyncio.run(main())


def test_a_word_whose_line_is_cut_is_said_again(postgres_url: str) -> None:
    async def main(proxy: Proxy) -> None:
        gate = Gate()
        client = on(proxy.url(postgres_url), gate.saga)
        async with on(postgres_url, gate.saga, **QUIET), client.client(), user(postgres_url) as somebody:
            await somebody.until(LISTENS, 2)
            trap = proxy.lose_next(b"pg_notify")
            await client.start(gate.saga, Order())
            async with asyncio.timeout(AT_ONCE):
                await somebody.until("SELECT count(*) = 1 FROM amends.saga WHERE status = 'completed'")
            assert trap.sprung

    with Proxy(postgres_url) as proxy:
        asyncio.run(main(proxy))


def test_an_idle_worker_looks_once_a_second_and_renews(postgres_server: Postgres) -> None:
    seconds = 8.0
    calls = (
        "SELECT coalesce(sum(s.calls), 0)::int FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid "
        "WHERE d.datname = current_database() AND query LIKE '%amends.%' AND query NOT LIKE '%pg_stat%'"
    )

    async def main(url: str) -> float:
        gate = Gate()
        async with on(url, gate.saga, lease_seconds=15.0) as orchestrator, user(url) as somebody:
            await somebody.run("CREATE EXTENSION pg_stat_statements")
            await orchestrator.run(gate.saga, Order())
            await asyncio.sleep(1.0)  # what follows from the start is over
            loop = asyncio.get_running_loop()
            began, before = loop.time(), await somebody.value(calls)
            await asyncio.sleep(seconds)
            return float((await somebody.value(calls) - before) / (loop.time() - began))

    rate = asyncio.run(main(postgres_server.create_database()))
    assert 0.3 < rate <= 2.0, "at most one look a second, and the renewals"
