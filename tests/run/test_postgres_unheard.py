"""A claim whose answer was lost may still be on its way when the worker looks for what it gave."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, cast

from postgres_scene import Gate, Order, User, on, user

from amends import Completed, Orchestrator
from amends.errors import StoreUnavailable
from amends.store.base import Loaded
from amends.store.postgres_line import SQL

MINE = "SELECT count(*) FROM amends.saga WHERE owner = $1"


class Unheard:
    """Has a worker's first claim that gives something end in a session of its own, which has not committed:
    as behind a server that waits for its standby, when the line to it is cut."""

    def __init__(self, orchestrator: Orchestrator, somebody: User) -> None:
        self.claimed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.looked = asyncio.Event()  # the worker has begun to find out
        self._store = cast("Any", orchestrator.session.store)
        self._somebody = somebody
        self._claim, self._renew, self._owned = self._store.claim, self._store.renew, self._store.owned
        self._store.claim, self._store.renew, self._store.owned = self.claim, self.renew, self.owned

    async def claim(self, worker: int, plans: Collection[int], limit: int) -> list[Loaded]:
        if not self.claimed.done():
            session = await self._somebody.begin(SQL["claim"], self._store._number, worker, sorted(plans), limit)
            if await session.fetchval(MINE, worker):
                self.claimed.set_result(session)
                raise StoreUnavailable("its answer is lost")
            await session.execute("ROLLBACK")
        found: list[Loaded] = await self._claim(worker, plans, limit)
        return found

    async def renew(self, *values: Any) -> Any:
        try:
            return await self._renew(*values)
        finally:
            self._seen()

    async def owned(self, *values: Any) -> Any:
        try:
            return await self._owned(*values)
        finally:
            self._seen()

    def _seen(self) -> None:
        if self.claimed.done():
            self.looked.set()


def test_a_claim_that_comes_through_after_its_answer_was_given_up_is_found_all_the_same(postgres_url: str) -> None:
    """It was owned by a worker that lives and does not know of it, so nobody would ever have taken it over."""

    async def main() -> None:
        gate = Gate()
        settings = {"poll_seconds": 0.2, "lease_seconds": 3600.0}
        async with on(postgres_url, gate.saga, **settings) as orchestrator, user(postgres_url) as somebody:
            unheard = Unheard(orchestrator, somebody)
            begun = await somebody.begin("SELECT 1")
            handle = await orchestrator.start(gate.saga, Order(), id="one", within=begun)
            await begun.execute("COMMIT")
            session = await unheard.claimed
            await unheard.looked.wait()
            await session.execute("COMMIT")

            assert await handle.outcome(timeout=30) == Completed(None)

    asyncio.run(main())
