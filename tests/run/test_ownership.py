"""How sagas come to a worker and leave it: leases, takeover, room, timers, plans nobody runs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from engine import Order, database, engine, state, until, virtually

from amends import (
    Completed,
    Context,
    Orchestrator,
    Parked,
    Retry,
    Saga,
    Settings,
    parallel,
    pivot,
    sequence,
    sleep,
    step,
)
from amends import wait_for as wait_node
from amends.run.live import Live
from amends.store.memory import MemoryDatabase, MemoryStore

LEASE = Settings(lease_seconds=15)


@dataclass(frozen=True)
class Word:
    """A signal's value."""

    text: str


@step
async def quick() -> None: ...


@quick.compensation
async def unquick() -> None: ...


word = wait_node("word", Word)
quick_saga = Saga("quick", quick, input=Order)
nap = Saga("nap", sleep(timedelta(seconds=3600)), quick, input=Order)
patient = Saga("patient", quick, word, input=Order)


@contextlib.asynccontextmanager
async def abandoned(orchestrator: Orchestrator) -> AsyncIterator[Orchestrator]:
    """A worker that is gone at the end of the block, as after `kill -9`: nothing is let go."""
    await orchestrator._enter(work=True)
    yield orchestrator
    session = orchestrator.session
    assert session.worker is not None
    task = session.worker.ownership._task
    assert task is not None
    task.cancel()
    session.worker._drop_all()
    if session.worker._committer is not None:
        session.worker._committer.close()
    await session.store.close()


class Gated:
    """A saga of one step that writes down who runs it and returns when it may."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, int, int]] = []
        self.go = asyncio.Event()

        @step(name="gated", retry=Retry(attempts=5, first_delay=0), timeout=10_000)
        async def gated(ctx: Context) -> None:
            self.ran.append((ctx.key, ctx.attempt, ctx.epoch))
            await self.go.wait()

        @gated.compensation
        async def ungated() -> None: ...

        self.saga: Saga[Order, None] = Saga("gated", gated, input=Order)
        self.nap: Saga[Order, None] = Saga("gated-nap", sleep(10), gated, input=Order)


def test_after_a_lease_another_worker_takes_over_and_the_lost_attempt_counts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "amends.ownership")

    async def main() -> tuple[Any, float, list[tuple[str, int, int]]]:
        on, gated = database(), Gated()
        async with engine(gated.saga, on=on, settings=LEASE) as second:
            async with abandoned(engine(gated.saga, on=on, settings=LEASE)) as first:
                await first.start(gated.saga, Order(), id="one")
                await until(lambda: bool(gated.ran))
            began = asyncio.get_running_loop().time()
            gated.go.set()
            outcome = await second.handle(gated.saga, "one").outcome()
            return outcome, asyncio.get_running_loop().time() - began, gated.ran

    outcome, took, ran = virtually(main())
    assert outcome == Completed(None)
    assert 10 < took < 40, "after the lease, and soon after it"
    assert [(attempt, epoch) for _, attempt, epoch in ran] == [(1, 1), (2, 2)]
    assert len({key for key, _, _ in ran}) == 1, "the same key"
    assert "sagas taken over from worker 2, which is gone: 1" in caplog.text


def test_a_start_that_meets_the_retirement_of_its_worker_is_made_by_the_next_registration() -> None:
    async def main() -> Any:
        on = database()
        async with engine(quick_saga, on=on) as orchestrator:
            retire_all(on)
            outcomes = await asyncio.gather(
                *(orchestrator.run(quick_saga, Order(), id=f"n{number}") for number in range(20))
            )
            assert len(on.sagas) == 20
            return outcomes

    assert virtually(main()) == [Completed(None)] * 20


def test_a_start_behind_the_retirement_of_its_worker_is_made_by_the_next_registration() -> None:
    async def main() -> Any:
        async with engine(quick_saga, on=database()) as orchestrator:
            assert orchestrator.session.worker is not None
            orchestrator.session.worker.retired()
            async with asyncio.timeout(60):
                return await orchestrator.run(quick_saga, Order())

    assert virtually(main()) == Completed(None)


def retire_all(on: MemoryDatabase) -> None:
    """As another worker does with those whose lease is over."""
    for number, row in on.workers.items():
        on.workers[number] = row._replace(retired_at=on.clock())


def test_adoption_goes_on_as_soon_as_there_is_room() -> None:
    async def main() -> float:
        on, gated = database(), Gated()
        small = Settings(lease_seconds=15, in_flight=5, poll_seconds=600)
        async with abandoned(engine(gated.saga, on=on, settings=Settings(lease_seconds=15))) as first:
            for number in range(50):
                await first.start(gated.saga, Order(), id=f"n{number}")
        gated.go.set()
        async with engine(gated.saga, on=on, settings=small) as second:
            await until(lambda: second.session.worker is not None and bool(second.session.worker.lives), 1000)
            began = asyncio.get_running_loop().time()
            for number in range(50):
                assert await second.handle(gated.saga, f"n{number}").outcome() == Completed(None)
            return asyncio.get_running_loop().time() - began

    assert virtually(main()) < 60, "not one batch per poll of ten minutes"


def test_a_storm_of_due_timers_is_drained_without_starving_new_starts() -> None:
    async def main() -> tuple[int, float]:
        on = database()
        async with engine(nap, quick_saga, on=on) as orchestrator:
            for number in range(2000):
                await orchestrator.start(nap, Order(), id=f"n{number}")
        await asyncio.sleep(7200)  # nobody works; all are due
        small = Settings(in_flight=50)
        async with engine(nap, quick_saga, on=on, settings=small) as orchestrator:
            began = asyncio.get_running_loop().time()
            fresh = await asyncio.gather(*(orchestrator.run(quick_saga, Order()) for _ in range(100)))
            assert fresh == [Completed(None)] * 100
            took = asyncio.get_running_loop().time() - began
            await until(lambda: all(saga.status == "completed" for saga in on.sagas.values()), 600)
        return len(on.sagas), took

    sagas, took = virtually(main())
    assert sagas == 2100
    assert took < 30


def test_sleeping_sagas_keep_nothing_in_memory() -> None:
    async def main() -> None:
        on = database()
        async with engine(nap, patient, on=on) as orchestrator:
            worker = orchestrator.session.worker
            assert worker is not None
            before = len(asyncio.all_tasks())
            for number in range(500):
                await orchestrator.start(nap if number % 2 else patient, Order(), id=f"n{number}")
            await until(lambda: not worker.lives)
            await asyncio.sleep(30)

            gc.collect()
            assert len(asyncio.all_tasks()) <= before
            assert [live for live in gc.get_objects() if type(live) is Live and live.shell is worker] == []
            assert not worker.by_key
            assert not worker.deadlines._watched
            assert not worker.ownership._todo
            assert len(asyncio.get_running_loop()._scheduled) < 50  # type: ignore[attr-defined]  # asyncio's timers

    virtually(main())


def test_a_saga_with_a_branch_that_sleeps_beside_one_that_works_misses_no_timer() -> None:
    at: list[float] = []

    @step(timeout=1000)
    async def slow(ctx: Context) -> None:
        await asyncio.sleep(60)

    @slow.compensation
    async def unslow() -> None: ...

    @step
    async def after(ctx: Context) -> None:
        at.append(asyncio.get_running_loop().time())

    @after.compensation
    async def unafter() -> None: ...

    saga = Saga("saga", parallel(slow, sequence(sleep(20), after)), input=Order)

    async def main() -> Any:
        async with engine(saga) as orchestrator:
            return await orchestrator.run(saga, Order())

    assert virtually(main()) == Completed(None)
    assert 20 <= at[0] < 22


def test_a_saga_that_was_let_go_wakes_at_its_time_whoever_works_then() -> None:
    async def main() -> Any:
        on = database()
        async with engine(nap, on=on) as first:
            await first.start(nap, Order(), id="one")
        async with engine(nap, on=on) as second:
            began = asyncio.get_running_loop().time()
            outcome = await second.handle(nap, "one").outcome()
            return outcome, asyncio.get_running_loop().time() - began

    outcome, took = virtually(main())
    assert outcome == Completed(None)
    assert 3590 < took < 3605


def test_a_saga_whose_definition_the_code_no_longer_has_is_stalled_and_keeps_nobody_from_working() -> None:
    async def main() -> tuple[str | None, Any]:
        on, gated = database(), Gated()
        async with abandoned(engine(gated.saga, on=on, settings=LEASE)) as first:
            await first.start(gated.saga, Order(), id="one")
        async with engine(quick_saga, on=on, settings=LEASE) as second:
            await asyncio.sleep(60)
            assert await second.run(quick_saga, Order()) == Completed(None)
            stalled = on.sagas[on.keys["one"]].stalled
        gated.go.set()
        async with engine(gated.saga, on=on, settings=LEASE) as third:
            return stalled, await third.handle(gated.saga, "one").outcome(timeout=60)

    stalled, outcome = virtually(main())
    assert stalled == "this worker knows no saga called 'gated'"
    assert outcome == Completed(None), "it runs again when a fitting worker appears"


@pytest.mark.parametrize("poll", [1.0, 600.0])
@pytest.mark.parametrize("leases", [True, False])
def test_sagas_that_no_live_worker_can_run_are_reported_within_a_minute(
    poll: float, leases: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryStore, "leases", leases)

    async def main() -> None:
        on = database()
        async with engine(patient, on=on).client() as client:
            await client.start(patient, Order(), id="one")
        async with engine(quick_saga, on=on, settings=Settings(poll_seconds=poll)):
            await asyncio.sleep(60)

    with caplog.at_level(logging.WARNING, "amends.ownership"):
        virtually(main())

    assert "1 of 'patient' is running, and no live worker knows it" in caplog.text


def test_a_saga_whose_history_cannot_be_read_is_stalled_and_keeps_nobody_from_working() -> None:
    async def main() -> str | None:
        on = database()
        async with engine(patient, quick_saga, on=on) as first:
            await first.start(patient, Order(), id="one")
        internal = on.keys["one"]
        on.journal[internal][-1] = (1, b'[1.0,1,[["from_the_future",1]]]')
        on.put(on.sagas[internal]._replace(wake_at=0.0))
        async with engine(patient, quick_saga, on=on) as second:
            await asyncio.sleep(30)
            assert await second.run(quick_saga, Order()) == Completed(None)
            worker = second.session.worker
            assert worker is not None
            assert not worker.failed.done()
            return on.sagas[internal].stalled

    stalled = virtually(main())
    assert stalled is not None
    assert "cannot be read" in stalled


def test_an_operator_may_leave_at_once_while_nothing_is_in_flight() -> None:
    async def main() -> float:
        async with engine(patient) as orchestrator:
            await orchestrator.start(patient, Order(), id="one")
            await asyncio.sleep(1)
            began = asyncio.get_running_loop().time()
        return asyncio.get_running_loop().time() - began

    assert virtually(main()) < 1


def test_a_drained_saga_is_free_at_once_and_no_attempt_is_lost() -> None:
    async def main() -> tuple[Any, list[int]]:
        on, gated = database(), Gated()
        first = engine(gated.saga, on=on, settings=LEASE)
        await first._enter(work=True)
        await first.start(gated.saga, Order(), id="one")
        await until(lambda: bool(gated.ran))
        leaving = asyncio.create_task(first._leave())
        await asyncio.sleep(5)
        assert not leaving.done(), "the attempt in flight is awaited"
        gated.go.set()
        await leaving
        async with engine(gated.saga, on=on, settings=LEASE) as second:
            outcome = await second.handle(gated.saga, "one").outcome(timeout=5)
            return outcome, [attempt for _, attempt, _ in gated.ran]

    assert virtually(main()) == (Completed(None), [1])


def test_an_attempt_that_runs_carefully_and_does_not_stop_holds_up_no_other() -> None:
    """Two sagas that have each seen two deaths; one of them hangs."""

    over = asyncio.Event()
    lives: list[int] = []

    @step(name="gated", timeout=100, retry=Retry(attempts=9, first_delay=0))
    async def gated(ctx: Context) -> None:
        while (ctx.saga_id == "deaf" or len(lives) < 2) and not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await over.wait()

    @gated.compensation
    async def ungated() -> None: ...

    saga = Saga("gated", gated, pivot, quick, input=Order)

    async def two_deaths(on: MemoryDatabase) -> None:
        for seconds in (1, 40):
            async with abandoned(engine(saga, on=on, settings=LEASE)) as orchestrator:
                for name in ("deaf", "good"):
                    await orchestrator.start(saga, Order(), id=name)
                await asyncio.sleep(seconds)
            lives.append(1)
            await asyncio.sleep(20)

    async def third_life(on: MemoryDatabase) -> Any:
        async with engine(saga, on=on, settings=LEASE) as last:
            worker = last.session.worker
            assert worker is not None
            await until(lambda: bool(worker.lives), 1000)
            await asyncio.sleep(1)
            assert (await state(last, "good")).careful
            return [await last.handle(saga, name).outcome(timeout=600) for name in ("good", "deaf")]

    async def main() -> Any:
        on = database()
        await two_deaths(on)
        try:
            return await third_life(on)
        finally:
            over.set()

    good, deaf = virtually(main())
    assert good == Completed(None)
    assert isinstance(deaf, Parked)
    assert deaf.reason == "gated: still running"
