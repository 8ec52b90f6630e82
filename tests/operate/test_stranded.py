"""A saga that nobody runs is told as that, with the reason: in the list, in `show`, among the stuck, by the doctor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from engine import database, engine, virtually

from amends import Orchestrator, Saga, step, wait_for
from amends.errors import NotAnswered
from amends.operate import health
from amends.operate.operations import Operations, operations
from amends.operate.values import Trouble
from amends.run.crew import LATE_SECONDS, LEFT_SECONDS, Crew
from amends.store.base import PlanRow, SagaRow, WorkerRow
from amends.store.memory import MemoryDatabase, MemoryStore

A_YEAR = timedelta(days=365).total_seconds()


@step(readonly=True)
async def look(number: int) -> int:
    return number


@step(readonly=True)
async def stir(number: int) -> None: ...


answer = wait_for("answer", str)
asks_v1 = Saga("asks", look, answer, input=int)
asks_v2 = Saga("asks", answer, stir, input=int)  # what asks_v1 has done stands nowhere in it
other = Saga("other", answer, input=int)


@asynccontextmanager
async def looking(db: MemoryDatabase) -> AsyncGenerator[Operations]:
    """Operations on a database, by a client that knows no saga."""
    async with operations(Orchestrator(MemoryStore(db), sagas=()), answer_seconds=1) as found:
        yield found


async def asleep(orchestrator: Orchestrator, saga: Saga[int, Any], saga_id: str) -> None:
    """Start a saga, and wait until it only waits and belongs to nobody."""
    store = orchestrator.session.store
    await orchestrator.start(saga, 1, id=saga_id)
    for _ in range(1000):
        head = await store.head(saga_id)
        if head is not None and head.owner is None and head.status == "running":
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{saga_id} does not come to rest")


def test_a_saga_that_only_a_stopped_version_could_run_is_told_within_a_minute() -> None:
    async def main() -> None:
        db = database()
        async with looking(db) as found, engine(asks_v2, on=db):
            async with engine(asks_v1, other, on=db) as old:
                await asleep(old, asks_v1, "ask-1")
                await asleep(old, other, "other-1")
                await asyncio.sleep(30)
                both = await found.stuck(troubles=[Trouble.STALLED, Trouble.STRANDED])
                listed = (await found.find()).sagas
            await asyncio.sleep(60)
            alone = {line.saga.id: line for line in (await found.stuck()).lines}
            lines = {line.id: line for line in (await found.find()).sagas}
            findings = [finding for finding in await found.doctor() if finding.what == "stranded"]
            shown = await found.show("other-1")

        assert both.lines == ()
        assert [line.stalled + line.stranded for line in listed] == ["", ""]
        assert (alone["other-1"].trouble, alone["other-1"].why) == (Trouble.STRANDED, "no live worker runs 'other'")
        assert alone["ask-1"].trouble == Trouble.STALLED
        assert "look" in alone["ask-1"].why
        assert lines["other-1"].stranded == shown.line.stranded == "no live worker runs 'other'"
        assert lines["ask-1"].stalled == alone["ask-1"].why
        assert [(finding.level, finding.detail) for finding in findings] == [
            ("error", "1 of 'other' is open, and no live worker runs that saga")
        ]

    virtually(main())


def test_a_version_that_a_live_worker_has_is_stranded_by_no_other_that_comes_or_goes() -> None:
    async def main() -> None:
        db = database()
        async with looking(db) as found, engine(asks_v1, on=db) as old:
            await asleep(old, asks_v1, "ask-1")
            async with engine(asks_v2, on=db):
                await asyncio.sleep(70)
                during = (await found.find()).sagas
            await asyncio.sleep(70)
            after = (await found.find()).sagas
            await old.signal("ask-1", answer, "two")
            outcome = await old.handle(asks_v1, "ask-1").outcome()

        assert [line.stalled + line.stranded for line in (*during, *after)] == ["", ""]
        assert type(outcome).__name__ == "Completed"

    virtually(main())


def test_a_saga_that_no_worker_is_there_for_says_so_and_so_does_what_is_asked_of_it() -> None:
    async def main() -> None:
        db = database()
        async with engine(other, on=db) as orchestrator:
            await asleep(orchestrator, other, "other-1")
        async with looking(db) as found:
            line = (await found.find()).sagas[0]
            with pytest.raises(NotAnswered, match="Nobody runs the saga: no worker is alive"):
                await found.cancel("other-1", actor="ada", reason="enough")
            shown = await found.show("other-1")

        assert line.stranded == "no worker is alive"
        assert shown.waiting_mail == 1

    virtually(main())


def test_who_asks_something_of_a_stalled_saga_hears_that_it_is_stalled() -> None:
    async def main() -> None:
        db = database()
        async with engine(asks_v1, on=db) as old:
            await asleep(old, asks_v1, "ask-1")
        async with looking(db) as found, engine(asks_v2, on=db):
            await asyncio.sleep(30)
            with pytest.raises(NotAnswered, match=r"The saga is stalled: .*look"):
                await found.cancel("ask-1", actor="ada", reason="enough")

    virtually(main())


def test_a_worker_whose_lease_has_run_out_runs_nothing() -> None:
    async def main() -> None:
        db = database()
        async with looking(db) as found:
            worker = engine(other, on=db)
            await worker.__aenter__()
            await asleep(worker, other, "other-1")
            alive = (await found.find()).sagas[0].stranded
            running = worker.session.worker
            assert running is not None
            running.ownership.halt()  # it is frozen
            await asyncio.sleep(20)
            frozen = (await found.find()).sagas[0].stranded
            await worker.__aexit__(None, None, None)

        assert (alive, frozen) == ("", "no worker is alive")

    virtually(main())


def test_the_oldest_stranded_saga_is_found_behind_any_number_of_newer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LOOK_MAX", 2)

    async def main() -> None:
        db = database()
        async with engine(other, on=db) as orchestrator:
            await asleep(orchestrator, other, "other-1")
        async with looking(db) as found, engine(asks_v1, on=db) as orchestrator:
            for number in range(9):
                await asleep(orchestrator, asks_v1, f"ask-{number}")
            page = await found.stuck(limit=3, troubles=[Trouble.STRANDED])

        assert [line.saga.id for line in page.lines] == ["other-1"]
        assert page.more is False

    virtually(main())


def test_what_is_due_for_long_and_nobody_takes_is_stranded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        db = database()
        async with looking(db) as found, engine(other, asks_v1, on=db) as orchestrator:
            await asleep(orchestrator, other, "other-1")
            worker = orchestrator.session.worker
            assert worker is not None
            monkeypatch.setattr(type(worker), "room", 0)  # it is full, and stays so
            due = db.clock() + 10
            head = await orchestrator.session.store.head("other-1")
            assert head is not None
            db.put(head._replace(wake_at=due))
            await asyncio.sleep(10 + LATE_SECONDS - 5)
            soon = await found.stuck(troubles=[Trouble.STRANDED])
            await asyncio.sleep(10)
            late = await found.stuck(troubles=[Trouble.STRANDED])

        assert soon.lines == ()
        assert [(line.saga.id, line.why) for line in late.lines] == [
            ("other-1", "it is due for 65 s and no worker takes it")
        ]

    virtually(main())


def plan(number: int, name: str) -> PlanRow:
    """A registered plan."""
    return PlanRow(number, f"fingerprint-{number}", name, "{}")


def worker(number: int, *plans: int, left_at: float | None = None) -> WorkerRow:
    """A registration."""
    return WorkerRow(number, "host", 1, plans, 0.0, 1e9, left_at, False, left_at)


def saga(of: int, **given: Any) -> SagaRow:
    """An open saga that waits, begun at 0."""
    row = SagaRow(bytes(16), "s", of, "running", None, 1, A_YEAR, 0.0, 0.0, None, None, None, b"")
    return row._replace(**given)


PLANS = {1: plan(1, "order"), 2: plan(2, "order"), 3: plan(3, "trip")}
NOW = 1000.0


@pytest.mark.parametrize(
    ("left_at", "row", "why"),
    [
        (NOW - LEFT_SECONDS - 1, saga(1), "no live worker has its version of 'order', and none with another"),
        (NOW - LEFT_SECONDS + 1, saga(1), ""),
        (NOW - LEFT_SECONDS - 1, saga(1, created_at=NOW), ""),
        (NOW - LEFT_SECONDS - 1, saga(1, owner=2), ""),
        (NOW - LEFT_SECONDS - 1, saga(1, status="parked"), ""),
        (NOW - LEFT_SECONDS - 1, saga(1, status="completed"), ""),
        (NOW - LEFT_SECONDS - 1, saga(1, stalled="it does not fit"), ""),
        (NOW, saga(2), ""),
        (NOW, saga(3), "no live worker runs 'trip'"),
        (NOW, saga(3, status="parked"), "no live worker runs 'trip'"),
        (NOW, saga(2, wake_at=NOW - LATE_SECONDS - 1), "it is due for 61 s and no worker takes it"),
        (NOW, saga(2, wake_at=NOW - LATE_SECONDS + 1), ""),
    ],
)
def test_who_runs_a_saga_is_judged_by_plans_leases_and_retirements(left_at: float, row: SagaRow, why: str) -> None:
    gone, live = worker(1, 1, 2, left_at=left_at), worker(2, 2)

    crew = Crew(PLANS, [gone, live], [live], NOW)

    assert crew.nobody(row).startswith(why) if why else crew.nobody(row) == ""
    assert crew.strange == (3,)
    assert crew.left == ((1,) if left_at < NOW - LEFT_SECONDS else ())
