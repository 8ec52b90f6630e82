"""A user's open transaction holds up the saga it concerns, and no other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from postgres_scene import HERE, Gate, Order, on, until, user

from amends import Completed, Saga, sleep
from amends.errors import AmendsError, IdConflict, StoreUnavailable

LOCK_HEAD = "SELECT FROM amends.saga WHERE key = $1 FOR UPDATE"


@pytest.mark.parametrize("work", [True, False], ids=["worker", "client"])
@pytest.mark.parametrize("ends", ["COMMIT", "ROLLBACK"])
def test_a_start_whose_key_is_in_an_open_transaction_waits_alone_and_then_is_there_or_is_told(
    work: bool, ends: str, postgres_url: str
) -> None:
    async def main() -> None:
        gate = Gate()
        async with on(postgres_url, gate.saga), user(postgres_url) as somebody:
            starter = on(postgres_url, gate.saga)
            async with starter if work else starter.client():
                mine = await somebody.start(starter, gate.saga, "K", cents=1)

                held = asyncio.create_task(starter.start(gate.saga, Order(2), id="K"))
                others = [starter.run(gate.saga, Order(), id=f"n{number}") for number in range(20)]
                assert await asyncio.gather(*others) == [Completed(None)] * 20
                await somebody.someone_waits()
                assert not held.done()
                assert await starter.run(gate.saga, Order(), id="later") == Completed(None)
                assert not held.done()

                await mine.execute(ends)
                if ends == "COMMIT":
                    with pytest.raises(IdConflict, match="another input"):
                        await held
                else:
                    handle = await held
                    assert await handle.outcome() == Completed(None)

    asyncio.run(main())


def test_the_same_start_in_a_transaction_that_commits_is_the_same_saga(postgres_url: str) -> None:
    async def main() -> int:
        gate = Gate()
        async with on(postgres_url, gate.saga) as starter, user(postgres_url) as somebody:
            mine = await somebody.start(starter, gate.saga, "K")
            held = asyncio.create_task(starter.start(gate.saga, Order(), id="K"))
            await somebody.someone_waits()
            await mine.execute("COMMIT")
            assert (await held).saga_id == "K"
            return int(await somebody.value("SELECT count(*) FROM amends.saga"))

    assert asyncio.run(main()) == 1


def test_a_saga_whose_head_a_user_has_locked_waits_for_it_alone_and_loses_nothing(postgres_url: str) -> None:
    async def main() -> list[tuple[str, str]]:
        gate = Gate()
        gate.gates["K"] = asyncio.Event()
        async with on(postgres_url, gate.saga) as orchestrator, user(postgres_url) as somebody:
            held = await orchestrator.start(gate.saga, Order(), id="K")
            await until(lambda: called(gate, "K", "second"), "the saga is in its second step")
            lock = await somebody.begin(LOCK_HEAD, "K")
            gate.gates["K"].set()

            others = [orchestrator.run(gate.saga, Order(), id=f"n{number}") for number in range(20)]
            assert await asyncio.gather(*others) == [Completed(None)] * 20
            await somebody.someone_waits()
            assert await somebody.value("SELECT status FROM amends.saga WHERE key = 'K'") == "running"

            await lock.execute("COMMIT")
            assert await held.outcome() == Completed(None)
            seqs = (
                "SELECT array_agg(seq ORDER BY seq) FROM amends.journal JOIN amends.saga ON saga = id WHERE key = 'K'"
            )
            assert await somebody.value(seqs) == [0, 1, 2, 3]
        return [call for call in gate.calls if call[0] == "K"]

    assert asyncio.run(main()) == [("K", "first"), ("K", "second"), ("K", "third")]


async def called(gate: Gate, key: str, name: str) -> bool:
    """Whether a step was called."""
    return (key, name) in gate.calls


def test_several_blocked_keys_wait_each_for_its_own_transaction(postgres_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        async with on(postgres_url, gate.saga) as orchestrator, user(postgres_url) as somebody:
            keys = ["A", "B", "C"]
            open_ones = [await somebody.start(orchestrator, gate.saga, key, cents=1) for key in keys]
            held = [asyncio.create_task(orchestrator.run(gate.saga, Order(2), id=key)) for key in keys]
            others = [orchestrator.run(gate.saga, Order(), id=f"n{number}") for number in range(10)]
            assert await asyncio.gather(*others) == [Completed(None)] * 10

            await open_ones[1].execute("ROLLBACK")
            assert await held[1] == Completed(None)
            assert not held[0].done()
            assert not held[2].done()
            await open_ones[2].execute("COMMIT")
            with pytest.raises(IdConflict):
                await held[2]
            assert not held[0].done()
            await open_ones[0].execute("ROLLBACK")
            assert await held[0] == Completed(None)

    asyncio.run(main())


@pytest.mark.parametrize("work", [True, False], ids=["worker", "client"])
def test_a_start_that_is_held_does_not_keep_its_process_from_leaving_and_its_caller_is_told(
    work: bool, postgres_url: str
) -> None:
    async def main() -> int:
        gate = Gate()
        async with user(postgres_url) as somebody:
            orchestrator = on(postgres_url, gate.saga, drain_seconds=1.0)
            async with orchestrator if work else orchestrator.client():
                await somebody.start(orchestrator, gate.saga, "K", cents=1)
                held = asyncio.create_task(orchestrator.start(gate.saga, Order(2), id="K"))
                await somebody.someone_waits()
            with pytest.raises(AmendsError):
                await asyncio.wait_for(held, 30)
            left = f"SELECT count(*) FROM {HERE} AND application_name LIKE 'amends%'"
            await somebody.until(f"SELECT ({left}) = 0")
            return int(await somebody.value("SELECT count(*) FROM amends.worker WHERE left_at IS NOT NULL"))

    assert asyncio.run(main()) == (1 if work else 0)


@pytest.mark.parametrize("work", [True, False], ids=["worker", "client"])
def test_who_waits_too_long_for_a_start_is_told_that_a_transaction_holds_its_id(work: bool, postgres_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        orchestrator = on(postgres_url, gate.saga, drain_seconds=1.0, answer_seconds=1.0)
        async with user(postgres_url) as somebody, orchestrator if work else orchestrator.client():
            mine = await somebody.start(orchestrator, gate.saga, "K", cents=1)
            with pytest.raises(StoreUnavailable, match="a transaction that is still open has started a saga with this"):
                await orchestrator.start(gate.saga, Order(2), id="K")
            await mine.execute("ROLLBACK")
            await somebody.until("SELECT count(*) = 1 FROM amends.saga WHERE key = 'K'")  # it was written after all

    asyncio.run(main())


def test_a_lock_on_a_saga_that_is_to_be_let_go_keeps_the_worker_neither_from_its_lease_nor_from_others(
    postgres_url: str,
) -> None:
    async def main() -> tuple[Any, list[int], bool]:
        gate = Gate()
        nap: Saga[Order, None] = Saga("nap", sleep(3600.0), input=Order)
        async with user(postgres_url) as somebody, on(postgres_url, nap, gate.saga, lease_seconds=3.0) as orchestrator:
            await orchestrator.start(nap, Order(), id="K")
            worker = orchestrator.session.worker
            assert worker is not None
            number = worker.worker
            await somebody.until("SELECT owner IS NULL FROM amends.saga WHERE key = 'K'")
            own = "UPDATE amends.saga SET owner = $1 WHERE key = 'K' RETURNING id"  # as after a claim
            internal = await somebody.value(own, number)
            lock = await somebody.begin(LOCK_HEAD, "K")
            worker.ownership.release(internal.bytes, None)
            renewed = "SELECT expires_at > $1 FROM amends.worker WHERE id = $2"
            first = await somebody.value("SELECT expires_at FROM amends.worker WHERE id = $1", number)
            await somebody.until(renewed, first + 3.0, number)  # by more than one whole lease
            async with on(postgres_url, gate.saga).client() as client:
                outcome = await client.run(gate.saga, Order(), id="other")
            numbers = [row.id for row in await orchestrator.session.store.workers()]
            await lock.execute("COMMIT")
            await somebody.until("SELECT owner IS NULL FROM amends.saga WHERE key = 'K'")
            return outcome, numbers, worker.worker == number

    outcome, numbers, same = asyncio.run(main())
    assert outcome == Completed(None)
    assert len(numbers) == 1
    assert same
