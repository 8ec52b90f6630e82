"""Whoever works at a bulk operation: how fast it asks, when it stops asking, and what it leaves to others.

Given the sagas of one, written down; whom it asks, and when, is put down, and an hour takes no time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from engine import Order as Job
from engine import database, virtually

from amends import Orchestrator, Saga, Settings, step
from amends.decide.bulk import HELD, Move, Stand
from amends.errors import KeyMissing
from amends.run import bulk as run_bulk
from amends.run.bulk import Runner, found, move
from amends.run.bulk_left import settle
from amends.run.bulk_order import LogLine, Order, act_id, encode
from amends.run.config import Config
from amends.run.sealing import Seals
from amends.store.base import NewMail, Store
from amends.store.bulk import BulkRow, Counts, NewBulk, NewTarget, TargetResult, TargetRow
from amends.store.memory import MemoryStore

LEASE = 15.0
BEGUN = encode(LogLine("begun", "ada"))


@step(readonly=True)
async def work() -> None: ...


class Desk:
    """A session whose sagas all answer at once, but the slow ones. asked: which, and how many seconds after the
    beginning."""

    def __init__(self, store: MemoryStore) -> None:
        jobs = Saga("jobs", work, input=Job)
        self.config: Config = Orchestrator("memory://", sagas=[jobs], settings=Settings(lease_seconds=LEASE)).config
        self.store: Store = store
        self.seals: Seals | None = None
        self.asked: list[tuple[str, float]] = []
        self.slow: dict[str, float] = {}
        self.away_until = 0.0
        self._begun = asyncio.get_running_loop().time()

    async def ask(self, mail: NewMail, *, before: Callable[[], Awaitable[None]] | None = None) -> str:
        """Put it down, when its store is not away any more: it tries twice a second."""
        loop = asyncio.get_running_loop()
        assert before is not None
        await before()
        while loop.time() < self.away_until:
            await asyncio.sleep(0.5)
            await before()
        self.asked.append((mail.key, asyncio.get_running_loop().time() - self._begun))
        await asyncio.sleep(self.slow.get(mail.key, 0))
        return ""

    @property
    def names(self) -> list[str]:
        """Who was asked."""
        return [name for name, _ in self.asked]


@asynccontextmanager
async def begun(count: int, per_second: float, state: Stand = Stand.RUNNING) -> AsyncGenerator[tuple[Desk, Runner]]:
    """One on so many sagas, and its runner, that has not begun yet."""
    store = MemoryStore(database())
    await store.open(work=False)
    order, bulks = Order("unpark", "ada", per_second=per_second), store.bulks
    await bulks.add(NewBulk("one", Stand.COUNTING, encode(order), BEGUN), "starter", 0.5)
    targets = [NewTarget(n, f"s{n}", 1) for n in range(1, count + 1)]
    assert await bulks.fill("one", Stand.COUNTING, "starter", targets, 0.5)
    if state is Stand.RUNNING:
        await move(bulks, "one", Move.COUNTED, actor="ada", total=count)
    await asyncio.sleep(1)
    row = await bulks.take(HELD, "runner", LEASE)
    assert row is not None
    desk = Desk(store)
    yield desk, Runner(desk, row, "runner")
    await store.close()


def at_these(monkeypatch: pytest.MonkeyPatch, *moments: float) -> None:
    """Have the sagas of a batch asked at these seconds from its beginning."""
    monkeypatch.setattr(run_bulk, "moments", lambda count, per_second, shares: moments[:count])


def test_it_goes_no_faster_than_was_said_though_all_answer_at_once() -> None:
    async def main() -> tuple[list[float], float]:
        async with begun(9, 3.0) as (desk, runner):
            at = asyncio.get_running_loop().time()
            await runner.run()
            return [moment for _, moment in desk.asked], asyncio.get_running_loop().time() - at

    moments, whole = virtually(main())

    assert len(moments) == 9
    for place, moment in enumerate(moments):
        assert place / 3 - 0.001 <= moment <= (place + 1) / 3 + 0.001
    assert whole == pytest.approx(moments[-1], abs=0.001)  # nothing is waited for at the end


@pytest.mark.parametrize("what", [Move.CANCEL, Move.PAUSE])
def test_one_that_is_to_stop_while_a_saga_is_waited_for_asks_it_not_and_ends_soon(
    what: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_these(monkeypatch, 90.0)

    async def main() -> None:
        async with begun(2, 0.01) as (desk, runner):
            running = asyncio.create_task(runner.run())
            await asyncio.sleep(5)
            await move(desk.store.bulks, "one", what, actor="bob")

            async with asyncio.timeout(2):
                await running

            assert desk.asked == []
            row = await found(desk.store.bulks, "one")
            assert (row.runner, row.done + row.refused + row.failed) == (
                "runner",
                0,
            )  # of whoever was before is looked for

    virtually(main())


def test_what_whoever_was_before_had_asked_is_looked_for_though_this_one_can_ask_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(order: Order, seals: Seals | None, key: str) -> Order:
        raise KeyMissing("sealed with a key that is not here")

    async def main() -> None:
        async with begun(2, 1000.0) as (desk, runner):
            monkeypatch.setattr(run_bulk, "opened", refuse)
            await runner.run()
            row = await found(desk.store.bulks, "one")
            assert (row.state, row.runner, desk.asked) == (Stand.PAUSED, "runner", [])

            await move(desk.store.bulks, "one", Move.CANCEL, actor="bob")
            await asyncio.sleep(1)

            assert await desk.store.bulks.take_left((Stand.CANCELLED,), "heir", LEASE) is not None

    virtually(main())


def test_one_that_is_to_stop_while_the_next_batch_is_waited_for_ends_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    at_these(monkeypatch, 0.0)

    async def main() -> None:
        async with begun(2, 0.01) as (desk, runner):
            running = asyncio.create_task(runner.run())
            await asyncio.sleep(5)
            await move(desk.store.bulks, "one", Move.CANCEL, actor="bob")

            async with asyncio.timeout(2):
                await running

            assert desk.names == ["s1"]

    virtually(main())


def frozen(monkeypatch: pytest.MonkeyPatch, desk: Desk, runner: Runner) -> asyncio.Event:
    """Have a runner freeze for an hour behind its look, before it asks anybody; its lease runs out. Set when it has."""
    bulks, freezes = desk.store.bulks, asyncio.Event()
    read, keep = bulks.targets, bulks.keep

    async def targets(*given: object) -> list[TargetRow]:
        rows = await read(*given)  # type: ignore[arg-type]  # as it was called
        if not freezes.is_set():
            freezes.set()
            await asyncio.sleep(3600)
        return rows

    async def kept(key: str, name: str, lease_seconds: float) -> bool:
        thawed = asyncio.get_running_loop().time() - began >= 3600
        return await keep(key, name, lease_seconds) if thawed or name != "runner" else False

    began = asyncio.get_running_loop().time()
    monkeypatch.setattr(bulks, "targets", targets)
    monkeypatch.setattr(bulks, "keep", kept)
    return freezes


def test_whoever_was_frozen_behind_its_look_asks_nobody_after_a_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with begun(50, 1000.0) as (desk, runner):
            freezes = frozen(monkeypatch, desk, runner)
            running = asyncio.create_task(runner.run())
            await freezes.wait()
            await move(desk.store.bulks, "one", Move.CANCEL, actor="bob")

            await running

            assert desk.asked == []

    virtually(main())


def test_whoever_was_frozen_and_taken_for_dead_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with begun(50, 1000.0) as (desk, runner):
            freezes = frozen(monkeypatch, desk, runner)
            running = asyncio.create_task(runner.run())
            await freezes.wait()
            await asyncio.sleep(LEASE + 1)
            assert await desk.store.bulks.take(HELD, "heir", 2 * 3600) is not None

            await running

            assert desk.asked == []
            assert (await found(desk.store.bulks, "one")).runner == "heir"

    virtually(main())


def test_whoever_was_frozen_and_missed_by_nobody_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with begun(50, 1000.0) as (desk, runner):
            frozen(monkeypatch, desk, runner)

            await runner.run()

            assert len(desk.asked) == 50
            assert (await found(desk.store.bulks, "one")).state == Stand.DONE

    virtually(main())


def test_those_that_a_pause_left_out_of_a_batch_come_when_it_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    at_these(monkeypatch, 0.0, 5.0, 6.0, 7.0)

    async def main() -> None:
        async with begun(4, 4.0) as (desk, runner):
            desk.slow["s1"] = 4.0
            running = asyncio.create_task(runner.run())
            await asyncio.sleep(2)
            await move(desk.store.bulks, "one", Move.PAUSE, actor="bob")
            await asyncio.sleep(1.5)
            await move(desk.store.bulks, "one", Move.RESUME, actor="bob")
            await running

            row = await found(desk.store.bulks, "one")
            assert (row.state, row.done) == (Stand.DONE, 4)
            assert desk.names == ["s1", "s2", "s3", "s4"]

    virtually(main())


def test_one_that_is_cancelled_while_its_store_is_away_asks_nobody_when_that_is_back() -> None:
    async def main() -> None:
        async with begun(3, 1000.0) as (desk, runner):
            desk.away_until = asyncio.get_running_loop().time() + 8
            running = asyncio.create_task(runner.run())
            await asyncio.sleep(3)
            await move(desk.store.bulks, "one", Move.CANCEL, actor="bob")

            await running

            assert desk.asked == []
            row = await found(desk.store.bulks, "one")
            assert (row.runner, row.failed) == ("runner", 0)  # a try may have come through: that is looked for
            await asyncio.sleep(1)
            left = await desk.store.bulks.take_left((Stand.CANCELLED,), "heir", LEASE)
            assert left is not None
            await settle(desk, left, "heir")
            assert (await found(desk.store.bulks, "one")).runner is None

    virtually(main())


async def not_answered(desk: Desk, count: int) -> None:
    """The first sagas are down as not answered, though no act has reached them."""
    silent = [TargetResult(n, "not answered", "") for n in range(1, count + 1)]
    assert await desk.store.bulks.record("one", "runner", silent, Counts(0, 0, count), LEASE)


def test_those_whom_no_act_has_reached_are_asked_at_the_end_no_faster_than_was_said() -> None:
    async def main() -> list[float]:
        async with begun(5, 2.0) as (desk, runner):
            await not_answered(desk, 5)

            await runner.run()

            row = await found(desk.store.bulks, "one")
            assert (row.state, row.done, row.failed) == (Stand.DONE, 5, 0)
            return [moment for _, moment in desk.asked]

    moments = virtually(main())

    assert len(moments) == 5
    assert all(place / 2 - 0.001 <= moment <= (place + 1) / 2 + 0.001 for place, moment in enumerate(moments))


def test_those_that_a_pause_left_out_at_the_end_come_when_it_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    at_these(monkeypatch, 0.0, 5.0, 6.0, 7.0)

    async def main() -> None:
        async with begun(4, 4.0) as (desk, runner):
            await not_answered(desk, 4)
            desk.slow["s1"] = 4.0
            running = asyncio.create_task(runner.run())
            await asyncio.sleep(2)
            await move(desk.store.bulks, "one", Move.PAUSE, actor="bob")
            await asyncio.sleep(1.5)
            await move(desk.store.bulks, "one", Move.RESUME, actor="bob")
            await running

            row = await found(desk.store.bulks, "one")
            assert (row.state, row.done) == (Stand.DONE, 4)
            assert desk.names == ["s1", "s2", "s3", "s4"]

    virtually(main())


def test_whoever_takes_one_for_given_up_does_not_cancel_what_was_counted_to_the_end_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with begun(2, 1000.0, Stand.COUNTING) as (desk, runner):
            bulks = desk.store.bulks
            look = bulks.get

            async def get(key: str) -> BulkRow | None:
                row = await look(key)
                monkeypatch.setattr(bulks, "get", look)
                await move(bulks, "one", Move.COUNTED, actor="ada", total=2)
                return row

            monkeypatch.setattr(bulks, "get", get)
            await runner.run()

            row = await found(bulks, "one")
            assert (row.state, row.runner) == (Stand.RUNNING, None)
            assert desk.asked == []

    virtually(main())


def test_an_act_has_the_mark_of_its_operation_in_its_id_and_one_from_before_marks_has_the_id_it_had() -> None:
    assert act_id(Order("unpark", "ada"), "repair", 7) == "bulk/repair/7"
    assert act_id(Order("unpark", "ada", mark="m1"), "repair", 7) == "bulk/repair/m1/7"
