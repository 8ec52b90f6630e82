"""What may have taken its process down is done with care: noted durably before it is done, and alone.

A message that comes for the first time is none of this. One that comes again is noted before, with who does it, and
struck out after. A note whose author is dead counts as a death; too many make it poison. What somebody alive is at is
waited for. What is merely of unknown origin, as all that waits in a Kafka partition is to its new holder, is noted
too, but is done alone only if it was noted before; a death at it accuses nobody, as the others were in hand as well.

Guarantees: nothing takes more than `DEATHS_MAX` processes down, once it is noted; nobody alive counts as a death.
Must not: count a drain, or a database that is away.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from amends.errors import StoreError
from amends.run import lives
from amends.run.gathering import Gathering
from amends.run.lives import Life
from amends.run.transactions import Transactions

DEATHS_MAX = 3
SIGN_SECONDS = 5.0  # between two signs of life
SILENT_SECONDS = 30.0  # beyond twice the time-out of a handler, which may hold the loop up
PARKED_SECONDS = 60.0  # for so long the verdict stands: its sender may ask again before it hears of it
LOOK_SECONDS_MAX = 2.0  # between two looks no more counts as silence: while nobody could look, nobody could give a sign
T = TypeVar("T")
_log = logging.getLogger("amends.inbox")


class Poison(Exception):
    """It took too many processes down."""


class Held(Exception):
    """Somebody alive is at it."""


@dataclass(slots=True)
class Care:
    """Something that is to be done with care, and who is about to.

    parts: what is the same however often it comes. again: it is known to have come before. timeout: of its handler.
    asked_at: an instant of the sender; what was asked for before it was found to be poison, or soon after, is so still.
    """

    parts: Sequence[str]
    again: bool
    timeout: float
    asked_at: float = math.inf
    who: str = field(default_factory=lives.somebody)
    _seen: object = field(init=False, default=None)
    _silent: float = field(init=False, default=0.0)
    _looked: float = field(init=False, default=0.0)

    @property
    def what(self) -> str:
        """Its name in the database, of 32 characters."""
        return hashlib.blake2b("\n".join(self.parts).encode("utf-8", "replace"), digest_size=16).hexdigest()

    @property
    def note(self) -> str:
        """The same, and who is about to do it."""
        return self.what + self.who

    def is_silent(self, sign: object, now: float) -> bool:
        """Whether this has been the last sign of life for too long, by the looks of whoever waits here alone."""
        if self._seen != sign:
            self._seen, self._silent = sign, 0.0
        else:
            self._silent += min(now - self._looked, LOOK_SECONDS_MAX)
        self._looked = now
        return self._silent > 2 * self.timeout + SILENT_SECONDS


class Careful:
    """Of one participant."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._alone = asyncio.Lock()
        self._first = Gathering(transactions, "begin_first")
        self._ended = Gathering(transactions, "end_carefully")
        self._left = Gathering(transactions, "leave_carefully")
        self._notes: set[str] = set()
        self._unstruck: set[str] = set()  # that may be there though nobody is at it: the database was away

    @asynccontextmanager
    async def done(self, care: Care) -> AsyncGenerator[bool, None]:
        """Something is done within; gives whether it is alone. Raises Poison and Held instead, and StoreError."""
        with lives.at_it(care.who):
            if not care.again and await self._begun(care, self._first.of(care.note)):
                async with self._noted(care):
                    yield False
                return
            async with self._alone:  # noted within: who only waits is not at it
                seen = await self._look(care)
                if not await self._begun(care, self._transactions.ask("take_carefully", care.what, care.who, *seen)):
                    raise Held
                async with self._noted(care):
                    yield True

    async def _look(self, care: Care) -> tuple[int, str, float]:
        """How many have died at it, who was at it last, and their last sign of life. Raises Poison and Held."""
        rows = await self._transactions.ask("look_carefully", care.what)
        deaths, before, sign, parked = rows[0] if rows else (0, "", 0.0, 0.0)
        if parked and care.asked_at <= parked + PARKED_SECONDS:
            raise Poison
        now = asyncio.get_running_loop().time()
        life = Life.ENDED if before == care.who else lives.life(before)  # its own, where the answer was lost
        if life in (Life.AT_IT, Life.ELSEWHERE) and not care.is_silent((before, sign), now):
            raise Held
        # Who is silent for so long is frozen, where that can be seen. Elsewhere nobody can know, and most are dead.
        deaths = max(int(deaths) + (life in (Life.DEAD, Life.ELSEWHERE)), 0)
        if deaths >= DEATHS_MAX:
            with suppress(StoreError):  # then whoever asks next is told the same
                await self._transactions.ask("park_carefully", care.what, before)
            raise Poison
        return deaths, before, float(sign)

    async def _begun(self, care: Care, begin: Awaitable[T]) -> T:
        """What came of noting it. Where the answer is lost it may be noted all the same."""
        self._unstruck.discard(care.note)
        try:
            return await begin
        except BaseException:
            self._unstruck.add(care.note)
            raise

    @asynccontextmanager
    async def _noted(self, care: Care) -> AsyncGenerator[None, None]:
        """It comes to an end within, whichever, or is left to others: the process lives."""
        self._notes.add(care.note)
        struck = self._left
        try:
            yield
            struck = self._ended
        finally:
            self._notes.discard(care.note)
            self._unstruck.add(care.note)
            with suppress(StoreError):
                await struck.of(care.note)
                self._unstruck.discard(care.note)

    async def run(self) -> None:
        """Give signs of life, to those who cannot see this process, until cancelled."""
        while True:
            await asyncio.sleep(SIGN_SECONDS)
            try:
                await self.sign()
            except StoreError as error:
                _log.info("no sign of life could be given: %s", error)
            except Exception:  # noqa: BLE001  # the next one, perhaps
                _log.exception("no sign of life could be given: this is a bug in amends")

    async def sign(self) -> None:
        """Give one sign of life; strike out what could not be before. Raises StoreError."""
        if self._notes:
            await self._transactions.ask("sign_carefully", json.dumps(sorted(self._notes)))
        if self._unstruck:
            notes = sorted(self._unstruck)
            await self._transactions.ask("end_carefully", json.dumps(notes))
            self._unstruck.difference_update(notes)
