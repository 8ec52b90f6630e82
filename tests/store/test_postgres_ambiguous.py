"""A batch that was written, and whose answer was lost: sent again, also among others, it is found written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from amends.errors import StoreUnavailable
from amends.store.base import Fate, Head, Write
from amends.store.postgres import PostgresStore
from amends.testing.store_suite.rig import Rig
from services.proxy import Proxy

COMMIT = b"), changed AS ("
WRITTEN = Fate.WRITTEN


def played(url: str, play: Callable[[Rig, Proxy], Awaitable[Any]]) -> Any:
    """Play with a rig behind a proxy."""

    async def main(proxy: Proxy) -> Any:
        first = PostgresStore(url, "default", migrate=True)
        await first.open(work=False)
        await first.close()
        async with Rig(lambda namespace: PostgresStore(proxy.url(url), namespace)) as rig:
            return await play(rig, proxy)

    with Proxy(url) as proxy:
        return asyncio.run(main(proxy))


async def cut(rig: Rig, proxy: Proxy, worker: int | None, writes: list[Write], match: bytes = COMMIT) -> None:
    """Write a batch whose answer is lost."""
    trap = proxy.swallow_next(match)
    with pytest.raises(StoreUnavailable):
        await rig.first_store.commit(worker, writes)
    assert trap.sprung


def test_the_same_batch_again_is_written(postgres_url: str) -> None:
    async def play(rig: Rig, proxy: Proxy) -> None:
        worker = await rig.worker()
        one, two = await rig.owned(worker), rig.saga()
        writes = [one.next(Head("parked", None, None)), two.first(owner=worker), two.next()]
        await cut(rig, proxy, worker, writes)
        before = await rig.head(one), await rig.head(two)

        assert await rig.first_store.commit(worker, writes) == [WRITTEN] * 3
        assert [len(await rig.rows(saga)) for saga in (one, two)] == [2, 2]
        assert (await rig.head(one), await rig.head(two)) == before

    played(postgres_url, play)


def test_a_batch_of_which_the_first_half_was_written_before_is_written(postgres_url: str) -> None:
    async def play(rig: Rig, proxy: Proxy) -> None:
        worker = await rig.worker()
        one, two, new = await rig.owned(worker), await rig.owned(worker), rig.saga()
        half = [one.next(), new.first(owner=worker)]
        await cut(rig, proxy, worker, half)

        following = [one.next(Head("parked", None, None)), new.next(Head("completed", None, None)), two.next()]
        assert await rig.first_store.commit(worker, [*half, *following]) == [WRITTEN] * 5
        assert [len(await rig.rows(saga)) for saga in (one, two, new)] == [3, 2, 2]
        assert [(await rig.head(saga)).status for saga in (one, new)] == ["parked", "completed"]

    played(postgres_url, play)


def test_a_batch_written_before_by_a_registration_that_is_retired_since_is_not_called_written(
    postgres_url: str,
) -> None:
    """It is there; but whoever was retired drops what it holds and looks: it must not go on with it."""

    async def play(rig: Rig, proxy: Proxy) -> str:
        worker = await rig.worker()
        saga = await rig.owned(worker)
        write = saga.next()
        await cut(rig, proxy, worker, [write])
        await rig.first_store.deregister(worker, survived=False)
        try:
            await rig.first_store.commit(worker, [write])
        except Exception as error:  # noqa: BLE001  # its name is what is asked for
            return type(error).__name__
        return "written"

    assert played(postgres_url, play) == "Retired"


def test_a_clients_start_again_is_written_and_another_start_with_its_key_exists(postgres_url: str) -> None:
    async def play(rig: Rig, proxy: Proxy) -> None:
        saga, other = rig.saga("K"), rig.saga("K")
        first = saga.first(due=0.0)
        await cut(rig, proxy, None, [first], b"SELECT count(*), extract(epoch")

        fates = await rig.first_store.commit(None, [first, other.first(due=0.0), rig.saga().first(due=0.0)])
        assert fates == [WRITTEN, Fate.EXISTS, WRITTEN]

    played(postgres_url, play)


def test_a_batch_that_never_arrived_is_written_when_it_comes_again(postgres_url: str) -> None:
    async def play(rig: Rig, proxy: Proxy) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)
        write = saga.next()
        proxy.lose_next(COMMIT)
        with pytest.raises(StoreUnavailable):
            await rig.first_store.commit(worker, [write])
        assert len(await rig.rows(saga)) == 1
        assert await rig.first_store.commit(worker, [write]) == [WRITTEN]

    played(postgres_url, play)


def test_a_statement_that_is_cancelled_while_it_waits_leaves_nothing_for_the_next_one_to_read(
    postgres_url: str,
) -> None:
    async def play(rig: Rig, proxy: Proxy) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)
        proxy.freeze()
        write = saga.next()
        asking = asyncio.create_task(rig.first_store.commit(worker, [write]))
        _, pending = await asyncio.wait([asking], timeout=0.2)
        assert pending, "the network passes nothing on"
        asking.cancel()
        await asyncio.wait([asking])
        proxy.thaw()
        assert await rig.first_store.renew(worker, rig.info())
        assert await rig.first_store.commit(worker, [write]) == [WRITTEN]
        assert len(await rig.rows(saga)) == 2

    played(postgres_url, play)
