"""`run`: start and wait in one go, and the same answers as from `start` and `outcome`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine import engine, virtually

from amends import Completed, Saga, sleep, step
from amends.errors import IdConflict

ran: list[int] = []


@step(readonly=True)
async def count(number: int) -> int:
    ran.append(number)
    await asyncio.sleep(1)
    return number + 1


once = Saga("once", count, input=int, output=count)
later = Saga("later", sleep(3600), count, input=int, output=count)


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


def test_runs_with_one_id_wait_for_one_saga() -> None:
    async def main() -> Any:
        async with engine(once) as orchestrator:
            return await asyncio.gather(*(orchestrator.run(once, 1, id="one") for _ in range(5)))

    assert virtually(main()) == [Completed(2)] * 5
    assert ran == [1]


@pytest.mark.parametrize("wait_seconds", [0.5, 10.0])
def test_a_run_under_the_id_of_another_input_is_refused_while_that_runs_and_after(wait_seconds: float) -> None:
    async def main() -> None:
        async with engine(once) as orchestrator:
            first = asyncio.create_task(orchestrator.run(once, 1, id="one"))
            await asyncio.sleep(wait_seconds)

            with pytest.raises(IdConflict, match="another input of once"):
                await orchestrator.run(once, 2, id="one")

            assert await first == Completed(2)

    virtually(main())
    assert ran == [1]


def test_a_run_sees_the_end_of_a_saga_that_left_the_memory_meanwhile() -> None:
    async def main() -> Any:
        async with engine(later) as orchestrator:
            running = asyncio.create_task(orchestrator.run(later, 1))
            await asyncio.sleep(60)
            worker = orchestrator.session.worker
            assert worker is not None
            assert not worker.lives
            return await running

    assert virtually(main()) == Completed(2)


def test_a_run_that_is_given_up_stops_the_waiting_and_not_the_saga() -> None:
    async def main() -> Any:
        async with engine(once) as orchestrator:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await orchestrator.run(once, 1, id="one")
            return await orchestrator.handle(once, "one").outcome()

    assert virtually(main()) == Completed(2)
