"""A connection of our own whose other end is gone without a word is found out by the kernel."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import psycopg
import pytest

from amends.store.effects_asyncpg import AsyncpgLender
from amends.store.effects_psycopg import PsycopgLender
from amends.store.effects_sqlalchemy import _engine
from amends.store.postgres_place import place_of
from amends.store.postgres_socket import UNHEARD_SECONDS

KEEPS = hasattr(socket, "TCP_USER_TIMEOUT")


def bounded(made: socket.socket) -> bool:
    """Whether the kernel looks after it."""
    alive = made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    return bool(alive) and made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == UNHEARD_SECONDS * 1000


async def of_asyncpg(url: str) -> bool:
    """In a pool of our own."""
    lender = AsyncpgLender(place_of(url), 1)
    await lender.open()
    lent = await lender.lend()
    found = bounded(lent.given._con._transport.get_extra_info("socket"))
    await lent.give_back(sound=True)
    await lender.close()
    return found


async def of_sqlalchemy(url: str) -> bool:
    """In an engine of our own."""
    engine = _engine(place_of(url), 1, awaited=True)
    async with engine.connect() as connection:
        raw: Any = (await connection.get_raw_connection()).driver_connection
        assert isinstance(raw, asyncpg.Connection)
        found = bounded(raw._transport.get_extra_info("socket"))  # type: ignore[attr-defined]  # its own
    await engine.dispose()
    return found


async def of_psycopg(url: str) -> bool:
    """One of our own."""
    lender = PsycopgLender(place_of(url))
    lent = await lender.lend()
    raw: psycopg.Connection[Any] = lent.given
    with socket.socket(fileno=os.dup(raw.fileno())) as made:
        found = bounded(made)
    await lent.give_back(sound=False)
    return found


@pytest.mark.skipif(not KEEPS, reason="this system has no TCP_USER_TIMEOUT")
@pytest.mark.parametrize("made", [of_asyncpg, of_sqlalchemy, of_psycopg])
def test_the_kernel_ends_a_connection_whose_other_end_says_nothing_more(
    made: Callable[[str], Awaitable[bool]], postgres_url: str
) -> None:
    async def main() -> bool:
        return await made(postgres_url)

    assert asyncio.run(main())
