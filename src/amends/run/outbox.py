"""The outbox: events that were committed with what caused them, on their way to the broker.

What was just committed here is published from memory, at once. The sweep takes what is left: by row state,
never behind a cursor, so a transaction that commits late is not passed over.

Guarantees: a row is settled only after the broker has confirmed it, and where there is none only after everybody
has handled it, since what is in memory is gone with the process; of one key, events are published first in
the order of their rows.
Must not: write what an event says; `outbox_rows.py` does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from amends import fault
from amends.errors import StoreError
from amends.observe.events import EventPublished
from amends.observe.hub import OFF, Hub
from amends.run.gathering import Gathering
from amends.run.outbox_rows import EventRow, given_to, message_of, numbered, row_from
from amends.run.progress import Teller
from amends.run.sender import Sender
from amends.run.transactions import Transactions
from amends.transport.base import Destination
from amends.transport.names import commands_of, events_of

GRACE_SECONDS = 5.0  # what is younger is on its way from memory
CLAIM_SECONDS = 30.0  # so long nobody else takes what a sweep has claimed
SWEEP_SECONDS = 2.5
BATCH = 500
MEMORY_MAX = 10_000  # events that wait in memory for their turn; the rest is left to the sweep
REMEMBERED_MAX = 20_000  # settled ones that a later row may still have seen open
LOOKS_SECONDS = (0.02, 0.1, 0.5)  # when to look for events of a transaction that says nothing when it commits
COMPANY_SECONDS = 0.1  # what was published is struck out together; after a crash it only goes out once more
TOLD_SECONDS = (0.001, *LOOKS_SECONDS)  # and of one that does, though perhaps a moment before
SETTLE_PAUSE_SECONDS = 0.5
Earlier = Mapping[str, Iterable[int]]
_log = logging.getLogger("amends.outbox")


class Outbox:
    """Of one participant. published: how many the broker has confirmed. refused: why it will not take one.
    teller: of what whoever watches is told."""

    def __init__(
        self,
        transactions: Transactions,
        sender: Sender,
        service: str,
        teller: Teller | None = None,
        hub: Hub = OFF,
    ) -> None:
        self._transactions = transactions
        self._sender = sender
        self._service = service
        self._teller = teller
        self._hub = hub
        self._to = events_of(service)
        self._settling = Gathering(transactions, "settle", COMPANY_SECONDS)
        self._open: set[int] = set()  # in memory, not settled
        self._chains: dict[str, deque[EventRow]] = {}  # by key; the first of each is on its way
        self._settled: OrderedDict[int, None] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._unhandled: set[asyncio.Task[None]] = set()  # nobody waits for these when the participant leaves
        self._swept = asyncio.Event()
        self.published: int = 0
        self.refused: str = ""
        self.failed: str = ""

    # From memory

    def committed(self, rows: Sequence[EventRow], earlier: Earlier) -> None:
        """Publish what was just committed. earlier: by key, the rows before these that were not settled then."""
        if len(self._open) + len(rows) > MEMORY_MAX:
            return
        for row in rows:
            if row.number in self._open or row.number in self._settled:
                continue
            before = [number for number in earlier.get(row.line, ()) if row.line and number < row.number]
            if all(number in self._open or number in self._settled for number in before):
                self._take(row)

    async def send(self, rows: Sequence[EventRow]) -> None:
        """Write rows, and publish them. Raises StoreError."""
        written = await self._transactions.ask("publish", given_to(rows, self._service))
        self.committed(numbered(rows, written, time.time()), {})

    async def look(self, numbers: Sequence[int]) -> bool:
        """Publish those of these events that are committed; whether all are. Raises StoreError."""
        rows = [row_from(row) for row in await self._transactions.ask("look", json.dumps(list(numbers)))]
        keys = sorted({row.line for row in rows if row.line})
        earlier: dict[str, list[int]] = {}
        if keys:
            found = await self._transactions.ask("earlier", self._service, json.dumps(keys), rows[-1].number)
            for key, number in found:
                earlier.setdefault(str(key), []).append(int(number))
        self.committed(rows, earlier)
        return len(rows) == len(numbers)

    def look_soon(self, numbers: Sequence[int], delays: Sequence[float] = LOOKS_SECONDS) -> None:
        """The same, a little later and later still."""
        self._spawn(self._look_soon(numbers, delays))

    async def _look_soon(self, numbers: Sequence[int], delays: Sequence[float]) -> None:
        for delay in delays:
            await asyncio.sleep(delay)
            try:
                if await self.look(numbers):
                    return
            except StoreError:
                return  # the sweep comes

    def _take(self, row: EventRow) -> None:
        self._open.add(row.number)
        if row.line:
            chain = self._chains.setdefault(row.line, deque())
            chain.append(row)
            if len(chain) > 1:
                return
        self._spawn(self._publish(row))

    async def _publish(self, row: EventRow) -> None:
        """One event, and, once it is confirmed, the next of its key."""
        message = message_of(row, self._service)
        told = None if self._teller is None else self._teller.beside(message)
        error = await self._sender.send(self._place(row), message)
        if error is not None:
            self.refused = f"{row.type}: {error}"
            _log.error("an event is not published and stays in the outbox: %s", self.refused)
            self._let_go(row)
            return
        fault.point("publish.after")
        self.published += 1
        if self._hub.on:
            now = time.time()
            lag = max(now - row.at, 0.0) if row.at else 0.0
            self._hub.tell(EventPublished(self._service, now, row.type, lag))
        self.refused = ""
        chain = self._chains.get(row.line) if row.line else None
        if chain is not None:
            chain.popleft()
            if chain:
                self._spawn(self._publish(chain[0]))
            else:
                del self._chains[row.line]
        if self._sender.forgetful:
            self._spawn(self._settle_handled(row), self._unhandled)
            return
        if self._teller is not None:
            await self._teller.confirmed(told)
        await self._settle(row.number)

    def _place(self, row: EventRow) -> Destination:
        return commands_of(row.to) if row.to else self._to

    async def _settle_handled(self, row: EventRow) -> None:
        await self._sender.handled(self._place(row), row.id)
        self._spawn(self._settle(row.number))

    async def _settle(self, number: int) -> None:
        while True:
            try:
                await self._settling.of(number)
                break
            except StoreError as error:
                self.failed = str(error)
                await asyncio.sleep(SETTLE_PAUSE_SECONDS)
        self.failed = ""
        self._settled[number] = None
        self._open.discard(number)
        if len(self._settled) > REMEMBERED_MAX:
            self._settled.popitem(last=False)

    def _let_go(self, row: EventRow) -> None:
        """It stays in the outbox, and with it what comes after it."""
        for one in self._chains.pop(row.line, [row]) if row.line else [row]:
            self._open.discard(one.number)

    # The sweep

    async def run(self) -> None:
        """Sweep now and then, until cancelled."""
        if self._sender.forgetful:
            await asyncio.sleep(GRACE_SECONDS)  # those who are hosted beside this listen by then
        while True:
            try:
                full = await self.sweep(GRACE_SECONDS)
                self.failed = ""
            except StoreError as error:
                full = False
                if not self.failed:
                    _log.warning("the outbox cannot be looked at: %s", error)
                self.failed = str(error)
            except Exception as error:  # noqa: BLE001  # whatever it is, events wait for this
                full, self.failed = False, f"{type(error).__name__}: {error}"
                _log.exception("the outbox cannot be looked at: this is a bug in amends")
            if not full:
                await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self, grace_seconds: float) -> bool:
        """Publish what is older than a grace and nobody has in hand; whether there may be more. Raises StoreError."""
        if len(self._open) >= MEMORY_MAX or self._sender.away:
            return False  # what is claimed now would wait here
        found = await self._transactions.ask("claim", self._service, grace_seconds, CLAIM_SECONDS, BATCH)
        rows = sorted((row_from(row) for row in found), key=lambda row: row.number)
        for row in rows:
            self._settled.pop(row.number, None)  # it is to be published again
            if row.number not in self._open:
                self._take(row)
        return len(rows) == BATCH

    # Coming and going

    async def drain(self, seconds: float) -> None:
        """Let what is on its way be confirmed and settled, for a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._tasks:
                    await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Publish nothing more."""
        tasks = [*self._tasks, *self._unhandled]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _spawn(self, job: Coroutine[Any, Any, None], among: set[asyncio.Task[None]] | None = None) -> None:
        tasks = self._tasks if among is None else among
        task = asyncio.get_running_loop().create_task(job)
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def republish(transactions: Transactions, service: str, since: float) -> int:
    """Have what was published since an instant published again, in its order, by whoever works; gives how many events
    that are. Subscribers that have handled them do not again. Raises StoreError."""
    until = float((await transactions.ask("now"))[0][0])
    total = 0
    while True:
        count = len(await transactions.ask("republish", service, since, until, BATCH))
        total += count
        if count < BATCH:
            return total
