"""What may have happened is not forgotten: not by a deploy, not by a drain, not by a late answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from engine import Order, database, engine, state, until, virtually
from test_ownership import LEASE, abandoned

from amends import Compensated, Completed, Context, Orchestrator, Reject, Retry, Saga, Settings, parallel, sleep, step
from amends.errors import StoreUnavailable
from amends.store.base import Fate, Write
from amends.store.memory import MemoryDatabase, MemoryStore


class Charge:
    """A step that has its effect at the first call and does not answer; asked again, it says no."""

    def __init__(self) -> None:
        self.charged = 0
        self.undone = 0
        self.go = asyncio.Event()

        @step(name="charge", retry=Retry(attempts=5, first_delay=0), timeout=10_000)
        async def charge(ctx: Context) -> None:
            if self.charged == 0:
                self.charged += 1
                await self.go.wait()
            raise Reject("the account is closed by now")

        @charge.compensation
        async def refund() -> None:
            self.undone += 1

        self.saga: Saga[Order, None] = Saga("buy", charge, input=Order)


@dataclass(frozen=True)
class Price:
    """A step's result."""

    cents: int


@step(name="other")
async def other() -> None: ...


@other.compensation
async def unother() -> None: ...


@step(name="unheard-of", readonly=True)
async def unheard_of() -> None: ...


class Held(MemoryStore):
    """A store whose commits wait for `go`, or cannot be made."""

    def __init__(self, on: MemoryDatabase) -> None:
        super().__init__(on)
        self.go = asyncio.Event()
        self.away = False

    async def commit(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        if self.away:
            raise StoreUnavailable("the disk is full")
        await self.go.wait()
        return await super().commit(worker, writes)


class Shut(MemoryStore):
    """A store in which nothing can be let go while it is `away`."""

    away = False

    async def release(self, worker: int, sagas: Sequence[tuple[bytes, float | None]]) -> None:
        if self.away:
            raise StoreUnavailable("the disk is full")
        await super().release(worker, sagas)


def on_store(store: MemoryStore, saga: Saga[Order, Any], **settings: float) -> Orchestrator:
    """An orchestrator on a store of a test's own."""
    built = engine(saga, on=store._db, settings=Settings(**settings))  # type: ignore[arg-type]  # the counts are left alone
    built.config = replace(built.config, database=store)
    return built


def test_an_attempt_lost_before_a_deploy_that_cannot_run_the_saga_is_still_in_doubt_after_the_next() -> None:
    async def main() -> tuple[Any, int, int]:
        on, charge = database(), Charge()
        changed: Saga[Order, None] = Saga("buy", other, input=Order)
        async with abandoned(engine(charge.saga, on=on, settings=LEASE)) as first:
            await first.start(charge.saga, Order(), id="one")
            await until(lambda: charge.charged == 1)
        async with engine(changed, on=on, settings=LEASE):
            await until(lambda: on.sagas[on.keys["one"]].stalled is not None, 100)

        async with engine(charge.saga, on=on, settings=LEASE) as third:
            outcome = await third.handle(charge.saga, "one").outcome(timeout=600)
        return outcome, charge.charged, charge.undone

    outcome, charged, undone = virtually(main())
    assert isinstance(outcome, Compensated)
    assert "an earlier attempt may have worked" in outcome.reason
    assert (charged, undone) == (1, 1), "a no after a lost attempt is no proof that nothing stayed"


def test_what_a_move_to_a_changed_definition_issues_is_not_called_before_it_is_on_disk() -> None:
    async def main() -> tuple[list[str], Any]:
        on = database()
        ran: list[str] = []

        @step(name="first")
        async def first(ctx: Context) -> None:
            ran.append(ctx.address)

        @first.compensation
        async def unfirst() -> None: ...

        old: Saga[Order, None] = Saga("buy", first, input=Order)
        new: Saga[Order, None] = Saga("buy", first, other, input=Order)
        async with engine(old, on=on).client() as client:
            await client.start(old, Order(), id="one")
        store = Held(on)
        async with on_store(store, new) as orchestrator:
            await asyncio.sleep(5)
            early = list(ran)
            store.go.set()
            return early, await orchestrator.handle(new, "one").outcome(timeout=60)

    assert virtually(main()) == ([], Completed(None))


def test_a_drain_lets_go_of_no_saga_whose_last_word_is_not_on_disk() -> None:
    async def main() -> tuple[Any, int, int]:
        on, charge = database(), Charge()
        store = Held(on)
        store.go.set()
        first = on_store(store, charge.saga, drain_seconds=5)
        async with first:
            await first.start(charge.saga, Order(), id="one")
            await until(lambda: charge.charged == 1)
            store.away = True
            charge.go.set()
            await asyncio.sleep(0.1)

        async with engine(charge.saga, on=on, settings=LEASE) as second:
            outcome = await second.handle(charge.saga, "one").outcome(timeout=600)
        return outcome, charge.charged, charge.undone

    outcome, charged, undone = virtually(main())
    assert isinstance(outcome, Compensated)
    assert (charged, undone) == (1, 1), "the attempt was made, so a later no is not sure"


def test_a_store_that_is_away_during_a_drain_neither_cuts_it_short_nor_makes_it_raise() -> None:
    async def main() -> tuple[float, list[str]]:
        on, done = database(), list[str]()

        @step(name="slow", timeout=1000)
        async def slow() -> None:
            await asyncio.sleep(20)
            done.append("slow")

        @slow.compensation
        async def unslow() -> None: ...

        saga: Saga[Order, None] = Saga("slow", slow, input=Order)
        store = Shut(on)
        async with on_store(store, saga, drain_seconds=60) as orchestrator:
            await orchestrator.start(saga, Order(), id="one")
            worker = orchestrator.session.worker
            assert worker is not None
            store.away = True
            worker.ownership.release(b"a saga let go", None)
            began = asyncio.get_running_loop().time()
        return asyncio.get_running_loop().time() - began, done

    took, done = virtually(main())
    assert 15 < took < 60
    assert done == ["slow"]


def test_a_late_result_does_not_stand_for_the_one_that_a_person_gave(tmp_path: Path) -> None:
    late, go_on = threading.Event(), threading.Event()
    returned: list[int] = []
    paid: list[int] = []

    @step(name="price", timeout=0.1, retry=Retry(attempts=1), readonly=True)
    def price() -> Price:
        late.wait(60)
        returned.append(999)
        return Price(999)

    @step(name="slow", timeout=60, readonly=True)
    def slow() -> None:
        go_on.wait(60)

    @step(name="pay")
    async def pay(price: Price) -> None:
        paid.append(price.cents)

    @pay.compensation
    async def unpay() -> None: ...

    saga: Saga[Order, None] = Saga("buy", parallel(price, slow), pay, input=Order)

    async def main() -> Any:
        async with Orchestrator(f"sqlite:///{tmp_path}/sagas.db", sagas=[saga]) as orchestrator:
            handle = await orchestrator.start(saga, Order(), id="one")
            async with asyncio.timeout(60):
                while (await state(orchestrator, "one")).step("price").action.status != "stuck":
                    await asyncio.sleep(0.01)
            act = orchestrator.session.act
            await act("one", "resolve", "price", actor="ann", reason="asked", result=b'{"cents":100}')
            late.set()
            async with asyncio.timeout(60):
                while (await state(orchestrator, "one")).late == 0:
                    await asyncio.sleep(0.01)
            go_on.set()
            return await handle.outcome(timeout=60)

    assert asyncio.run(main()) == Completed(None, ("price",))
    assert (returned, paid) == ([999], [100])


def test_a_plan_or_a_history_that_this_code_cannot_read_keeps_no_other_saga_from_running() -> None:
    async def main() -> tuple[Any, str | None, int]:
        on = database()
        plain: Saga[Order, None] = Saga("plain", other, input=Order)
        newer: Saga[Order, None] = Saga("plain", other, unheard_of, input=Order)
        async with engine(newer, on=on).client() as client:
            await client.start(newer, Order(), id="of the future")
        (row,) = on.plans
        on.plans[0] = row._replace(body=row.body.replace('"deadline"', '"colour":1,"deadline"'))
        async with engine(plain, on=on).client() as client:
            await client.start(plain, Order(), id="empty")
            await client.start(plain, Order(), id="good")
        on.journal[on.keys["empty"]].clear()

        async with engine(plain, on=on) as orchestrator:
            outcome = await orchestrator.handle(plain, "good").outcome(timeout=60)
            await asyncio.sleep(30)
            return outcome, on.sagas[on.keys["of the future"]].stalled, len(on.open)

    outcome, stalled, still_open = virtually(main())
    assert outcome == Completed(None)
    assert stalled is not None
    assert "cannot be read" in stalled
    assert still_open == 2


@pytest.mark.parametrize("dead", [False, True])
def test_a_history_that_does_not_fit_its_plan_keeps_no_other_saga_from_running(dead: bool) -> None:
    async def main() -> list[Any]:
        on = database()
        saga: Saga[Order, None] = Saga("slow", sleep(30), other, input=Order)
        async with abandoned(engine(saga, on=on, settings=LEASE)) as first:
            for name in ("odd", "one", "two"):
                await first.start(saga, Order(), id=name)
            await asyncio.sleep(1)
        on.journal[on.keys["odd"]].append((1, b'[1.0,1,[["issued","ghost","action"]]]'))
        for name in ("odd", "one", "two"):
            owner = 1 if dead else None
            on.put(on.sagas[on.keys[name]]._replace(owner=owner, wake_at=None if dead else 0.0))

        async with engine(saga, on=on, settings=LEASE) as second:
            outcomes = [await second.handle(saga, name).outcome(timeout=120) for name in ("one", "two")]
            worker = second.session.worker
            assert worker is not None
            assert not worker.lives, "it is left as it is on disk"
            return outcomes

    assert virtually(main()) == [Completed(None), Completed(None)]
