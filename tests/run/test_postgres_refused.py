"""A database that will not take the rows of one saga: that saga is set aside, in sight, and no other feels it."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

import pytest
from postgres_scene import Gate, Order, on, user

from amends import Completed
from amends.errors import ValueRefused
from amends.store.base import NewMail

REFUSAL = """
CREATE FUNCTION refusal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.seq = 2 AND EXISTS (SELECT FROM amends.saga WHERE ns = NEW.ns AND id = NEW.saga AND key = 'poison') THEN
        RAISE EXCEPTION 'no such value' USING ERRCODE = '22021';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refusal BEFORE INSERT ON amends.journal FOR EACH ROW EXECUTE FUNCTION refusal();
"""
REFUSED_START = """
CREATE FUNCTION refusal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.key = 'poison' THEN RAISE EXCEPTION 'no such value' USING ERRCODE = '22021'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refusal BEFORE INSERT ON amends.saga FOR EACH ROW EXECUTE FUNCTION refusal();
"""
REFUSED_MAIL = "ALTER TABLE amends.mail ADD CONSTRAINT refusal CHECK (kind <> 'late')"


def test_a_saga_whose_next_row_is_refused_is_stalled_with_the_reason_and_all_others_end(postgres_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        async with on(postgres_url, gate.saga) as worker, user(postgres_url) as somebody:
            await somebody.run(REFUSAL)
            await worker.start(gate.saga, Order(), id="poison")
            outcomes = await asyncio.gather(*(worker.run(gate.saga, Order(), id=f"n{n}") for n in range(20)))

            assert outcomes == [Completed(None)] * 20
            await somebody.until("SELECT stalled LIKE '%refuses%' FROM amends.saga WHERE key = 'poison'")

            await somebody.run("DROP TRIGGER refusal ON amends.journal")
            await worker.session.store.unstall(worker.session.plans.claimable)
            worker.session.store.hint([], work=True)
            assert await (await worker.start(gate.saga, Order(), id="poison")).outcome(timeout=60) == Completed(None)

    asyncio.run(main())


@pytest.mark.parametrize("work", [True, False], ids=["worker", "client"])
def test_a_start_that_is_refused_is_told_to_whoever_made_it_and_to_nobody_else(work: bool, postgres_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        async with on(postgres_url, gate.saga) as worker, user(postgres_url) as somebody:
            await somebody.run(REFUSED_START)
            starter = worker if work else on(postgres_url, gate.saga)
            ids = [*(f"n{n}" for n in range(20)), "poison"]
            async with nullcontext() if work else starter.client():
                starts = [starter.start(gate.saga, Order(), id=key) for key in ids]
                told = await asyncio.gather(*starts, return_exceptions=True)

            assert isinstance(told[-1], ValueRefused)
            assert not any(isinstance(one, BaseException) for one in told[:-1])

    asyncio.run(main())


def test_a_duty_whose_row_is_refused_keeps_a_worker_from_nothing_else(postgres_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        client = on(postgres_url, gate.saga)
        async with on(postgres_url, gate.saga, poll_seconds=0.1) as worker, user(postgres_url) as somebody:
            await somebody.run(REFUSED_MAIL)
            late = NewMail("n1", "late-1", "late", b"{}")
            running, store, tried = worker.session.worker, worker.session.store, asyncio.Event()
            assert running is not None

            async def send() -> None:
                tried.set()
                await store.send([late])

            async with client.client():
                await worker.run(gate.saga, Order(), id="n1")
                running.ownership._do(send)
                await asyncio.wait_for(tried.wait(), 60)

                assert await asyncio.wait_for(client.run(gate.saga, Order(), id="n2"), 60) == Completed(None)

    asyncio.run(main())
