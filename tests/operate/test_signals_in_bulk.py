"""One answer for all sagas that wait for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from bulk_scene import Job

from amends import Completed, Orchestrator, Saga, Settings, wait_for
from amends.operate.bulk import BulkAct
from amends.operate.operations import Operations
from amends.operate.values import Search, Trouble


def test_sagas_that_wait_for_the_same_answer_get_it_in_one_act() -> None:
    approved = Saga("approved", wait_for("approval", bool, reject_if=lambda answer: not answer), input=Job)
    yes = BulkAct("signal", "ada", "the far side is up", "approval", b"true", per_second=1000.0)

    async def main() -> None:
        async with Orchestrator("memory://", sagas=[approved], settings=Settings(poll_seconds=0.05)) as orchestrator:
            found = Operations(orchestrator.session)
            names = [f"trip-{number}" for number in range(5)]
            for name in names:
                await orchestrator.start(approved, Job(), id=name)
            async with asyncio.timeout(30):
                while not await all_wait(found, len(names)):
                    await asyncio.sleep(0.01)

            waiting = Search(troubles=(Trouble.WAITING,))
            plan = await found.bulk_plan(yes, waiting)
            wrong = await found.bulk_plan(replace(yes, result=b'"yes"'), waiting)
            ended = await found.bulk_run((await found.bulk_start(yes, waiting, id="go", expected=plan.total)).id)
            outcomes = [await orchestrator.handle(approved, name).outcome() for name in names]
            said = [line for line in (await found.show("trip-3")).history if line.actor]

            assert [(one.accepted, one.count) for one in plan.outcomes] == [(True, 5)]
            assert [(one.accepted, one.count) for one in wrong.outcomes] == [(False, 5)]
            assert (ended.state, ended.done) == ("done", 5)
            assert all(isinstance(outcome, Completed) for outcome in outcomes)
            assert {(line.actor, line.reason) for line in said} == {("ada", "the far side is up (bulk go)")}
            assert said[-1].text == "the signal approval is here: the far side is up (bulk go)"

    asyncio.run(main())


async def all_wait(found: Operations, count: int) -> bool:
    """Whether so many sagas wait for somebody."""
    return len((await found.stuck(troubles=[Trouble.WAITING])).lines) == count
