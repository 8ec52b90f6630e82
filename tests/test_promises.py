"""The seven promises, each by the running engine. The README links to these names."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from engine import Order, database, engine, status, until, virtually

from amends import (
    Compensated,
    Completed,
    Context,
    Orchestrator,
    Park,
    Parked,
    Reject,
    Retry,
    Saga,
    Settings,
    parallel,
    pivot,
    step,
    wait_for,
)
from amends import fault as faults
from amends.errors import TooLate
from amends.store.base import Fate
from amends.store.memory import MemoryDatabase, MemoryStore

SOON = Retry(attempts=3, first_delay=0.1)
ENDS: dict[str, Exception | None] = {
    "fine": None,
    "no": Reject("no"),
    "lost": ConnectionError("lost"),
    "person": Park("a person must look"),
    "bug": ZeroDivisionError("bug"),
}


class Shop:
    """Services with a ledger that tells what really happened; `trouble` says how a step behaves."""

    def __init__(self, **trouble: Exception | None) -> None:
        self.trouble = trouble
        self.effects: dict[str, str] = {}  # by key: the step whose effect stands
        self.undone: set[str] = set()
        self.calls: list[str] = []

    async def act(self, ctx: Context) -> None:
        """A keyed action; it happens before the answer is lost."""
        self.calls.append(ctx.address)
        error = self.trouble.get(ctx.address)
        if isinstance(error, (Reject, Park)):
            raise error
        if ctx.key not in self.undone:
            self.effects[ctx.key] = ctx.address
        await asyncio.sleep(0.01)
        if error is not None:
            raise error

    async def undo(self, ctx: Context) -> None:
        """Its compensation."""
        self.calls.append(f"undo {ctx.address}")
        error = self.trouble.get(f"undo {ctx.address}")
        if error is not None:
            raise error
        self.undone.add(ctx.action_key)
        self.effects.pop(ctx.action_key, None)

    def step(self, name: str, *, undoable: bool = True) -> Any:
        """A step of this shop."""

        @step(name=name, retry=SOON)
        async def action(ctx: Context) -> None:
            await self.act(ctx)

        if undoable:

            @action.compensation(retry=SOON)
            async def compensation(ctx: Context) -> None:
                await self.undo(ctx)

        return action

    def saga(self) -> Saga[Order, None]:
        """Two steps and two side by side, a pivot, and one behind it."""
        sides = parallel(self.step("c"), self.step("d"))
        return Saga("shop", self.step("a"), self.step("b"), sides, pivot(self.step("p", undoable=False)), input=Order)


@pytest.mark.parametrize("undo", ["fine", "lost", "person", "no"])
@pytest.mark.parametrize("end", list(ENDS))
@pytest.mark.parametrize("where", ["a", "b", "c", "p"])
def test_p1_a_started_saga_ends(where: str, end: str, undo: str) -> None:
    """Completed, compensated, or parked with the exact list of what is unsettled and why."""
    shop = Shop(**{where: ENDS[end], "undo a": ENDS[undo]})
    saga = shop.saga()

    async def main() -> Any:
        async with engine(saga) as orchestrator:
            return await orchestrator.run(saga, Order(), id="one")

    outcome = virtually(main())

    standing = set(shop.effects.values())
    if isinstance(outcome, Completed):
        assert standing == {"a", "b", "c", "d", "p"}
    elif isinstance(outcome, Compensated):
        assert standing == set()
    else:
        assert isinstance(outcome, Parked)
        assert outcome.reason
        assert {entry.step for entry in outcome.unsettled} >= standing, "what stands is on the list"
        assert all(entry.step in standing or entry.action in ("stuck", "unknown") for entry in outcome.unsettled)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("point", ["commit.before", "commit.after", "attempt.before", "attempt.after"])
@pytest.mark.parametrize("refused", [False, True])
def test_p2_one_effect_per_step(point: str, number: int, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker is lost at a fault point; another takes over. `tests/run/test_crash_sweep.py`
    does the same with real processes, at every pass of every point."""
    shop = Shop(p=Reject("no") if refused else None)
    saga = shop.saga()

    async def main() -> Any:
        on = database()
        first = engine(saga, on=on, settings=Settings(lease_seconds=15))
        await first._enter(work=True)
        lose_at(point, number, first, monkeypatch)
        starting = asyncio.create_task(first.start(saga, Order(), id="one"))
        await asyncio.sleep(60)
        assert faults.hook is None, "the worker was lost"
        starting.cancel()
        async with engine(saga, on=on, settings=Settings(lease_seconds=15)) as second:
            await second.start(saga, Order(), id="one")
            return await second.handle(saga, "one").outcome(timeout=600)

    outcome = virtually(main())

    standing = sorted(shop.effects.values())
    if isinstance(outcome, Completed):
        assert standing == ["a", "b", "c", "d", "p"]
    elif isinstance(outcome, Compensated):
        assert refused
        assert standing == []
    else:
        assert refused, "only a pivot that was lost and then says no is for a person"
        assert "an earlier attempt may have worked" in outcome.reason


def lose_at(point: str, number: int, orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the given pass of a fault point on, nothing of this worker reaches anybody."""
    session = orchestrator.session
    worker = session.worker
    assert worker is not None
    passed: list[str] = []

    def pass_by(name: str) -> None:
        passed.append(name)
        if name == point and passed.count(point) == number:
            monkeypatch.setattr(faults, "hook", None)
            assert worker.ownership._task is not None
            worker.ownership._task.cancel()
            worker._drop_all()
            if worker._committer is not None:
                worker._committer.close()
            session.store._open = False  # type: ignore[attr-defined]  # the memory store's connection

    monkeypatch.setattr(faults, "hook", pass_by)


@pytest.mark.parametrize("end", ["timeout", "lost", "bug"])
def test_p3_outcomes_are_honest(end: str) -> None:
    """What may have happened is `unknown`, and is compensated like success."""

    @step(retry=Retry(attempts=1), timeout=5)
    async def maybe() -> None:
        if end == "timeout":
            await asyncio.sleep(3600)
        raise ENDS[end] or RuntimeError

    @maybe.compensation
    async def undo_maybe(ctx: Context) -> None:
        undone.append(ctx.action_key)

    undone: list[str] = []
    saga = Saga("maybe", maybe, input=Order)

    async def main() -> Any:
        async with engine(saga) as orchestrator:
            return await orchestrator.run(saga, Order())

    outcome = virtually(main())
    assert isinstance(outcome, Compensated)
    assert outcome.cause == "unknown"
    assert len(undone) == 1


def test_p4_nothing_happens_before_it_is_written() -> None:
    """Whenever a function runs, what issued it is on disk, and so is every result it reads."""
    on: list[MemoryDatabase] = []
    told: list[bool] = []

    class Slow(MemoryStore):
        """Every commit takes a second, and is then there at once."""

        async def commit(self, worker: int | None, writes: Any) -> list[Fate]:
            await asyncio.sleep(1)
            return await super().commit(worker, writes)

    @step(readonly=True)
    async def number() -> int:
        return 42

    @step
    async def use(given: int, ctx: Context) -> None:
        rows = b"".join(row for _, row in on[0].journal[ctx.internal_id])
        told.append(b'["issued","use"' in rows and b'["succeeded","number",42]' in rows)

    @use.compensation
    async def unuse(ctx: Context) -> None:
        rows = b"".join(row for _, row in on[0].journal[ctx.internal_id])
        told.append(b'["issued","use","undo"]' in rows)

    @step
    async def no() -> None:
        raise Reject("no")

    saga = Saga("written", number, use, pivot(no), input=Order)

    async def main() -> Any:
        on.append(database())
        async with Orchestrator(Slow(on[0]), sagas=[saga]) as orchestrator:
            return await orchestrator.run(saga, Order())

    assert isinstance(virtually(main()), Compensated)
    assert told == [True, True]


def test_p5_the_pivot_holds() -> None:
    """Before it a saga finishes or goes back; behind it, only forward, whatever is asked."""
    tries: list[int] = []
    undone: list[str] = []

    @step
    async def before() -> None: ...

    @before.compensation
    async def unbefore() -> None:
        undone.append("before")

    @step(retry=Retry(attempts=2, first_delay=1))
    async def behind(ctx: Context) -> None:
        tries.append(ctx.attempt)
        if len(tries) < 20:
            raise ConnectionError("away")

    saga = Saga("pivoted", before, pivot, behind, input=Order, deadline=30)

    async def main() -> Any:
        async with engine(saga) as orchestrator:
            handle = await orchestrator.start(saga, Order(), id="one")
            await asyncio.sleep(5)
            with pytest.raises(TooLate):
                await orchestrator.cancel("one", reason="no more")
            return await handle.outcome()

    assert virtually(main()) == Completed(None)
    assert len(tries) == 20, "retried without end, also past its deadline"
    assert undone == []


class Paused(MemoryStore):
    """Its process does nothing at all while it is paused."""

    def __init__(self, on: MemoryDatabase) -> None:
        super().__init__(on)
        self.running, self.renewing = asyncio.Event(), asyncio.Event()
        self.running.set()
        self.renewing.set()
        self.refused = 0

    async def commit(self, worker: int | None, writes: Any) -> list[Fate]:
        await self.running.wait()
        try:
            return await super().commit(worker, writes)
        except Exception:
            self.refused += 1
            raise

    async def renew(self, worker: int, info: Any) -> bool:
        await self.renewing.wait()
        return await super().renew(worker, info)


def test_p6_a_worker_that_lost_its_lease_changes_nothing() -> None:
    """A paused worker comes back after another has taken over: nothing it decides is written."""
    effects: list[tuple[str, int]] = []
    hold = asyncio.Event()

    @step(retry=Retry(attempts=9, first_delay=0), timeout=10_000)
    async def slow(ctx: Context) -> None:
        effects.append((ctx.key, ctx.epoch))
        if ctx.epoch == 1:
            await hold.wait()

    @slow.compensation
    async def unslow() -> None: ...

    answer = wait_for("answer", Order)
    saga = Saga("leased", slow, answer, input=Order)

    async def main() -> None:
        on, lease = database(), Settings(lease_seconds=15)
        store = Paused(on)
        first = Orchestrator(store, sagas=[saga], settings=lease)
        async with first, engine(saga, on=on, settings=lease) as second:
            await first.start(saga, Order(), id="one")
            await until(lambda: bool(effects))
            store.running.clear()
            store.renewing.clear()
            await until(lambda: on.sagas[on.keys["one"]].epoch == 2)
            taken = list(on.journal[on.keys["one"]])

            hold.set()  # the old attempt returns, and what follows is on its way when the worker comes back
            await asyncio.sleep(1)
            store.running.set()
            await asyncio.sleep(1)
            store.renewing.set()
            await asyncio.sleep(60)

            rows = on.journal[on.keys["one"]]
            assert rows[: len(taken)] == taken
            assert {_worker_of(row) for _, row in rows[1:]} == {2}, "nothing of the first but the start"
            assert store.refused == 1
            assert await status(second, "one") == "running"

    virtually(main())
    assert len({key for key, _ in effects}) == 1


def _worker_of(row: bytes) -> int:
    return int(row.split(b",")[1])


def test_p7_a_deploy_strands_nobody_silently(caplog: pytest.LogCaptureFixture) -> None:
    """A saga whose plan no live worker can run is reported within a minute, and runs on when
    one can."""
    go = wait_for("go", Order)

    @step(name="work")
    async def work() -> None: ...

    @work.compensation
    async def unwork() -> None: ...

    old = Saga("renamed", work, go, input=Order)
    changed = Saga("kept", work.named("other"), go, input=Order)
    before = Saga("kept", work, go, input=Order)

    async def main() -> tuple[str | None, list[Any]]:
        on = database()
        async with engine(old, before, on=on) as first:
            await first.start(old, Order(), id="one")
            await first.start(before, Order(), id="two")
            await asyncio.sleep(5)
        async with engine(changed, on=on):  # the deploy
            await asyncio.sleep(60)
            stalled = on.sagas[on.keys["two"]].stalled
        async with engine(old, before, on=on) as third:
            for name in ("one", "two"):
                await third.signal(name, go, Order())
            return stalled, [await third.handle(saga, n).outcome() for saga, n in ((old, "one"), (before, "two"))]

    with caplog.at_level(logging.WARNING):
        stalled, outcomes = virtually(main())

    assert "1 of 'renamed' is running, and no live worker knows it" in caplog.text
    assert stalled is not None
    assert "work" in stalled, "the reason names the step"
    assert outcomes == [Completed(None), Completed(None)]
