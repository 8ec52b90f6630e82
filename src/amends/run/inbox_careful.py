"""What may have taken its process down is done with care: counted durably before it is done, and alone.

A message that comes for the first time is none of this. One that comes again is counted before and uncounted
after; what was begun too often without an end is poison. What is merely of unknown origin, as all that waits
in a Kafka partition is to its new holder, is counted too, but is done alone only if it was counted before.

Guarantees: nothing takes more than `DEATHS_MAX` processes down, once it is counted.
Must not: count a drain, or a database that is away.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

from amends.errors import StoreError
from amends.run.gathering import Gathering
from amends.run.transactions import Transactions

DEATHS_MAX = 3


class Poison(Exception):
    """It was begun too often without an end."""


class Careful:
    """Of one participant."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._alone = asyncio.Lock()
        self._first = Gathering(transactions, "begin_first")
        self._ended = Gathering(transactions, "end_carefully")

    @asynccontextmanager
    async def done(self, parts: Sequence[str], *, again: bool) -> AsyncGenerator[bool, None]:
        """Something is done within; gives whether it is alone. parts: what is the same however often it comes. again:
        it is known to have come before. Raises Poison instead, and StoreError."""
        what = hashlib.blake2b("\n".join(parts).encode("utf-8", "replace"), digest_size=16).hexdigest()
        if not again and await self._first.of(what):
            async with self._uncounted(what):
                yield False
            return
        async with self._alone:  # counted within: who only waits must not be accused of what others do
            rows = await self._transactions.ask("begin_carefully", json.dumps([what]))
            if int(rows[0][1]) > DEATHS_MAX:
                raise Poison
            async with self._uncounted(what):
                yield True

    @asynccontextmanager
    async def _uncounted(self, what: str) -> AsyncGenerator[None, None]:
        """It comes to an end within, whichever: the process lives."""
        try:
            yield
        finally:
            with suppress(StoreError):  # then it counts as one death too many, of three
                await self._ended.of(what)
