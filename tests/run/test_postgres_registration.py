"""A worker that finds itself retired: nothing decided before is written after, and it serves on."""

from __future__ import annotations

import asyncio

from postgres_scene import Gate, Order, on, until, user

from amends import Completed, Saga, sleep

RETIRE = "UPDATE amends.worker SET retired_at = extract(epoch FROM now()) WHERE retired_at IS NULL RETURNING id"


def test_what_was_decided_under_a_registration_that_is_retired_is_not_written_under_the_next(
    postgres_url: str,
) -> None:
    """Decisions wait behind a commit that a lock holds up; meanwhile their worker is retired."""

    async def main() -> None:
        gate = Gate()
        keys = [f"n{n}" for n in range(10)]
        gate.gates = {key: asyncio.Event() for key in keys}
        settings = {"lease_seconds": 3.0, "poll_seconds": 0.2}
        async with on(postgres_url, gate.saga, **settings) as orchestrator, user(postgres_url) as somebody:
            worker = orchestrator.session.worker
            assert worker is not None
            old = worker.worker
            handles = [await orchestrator.start(gate.saga, Order(), id=key) for key in keys]
            await until(lambda: all_called(gate, keys), "all are in their second step")
            wall = await somebody.begin(RETIRE)
            for key in keys:
                gate.gates[key].set()
            await somebody.someone_waits("amends commits")
            written = await somebody.value("SELECT count(*) FROM amends.journal")
            await wall.execute("COMMIT")

            outcomes = [await handle.outcome() for handle in handles]
            assert outcomes == [Completed(None)] * 10
            assert worker.worker != old
            by_old = "SELECT count(*) FROM amends.journal WHERE (row::jsonb ->> 1)::bigint = $1"
            assert await somebody.value(by_old, old) == written, "the last that it wrote was before"
            assert await somebody.value("SELECT survived FROM amends.worker WHERE id = $1", old)
            calls = [call for call in gate.calls if call[1] == "second"]
            assert len(calls) == 20, "unresolved under the first, tried again under the second"

    asyncio.run(main())


async def all_called(gate: Gate, keys: list[str]) -> bool:
    """Whether the second step of all of them was called."""
    return {key for key, name in gate.calls if name == "second"} == set(keys)


def test_a_saga_that_only_waits_belongs_to_nobody_and_costs_no_memory(postgres_url: str) -> None:
    async def main() -> None:
        nap: Saga[Order, None] = Saga("nap", sleep(3600.0), input=Order)
        async with on(postgres_url, nap, rest_seconds=1.0) as orchestrator, user(postgres_url) as somebody:
            for number in range(50):
                await orchestrator.start(nap, Order(), id=f"n{number}")
            await somebody.until("SELECT count(*) = 50 FROM amends.saga WHERE owner IS NULL AND wake_at IS NOT NULL")
            worker = orchestrator.session.worker
            assert worker is not None
            await until(lambda: is_empty(worker.lives), "none is held")
            assert not worker.by_key
            assert not worker.deadlines._watched
            assert not worker.ownership._todo

    asyncio.run(main())


async def is_empty(held: object) -> bool:
    """Whether nothing is there."""
    return not held


def test_a_worker_that_drains_while_it_is_retired_has_survived(postgres_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        async with user(postgres_url) as somebody:
            async with on(postgres_url, gate.saga, poll_seconds=600, lease_seconds=3600.0) as orchestrator:
                await orchestrator.run(gate.saga, Order())
                await somebody.value(RETIRE)
            fates = await somebody.value("SELECT array_agg(survived OR left_at IS NOT NULL) FROM amends.worker")
            assert fates == [True]

    asyncio.run(main())
