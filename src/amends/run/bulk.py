"""Working at bulk operations: one saga after the other is asked, and what it answered is written down.

Each act is a mail with an id of its own, `bulk/<id>/<n>`: asked again, by whoever takes over from a runner that was
killed, it counts once and gives the answer that it gave.

Guarantees: no saga is acted on twice; whatever a runner dies of, another goes on where its results end. It goes no
faster than was said, at no beat, and stops by itself where nobody answers.
Must not: decide which sagas are meant: they were written down before anything was done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from amends.decide.bulk import (
    BATCH_MAX,
    HELD,
    PER_SECOND_MAX,
    Move,
    Result,
    Stand,
    Tally,
    batch_size,
    moments,
    nobody_answers,
    ruling,
    silence,
    tallied,
)
from amends.errors import (
    AmendsError,
    Changed,
    KeyMissing,
    NotAnswered,
    Refused,
    StoreDamaged,
    StoreError,
    TooLate,
    UnknownBulk,
    UnknownSaga,
)
from amends.run import mailbox
from amends.run.bulk_order import LogLine, encode, given, opened, order_of
from amends.run.config import Config
from amends.run.sealing import Seals
from amends.store.base import NewMail, Store
from amends.store.bulk import BulkRow, Bulks, Counts, TargetResult, TargetRow

ASK_SECONDS = 10.0  # for one answer: a saga that nobody runs must not hold the others up for long
TRIES = 20  # of a move that others get in the way of
AMENDS = "amends"  # who pauses and finishes
NOBODY = "nobody has answered for the last {} sagas: is a worker running? Their acts are kept. Resume to go on"
ORPHANED = "whoever began it has gone before its sagas were all written down; nothing was done"
_log = logging.getLogger("amends.bulk")


class Asker(Protocol):
    """Who asks sagas: a session."""

    config: Config
    store: Store
    seals: Seals | None

    async def ask(self, mail: NewMail) -> str:
        """Ask, and wait for the answer."""
        ...


async def found(bulks: Bulks, key: str) -> BulkRow:
    """A bulk operation. Raises UnknownBulk."""
    row = await bulks.get(key)
    if row is None:
        raise UnknownBulk(f"there is no bulk operation with the id {key!r} in this namespace; see `amends bulk list`")
    return row


async def move(
    bulks: Bulks,
    key: str,
    what: Move,
    *,
    actor: str,
    reason: str = "",
    if_version: int | None = None,
    total: int | None = None,
) -> BulkRow:
    """Have something happen to a bulk operation, as the rules allow. Raises UnknownBulk, Refused, Changed."""
    for _ in range(TRIES):
        row = await found(bulks, key)
        if if_version not in (None, row.version):
            raise Changed(
                f"the bulk operation {key} is at version {row.version} now, {row.state}, and you looked at "
                f"{if_version}: look again"
            )
        said = ruling(Stand(row.state), what)
        if said.why:
            raise Refused(f"the bulk operation {key}: {said.why}")
        if said.stand == row.state:
            return row
        if await bulks.move(key, row.version, said.stand, encode(LogLine(what, actor, reason)), total):
            return await found(bulks, key)
    raise NotAnswered(f"the bulk operation {key} changes all the time; try again")


class Runner:
    """Whoever works at one bulk operation, from taking it to letting go of it."""

    def __init__(self, session: Asker, row: BulkRow, name: str) -> None:
        self.row: BulkRow = row
        self._session = session
        self._bulks = session.store.bulks
        self._name = name
        self._lease = session.config.settings.lease_seconds
        self._order = order_of(row)
        self._sealed = True

    async def run(self, told: Callable[[BulkRow], object] | None = None) -> None:
        """Go on until it is not running any more, or is somebody else's. told: hears after each batch how far it is.
        Raises StoreError."""
        keeping = asyncio.get_running_loop().create_task(self._keep(), name="amends-bulk-lease")
        try:
            await self._go(told)
        finally:
            keeping.cancel()
            with suppress(StoreError):
                await self._bulks.keep(self.row.key, self._name, 0)

    async def _go(self, told: Callable[[BulkRow], object] | None) -> None:
        after = silent = 0
        while await self._mine():
            if self.row.state == Stand.COUNTING:
                await self._move(Move.CANCEL, ORPHANED)
                return
            if self._sealed and not await self._open():
                return
            targets = await self._bulks.targets(self.row.key, after, batch_size(self._order.per_second), ("",))
            if not targets:
                await self._finish(told)
                return
            results = await self._ask_all(targets, self._order.per_second)
            tally = await self._record(targets, None, results)
            if tally is None:
                return
            after, silent = targets[-1].n, silence(silent, (result for result, _ in results))
            if nobody_answers(silent, tally):
                await self._move(Move.PAUSE, NOBODY.format(silent))
                return
            await self._tell(told)

    async def _open(self) -> bool:
        """Whether this process can read what is to be done."""
        try:
            self._order = opened(self._order, self._session.seals, self.row.key)
        except (KeyMissing, StoreDamaged) as error:
            await self._move(Move.PAUSE, str(error))
            return False
        self._sealed = False
        return True

    async def _tell(self, told: Callable[[BulkRow], object] | None) -> None:
        if told is not None:
            told(await found(self._bulks, self.row.key))

    async def _mine(self) -> bool:
        row = await self._bulks.get(self.row.key)
        if row is None or row.runner != self._name or row.state not in HELD:
            return False
        self.row: BulkRow = row
        return True

    async def _keep(self) -> None:
        """Hold the lease while answers are waited for. Where that fails the work goes on: done twice it counts once."""
        while True:
            await asyncio.sleep(self._lease / 3)
            try:
                await self._bulks.keep(self.row.key, self._name, self._lease)
            except StoreError as error:
                _log.warning("the lease of the bulk operation %s is not extended: %s", self.row.key, error)

    async def _move(self, what: Move, reason: str = "") -> None:
        with suppress(Refused):  # a person was quicker
            await move(self._bulks, self.row.key, what, actor=AMENDS, reason=reason)

    # Asking

    async def _ask_all(self, targets: Sequence[TargetRow], per_second: float) -> list[tuple[Result, str]]:
        """What a batch answers, each in its turn."""
        shares = [self._session.config.chance.share() for _ in targets]
        when = moments(len(targets), per_second, shares)
        asked = (self._ask(target, moment) for target, moment in zip(targets, when, strict=True))
        said = await asyncio.gather(*asked, return_exceptions=True)
        answers: list[tuple[Result, str]] = []
        for one in said:
            if isinstance(one, BaseException):
                raise one
            answers.append(one)
        return answers

    async def _ask(self, target: TargetRow, moment: float) -> tuple[Result, str]:
        await asyncio.sleep(moment)
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return Result.ACCEPTED, await self._session.ask(self._mail(target))
        except StoreError:
            raise
        except (TimeoutError, NotAnswered):
            return Result.NOT_ANSWERED, "nobody has answered yet; it may still be done when a worker comes"
        except AmendsError as error:
            return _result_of(error), str(error).removeprefix(f"{target.saga}: ")

    def _mail(self, target: TargetRow) -> NewMail:
        order = self._order
        reason = f"{order.reason} (bulk {self.row.key})" if order.reason else f"bulk {self.row.key}"
        wish = mailbox.Wish(
            order.verb,
            order.step,
            order.actor,
            order.text if order.verb == "note" else reason,
            given(order.result),
            given(order.arguments),
            order.nothing_stayed,
            order.text if order.verb == "assign" else "",
            None if order.even_if_changed else target.version,
        )
        return mailbox.act_mail(target.saga, self._message(target), wish)

    def _message(self, target: TargetRow) -> str:
        return f"bulk/{self.row.key}/{target.n}"

    # Writing down

    async def _record(
        self, targets: Sequence[TargetRow], old: Result | None, results: Sequence[tuple[Result, str]]
    ) -> Tally | None:
        """How far it is with these results; None where it is somebody else's by now. old: what was known of them."""
        row = self.row
        tally = Tally(row.total, row.done, row.refused, row.failed)
        tally = tallied(tally, ((old, new) for new, _ in results))
        rows = [TargetResult(target.n, *result) for target, result in zip(targets, results, strict=True)]
        counts = Counts(tally.done, tally.refused, tally.failed)
        return tally if await self._bulks.record(row.key, self._name, rows, counts, self._lease) else None

    async def _finish(self, told: Callable[[BulkRow], object] | None) -> None:
        """All were asked. Those who had not answered then are asked once more, under the same id: they may have by
        now."""
        after = 0
        while await self._mine():
            late = await self._bulks.targets(self.row.key, after, BATCH_MAX, (Result.NOT_ANSWERED,))
            if not late:
                await self._move(Move.FINISH)
                return
            after = late[-1].n
            results = await self._ask_all(late, PER_SECOND_MAX)
            await self._record(late, Result.NOT_ANSWERED, results)
            await self._tell(told)


def _result_of(error: AmendsError) -> Result:
    if isinstance(error, UnknownSaga):
        return Result.GONE
    if isinstance(error, Changed):
        return Result.CHANGED
    return Result.TOO_LATE if isinstance(error, TooLate) else Result.REFUSED
