"""The virtual clock: time that costs nothing, and one order of things for one seed."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from amends.testing.virtual import Inline, Stalled, VirtualLoop, close, run_virtually

CENTURY_SECONDS = 100 * 365 * 24 * 3600.0


async def in_order(count: int) -> list[int]:
    """In which order callbacks run that are ready together."""
    seen: list[int] = []

    async def one(number: int) -> None:
        await asyncio.sleep(0)
        seen.append(number)

    await asyncio.gather(*(one(number) for number in range(count)))
    return seen


def test_a_sleep_takes_no_time_and_moves_the_clock_by_what_it_says() -> None:
    async def main() -> float:
        begin = asyncio.get_running_loop().time()
        await asyncio.sleep(3600.0)
        return asyncio.get_running_loop().time() - begin

    assert run_virtually(main()) == pytest.approx(3600.0)


@pytest.mark.parametrize("begin", [0.0, 2.0**24, CENTURY_SECONDS])
def test_timers_are_exact_however_late_it_is(begin: float) -> None:
    async def main() -> float:
        await asyncio.sleep(begin)
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(0.001)
        return asyncio.get_running_loop().time() - now

    assert run_virtually(main()) == pytest.approx(0.001, abs=1e-6)


def test_without_a_seed_what_is_ready_together_runs_in_the_order_in_which_it_came() -> None:
    assert run_virtually(in_order(50)) == list(range(50))


def test_with_a_seed_the_order_is_another_and_the_same_for_the_same_seed() -> None:
    orders = [run_virtually(in_order(50), Random(seed)) for seed in (1, 1, 2)]

    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert sorted(orders[0]) == list(range(50))


def test_waiting_for_what_never_comes_is_an_error_and_no_hang() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stalled):
        run_virtually(main())


def test_closing_ends_what_is_left_also_what_is_slow_to_go() -> None:
    ended: list[str] = []

    async def stubborn() -> None:
        try:
            await asyncio.sleep(1000.0)
        except asyncio.CancelledError:
            await asyncio.sleep(10.0)
            ended.append("stubborn")

    loop = VirtualLoop()
    task = loop.create_task(stubborn())
    loop.run_until_complete(asyncio.sleep(1.0))

    close(loop)

    assert task.done()
    assert ended == ["stubborn"]


def test_a_sync_function_runs_at_once_and_what_it_raises_is_its_result() -> None:
    def fail() -> None:
        raise ValueError("no")

    assert Inline().submit(lambda: 7).result() == 7
    with pytest.raises(ValueError, match="no"):
        Inline().submit(fail).result()
