"""A process that is frozen in the middle of a step's transaction, where no time-out of PostgreSQL reaches."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from amends.store import effects_postgres as effects
from amends.store.effects_asyncpg import AsyncpgLender, Transaction
from amends.store.postgres_errors import FAILED
from amends.store.postgres_place import place_of

KEY = ("default", b"\x01" * 16, "book")
PATIENCE_SECONDS = 60.0


async def _arrived(lender: AsyncpgLender, seconds: float) -> Transaction:
    """A transaction that has the row of the step."""
    tx = await lender.lend()
    await tx.begin()
    try:
        await effects.limit(tx, effects.Limits(0.1, seconds))
        await effects.arrive(tx, KEY, 1, 1)
    except BaseException:
        await tx.give_back(sound=False)
        raise
    return tx


async def _two(url: str) -> tuple[AsyncpgLender, AsyncpgLender]:
    lenders = AsyncpgLender(place_of(url), 2), AsyncpgLender(place_of(url), 2)
    for lender in lenders:
        await lender.open()
    tx = await lenders[0].lend()
    await effects.upgrade(lenders[0])
    await tx.give_back(sound=True)
    return lenders


def test_who_is_frozen_between_asking_for_a_plan_and_running_it_loses_the_transaction_to_whoever_waits(
    postgres_url: str,
) -> None:
    """The server calls such a session active, and waits for it for ever."""

    async def story() -> None:
        one, other = await _two(postgres_url)
        frozen = await _arrived(one, 0.2)
        await frozen.given.prepare("SELECT 1")

        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    taken = await _arrived(other, 5.0)
                    break
                except asyncpg.LockNotAvailableError:
                    await effects.free(other)

        await taken.commit()
        await taken.give_back(sound=True)
        with pytest.raises(FAILED):
            await frozen.commit()
        await one.close()
        await other.close()

    asyncio.run(story())


def test_who_is_within_its_time_keeps_the_transaction(postgres_url: str) -> None:
    async def story() -> None:
        one, other = await _two(postgres_url)
        slow = await _arrived(one, 60.0)
        await slow.given.prepare("SELECT 1")

        with pytest.raises(asyncpg.LockNotAvailableError):
            await _arrived(other, 5.0)
        await effects.free(other)

        await slow.commit()
        await slow.give_back(sound=True)
        await one.close()
        await other.close()

    asyncio.run(story())
