"""Operations, as a program uses them: on an orchestrator's own session and on a database alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from amends import Completed, Orchestrator, Park, Saga, Settings, for_each, parallel, step, wait_for
from amends.errors import NotAnswered, Refused, TooLate, UnknownSaga, ValueRefused
from amends.operate import health
from amends.operate.operations import Operations, operations
from amends.operate.values import Trouble


@dataclass(frozen=True)
class Job:
    size: int = 1


@dataclass(frozen=True)
class Answer:
    yes: bool


class Switch:
    """Whether the far side is there."""

    down = True


@step
async def work(job: Job) -> int:
    if Switch.down:
        raise Park("the far side is down")
    return job.size


@work.compensation
async def undo_work() -> None: ...


def sizes(job: Job) -> list[int]:
    return list(range(job.size))


@step
async def erase(number: int) -> int:
    return number * 2


@erase.compensation
async def unerase(number: int) -> None: ...


answer = wait_for("answer", Answer)
jobs = Saga("jobs", work, input=Job, output=work)
asks = Saga("asks", answer, input=Job)
many_step = for_each(erase, over=sizes)
many = Saga("many", many_step, input=Job, output=many_step)
both = Saga("both", parallel(work, answer), input=Job)
SAGAS = [jobs, asks, many, both]


@pytest.fixture(autouse=True)
def down() -> None:
    """The far side is down until a test says otherwise."""
    Switch.down = True


@asynccontextmanager
async def working(
    database: str = "memory://", **settings: float
) -> AsyncGenerator[tuple[Orchestrator, Operations], None]:
    """An orchestrator at work, and operations on its own session."""
    orchestrator = Orchestrator(database, sagas=SAGAS, settings=Settings(**settings))  # type: ignore[arg-type]  # floats
    async with orchestrator:
        yield orchestrator, Operations(orchestrator.session)


def test_operations_on_the_session_that_works_read_and_act() -> None:
    async def main() -> None:
        async with working() as (orchestrator, found):
            await orchestrator.run(jobs, Job(), id="job-1")
            view = await found.show("job-1")
            assert (view.line.status, view.line.saga, view.line.reason) == (
                "parked",
                "jobs",
                "work: the far side is down",
            )
            Switch.down = False

            given = await found.retry("job-1", "work", actor="ada", reason="it is up")

            assert (given.id, given.verb, given.step, given.detail) == ("job-1", "retry", "work", "")
            assert await orchestrator.handle(jobs, "job-1").outcome() == Completed(1)
            acted = [line for line in await found.history("job-1") if line.event == "operated"]
            assert [(line.actor, line.reason) for line in acted] == [("ada", "it is up")]

    asyncio.run(main())


def test_a_database_alone_is_enough(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"

    async def main() -> None:
        async with working(url) as (orchestrator, _), operations(url) as found:
            await orchestrator.run(jobs, Job(), id="job-1")
            await found.resolve("job-1", "work", actor="ada", reason="by hand", result=b"5")
            outcome = await orchestrator.handle(jobs, "job-1").outcome()
            view = await found.show("job-1")

        assert outcome == Completed(5, ("work",))
        assert (view.result, view.closed) == (b"5", ("work",))

    asyncio.run(main())


def test_pages_of_sagas_meet_without_gaps_and_without_doubles() -> None:
    async def main() -> None:
        async with working() as (orchestrator, found):
            for number in range(7):
                await orchestrator.start(asks, Job(), id=f"ask-{number}")
            all_of_them = [line.id for line in (await found.find()).sagas]
            seen: list[str] = []
            more, before = True, None
            while more:
                page = await found.find(limit=3, before=before)
                seen += [line.id for line in page.sagas]
                more, before = page.more, seen[-1]

        assert seen == all_of_them
        assert sorted(seen) == [f"ask-{number}" for number in range(7)]

    asyncio.run(main())


def test_what_is_not_there_is_unknown() -> None:
    async def main() -> None:
        async with working() as (_, found):
            with pytest.raises(
                UnknownSaga, match="no saga in this database is called 'jbos'; there are: asks, both, jobs, many"
            ):
                await found.find(sagas=["jbos"])
            with pytest.raises(UnknownSaga):
                await found.find(before="nobody")
            with pytest.raises(UnknownSaga):
                await found.show("nobody")
            with pytest.raises(UnknownSaga):
                await found.cancel("nobody", actor="ada", reason="x")
            with pytest.raises(ValueRefused):
                await found.cancel("a\nb", actor="ada", reason="x")

    asyncio.run(main())


def test_an_act_that_comes_too_late_or_does_not_fit_is_refused_with_its_reason() -> None:
    async def main() -> None:
        async with working() as (orchestrator, found):
            await orchestrator.run(jobs, Job(), id="job-1")
            with pytest.raises(Refused, match="the saga has no step 'wrk'; it has: work"):
                await found.retry("job-1", "wrk", actor="ada")
            with pytest.raises(Refused, match="needs its result"):
                await found.skip("job-1", "work", actor="ada", reason="x")
            await found.compensate("job-1", actor="ada", reason="x")
            await orchestrator.handle(jobs, "job-1").outcome()
            with pytest.raises(TooLate, match="the saga is compensated"):
                await found.unpark("job-1", actor="ada")

    asyncio.run(main())


def test_a_reason_is_bounded_and_cleaned_before_it_is_kept_for_good() -> None:
    async def main() -> None:
        async with working() as (orchestrator, found):
            await orchestrator.run(jobs, Job(), id="job-1")
            with pytest.raises(Refused, match="reason: 3000 characters, the limit is 2000"):
                await found.unpark("job-1", actor="ada", reason="x" * 3000)

            await found.compensate("job-1", actor="ada\x00", reason="half \ud800")

            acted = [line for line in await found.history("job-1") if line.event == "operated"]
            assert [(line.actor, line.reason) for line in acted] == [("ada\ufffd", "half ?")]

    asyncio.run(main())


def test_the_result_of_a_for_each_is_the_list_of_its_items() -> None:
    async def main() -> None:
        async with working() as (orchestrator, found):
            outcome = await orchestrator.run(many, Job(3), id="many-1")
            view = await found.show("many-1")

        assert outcome == Completed([0, 2, 4])
        assert view.result == b"[0,2,4]"
        assert [step.items for step in view.steps] == [(("succeeded", 3),)]

    asyncio.run(main())


def test_what_waits_for_somebody_is_told_with_its_kind() -> None:
    async def main() -> None:
        async with working(rest_seconds=0.01) as (orchestrator, found):
            await orchestrator.run(jobs, Job(), id="job-1")
            await orchestrator.start(asks, Job(), id="ask-1")
            until = asyncio.get_running_loop().time() + 30
            while len((page := await found.stuck()).lines) < 2:
                assert asyncio.get_running_loop().time() < until
                await asyncio.sleep(0.01)
            only = await found.stuck(troubles=[Trouble.WAITING])

        assert [(line.saga.id, line.trouble) for line in page.lines] == [
            ("job-1", Trouble.PARKED),
            ("ask-1", Trouble.WAITING),
        ]
        assert [line.saga.id for line in only.lines] == ["ask-1"]
        assert page.more is False

    asyncio.run(main())


def test_one_kind_of_trouble_is_found_behind_any_number_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LOOK_MAX", 2)

    async def main() -> None:
        async with working() as (orchestrator, found):
            await orchestrator.start(both, Job(), id="stuck-1")
            later = found.session.store.now() + 0.005  # ids of one millisecond stand in no order
            while found.session.store.now() < later:
                await asyncio.sleep(0)
            for number in range(5):
                await orchestrator.run(jobs, Job(), id=f"job-{number}")

            page = await found.stuck(limit=3, troubles=[Trouble.STUCK])

        assert [(line.saga.id, line.trouble, line.why) for line in page.lines] == [
            ("stuck-1", Trouble.STUCK, "work: the far side is down")
        ]

    asyncio.run(main())


def test_an_act_that_nobody_answers_says_so_in_time_and_is_done_later(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"

    async def main() -> None:
        async with working(url) as (orchestrator, _):
            await orchestrator.run(jobs, Job(), id="job-1")
        Switch.down = False
        async with operations(url, answer_seconds=0.1) as found:
            with pytest.raises(NotAnswered, match="is kept and will be answered"):
                await found.unpark("job-1", actor="ada")
            assert (await found.show("job-1")).waiting_mail == 1
        async with working(url) as (orchestrator, found):
            assert await orchestrator.handle(jobs, "job-1").outcome() == Completed(1)
            assert (await found.show("job-1")).waiting_mail == 0

    asyncio.run(main())


def test_a_store_that_is_away_cannot_hold_an_act_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"

    async def away(*_: object) -> None:
        await asyncio.sleep(3600)

    async def main() -> None:
        async with working(url) as (orchestrator, _):
            await orchestrator.run(jobs, Job(), id="job-1")
        async with operations(url, answer_seconds=0.1) as found:
            monkeypatch.setattr(found.session.store, "send", away)
            with pytest.raises(NotAnswered, match="could not be written"):
                await found.unpark("job-1", actor="ada")

    asyncio.run(main())


def test_doctor_names_the_worker_and_what_it_runs() -> None:
    async def main() -> None:
        async with working() as (_, found):
            findings = {finding.what: finding for finding in await found.doctor()}

        assert findings["workers"].level == "ok"
        assert findings["workers"].detail.endswith("runs asks, both, jobs, many")

    asyncio.run(main())
