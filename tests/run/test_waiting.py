"""Waiting: how soon a waiter hears, and what many waiters cost."""

from __future__ import annotations

import asyncio

from engine import virtually

from amends.run.waiting import LOOK_LAST_SECONDS, LOOKS_PER_SECOND, Waiting
from amends.store.memory import MemoryDatabase, MemoryStore

SECONDS = 30.0


class Crowd:
    """Some waiters, how often they look, and when they heard."""

    def __init__(self) -> None:
        self.waiting = Waiting(MemoryStore(MemoryDatabase()))
        self.looks = 0
        self.there = False

    async def wait(self, key: str) -> float:
        async def look() -> bool | None:
            self.looks += 1
            return self.there or None

        await self.waiting.until(key, look)
        return asyncio.get_running_loop().time()


def test_a_waiter_that_gets_no_hint_looks_for_itself_within_a_second() -> None:
    async def main() -> float:
        crowd = Crowd()
        waiter = asyncio.create_task(crowd.wait("one"))
        await asyncio.sleep(SECONDS)
        crowd.there = True
        began = asyncio.get_running_loop().time()
        return await waiter - began

    assert virtually(main()) <= LOOK_LAST_SECONDS


def test_many_waiters_together_do_not_look_more_often_than_the_store_bears() -> None:
    waiters = 3000

    async def main() -> int:
        crowd = Crowd()
        tasks = [asyncio.create_task(crowd.wait(f"s{number}")) for number in range(waiters)]
        await asyncio.sleep(SECONDS)
        crowd.there = True
        crowd.waiting.tell_all()
        await asyncio.gather(*tasks)
        return crowd.looks

    first_and_last = 2 * waiters
    assert virtually(main()) <= first_and_last + LOOKS_PER_SECOND * SECONDS
