"""Working at bulk operations: one saga after the other is asked, and what it answered is written down.

Each act is a mail with an id of its own (`bulk_order.act_id`): asked again, by whoever takes over from a runner that
was killed, it counts once and gives the answer that it gave.

Guarantees: no saga is acted on twice; whatever a runner dies of, another goes on where its results end. It goes no
faster than was said, at no beat, and stops by itself where nobody answers. After a pause, a cancel or the loss of its
lease it asks nobody for longer than about a second, however long it waited or was frozen in between.
Must not: decide which sagas are meant: they were written down before anything was done.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from amends.decide.bulk import (
    BATCH_MAX,
    ENDED,
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
    span,
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
from amends.run.bulk_order import LogLine, act_id, encode, given, opened, order_of
from amends.run.config import Config
from amends.run.sealing import Seals
from amends.store.base import MailRow, NewMail, Store
from amends.store.bulk import BulkRow, Bulks, Counts, TargetResult, TargetRow

ASK_SECONDS = 10.0  # for one answer: a saga that nobody runs must not hold the others up for long
LOOK_SECONDS = 1.0  # how old the news may be that it is to go on
OVER_SECONDS = 0.001  # a lease that is over as soon as it is written
TRIES = 20  # of a move that others get in the way of
AMENDS = "amends"  # who pauses and finishes
NOBODY = "nobody has answered for the last {} sagas: is a worker running? Their acts are kept. Resume to go on"
ORPHANED = "whoever began it has gone before its sagas were all written down; nothing was done"
UNANSWERED = "nobody has answered yet; it may still be done when a worker comes"
TAKEN = "it was taken, and is answered when what the saga is in the middle of is over"
Said = tuple[Result, str]  # what became of a saga, and in words
_WORDS = {"changed": Result.CHANGED, "refused": Result.REFUSED, "too late": Result.TOO_LATE}
_log = logging.getLogger("amends.bulk")


class _Stopped(Exception):
    """It is not to go on, or not with this runner."""


class Asker(Protocol):
    """Who asks sagas: a session."""

    config: Config
    store: Store
    seals: Seals | None

    async def ask(self, mail: NewMail, *, before: Callable[[], Awaitable[None]] | None = None) -> str:
        """Ask, and wait for the answer. before: awaited before each try to send it."""
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


async def record(
    bulks: Bulks, row: BulkRow, runner: str, asked: Sequence[tuple[TargetRow, Said]], old: Result | None, lease: float
) -> Tally | None:
    """Write down what sagas have said; gives how far it is with that, None where it is another runner's by now. old:
    what was known of each. lease: the runner's next, in seconds."""
    before = Tally(row.total, row.done, row.refused, row.failed)
    if not asked:
        return before
    tally = tallied(before, ((old, result) for _, (result, _) in asked))
    rows = [TargetResult(target.n, *said) for target, said in asked]
    counts = Counts(tally.done, tally.refused, tally.failed)
    return tally if await bulks.record(row.key, runner, rows, counts, lease) else None


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
        self._in_hand = False  # sagas were asked, and what they said is not written down
        self._unsure = True  # some may have been asked, by whoever was before too: what became of that was not heard
        self._held = True
        self._seen = (0.0, 0.0)  # when it was looked at, by the store's clock and by the wall's
        self._looking = asyncio.Lock()

    async def run(self, told: Callable[[BulkRow], object] | None = None) -> None:
        """Go on until it is not running any more, or is somebody else's. told: hears after each batch how far it is.
        Raises StoreError.

        Whoever ends with a batch in hand leaves its name in the row, with a lease that is over: so what the batch has
        come to is looked for by whoever comes next, even if it is cancelled first. So does whoever leaves sagas behind
        that have not answered when it has ended.
        """
        keeping = asyncio.get_running_loop().create_task(self._keep(), name="amends-bulk-lease")
        try:
            await self._go(told)
        finally:
            keeping.cancel()
            with suppress(StoreError):
                row = await self._bulks.get(self.row.key)
                left = self._in_hand or self._unsure or (row is not None and row.state in ENDED and row.failed > 0)
                await self._bulks.keep(self.row.key, self._name, OVER_SECONDS if left else 0)

    async def _go(self, told: Callable[[BulkRow], object] | None) -> None:
        after, silent, taken = 0, 0, False
        while await self._mine():
            if self.row.state == Stand.COUNTING:
                self._unsure = False  # nobody is asked before all are written down
                await self._move(Move.CANCEL, ORPHANED)
                return
            if self._sealed and not await self._open():
                return
            per_second = self._order.per_second
            targets = await self._bulks.targets(self.row.key, after, batch_size(per_second), ("",))
            if not targets:
                self._unsure = False
                await self._finish(told)
                return
            over = asyncio.get_running_loop().time() + span(len(targets), per_second)
            asked = await self._ask_all(targets, per_second)
            tally = await self._record(asked, None)
            if tally is None:
                return
            if len(asked) == len(targets):  # else those that were left out come again
                after, self._unsure = targets[-1].n, False
            silent = silence(silent, (result is not Result.NOT_ANSWERED or why == TAKEN for _, (result, why) in asked))
            taken = taken or any(why == TAKEN for _, (_, why) in asked)
            if nobody_answers(silent, tally, taken=taken):
                await self._move(Move.PAUSE, NOBODY.format(silent))
                return
            await self._tell(told)
            if tally.left:
                await self._wait(over)

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
        """Look at it: whether it is this runner's, and to go on with."""
        seen = (self._session.store.now(), time.time())  # before the look: what is frozen in it sees old news
        row = await self._bulks.get(self.row.key)
        self._seen = seen
        if row is None or row.runner != self._name or row.state not in HELD or not await self._leased(row):
            self._held = False
            return False
        self.row, self._held = row, True
        return True

    async def _leased(self, row: BulkRow) -> bool:
        """Whether nobody else may take it: one whose lease is over is taken anew, if nobody has yet."""
        if row.lease_until is not None and row.lease_until > self._session.store.now():
            return True
        return await self._bulks.keep(row.key, self._name, self._lease)

    async def _still(self) -> bool:
        """Whether it is this runner's and to go on with, as news say that are not old. Those who are asked together
        look together."""
        async with self._looking:
            at, wall = self._seen
            age = max(self._session.store.now() - at, time.time() - wall)
            if self._held and age > min(LOOK_SECONDS, self._lease):
                await self._mine()
            return self._held

    async def _wait(self, until: float) -> bool:
        """Wait until an instant of the loop's clock, with a look now and then; whether it is still to go on then."""
        loop = asyncio.get_running_loop()
        while await self._still():
            left = until - loop.time()
            if left <= 0:
                return True
            await asyncio.sleep(min(left, LOOK_SECONDS))
        return False

    async def _keep(self) -> None:
        """Hold the lease while answers are waited for. Where that fails the work goes on: done twice it counts once."""
        while True:
            await asyncio.sleep(self._lease / 3)
            try:
                await self._bulks.keep(self.row.key, self._name, self._lease)
            except StoreError as error:
                _log.warning("the lease of the bulk operation %s is not extended: %s", self.row.key, error)

    async def _move(self, what: Move, reason: str = "") -> None:
        row = self.row
        with suppress(Refused):  # a person was quicker; or whoever was taken for dead, and has counted to the end
            await move(self._bulks, row.key, what, actor=AMENDS, reason=reason, if_version=row.version)

    # Asking

    async def _ask_all(self, targets: Sequence[TargetRow], per_second: float) -> list[tuple[TargetRow, Said]]:
        """What a batch answers, each in its turn. Without those that were not to be asked any more by then."""
        begun = asyncio.get_running_loop().time()
        shares = [self._session.config.chance.share() for _ in targets]
        when = moments(len(targets), per_second, shares)
        self._in_hand = True
        asks = (self._ask(target, begun + moment) for target, moment in zip(targets, when, strict=True))
        said = await asyncio.gather(*asks, return_exceptions=True)
        asked: list[tuple[TargetRow, Said]] = []
        for target, one in zip(targets, said, strict=True):
            if isinstance(one, BaseException):
                raise one
            if one is not None:
                asked.append((target, one))
        return asked

    async def _ask(self, target: TargetRow, when: float) -> Said | None:
        if not await self._wait(when):
            return None
        tries = 0

        async def still() -> None:
            nonlocal tries
            if not await self._still():
                raise _Stopped
            tries += 1

        try:
            async with asyncio.timeout(ASK_SECONDS):
                return Result.ACCEPTED, await self._session.ask(self._mail(target), before=still)
        except _Stopped:
            self._unsure = self._unsure or tries > 0
            return None
        except StoreError:
            raise
        except (TimeoutError, NotAnswered):
            return said_of(await self._sent(target))
        except AmendsError as error:
            return _result_of(error), str(error).removeprefix(f"{target.saga}: ")

    async def _sent(self, target: TargetRow) -> MailRow | None:
        """The act of a saga, as it is in its mailbox."""
        return await self._session.store.sent(target.saga, act_id(self._order, self.row.key, target.n))

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
        return mailbox.act_mail(target.saga, act_id(order, self.row.key, target.n), wish)

    # Writing down

    async def _record(self, asked: Sequence[tuple[TargetRow, Said]], old: Result | None) -> Tally | None:
        """How far it is with what these have said; None where it is somebody else's by now. old: what was known of
        them."""
        tally = await record(self._bulks, self.row, self._name, asked, old, self._lease)
        self._in_hand = False
        if tally is not None:
            self.row = self.row._replace(done=tally.done, refused=tally.refused, failed=tally.failed)
        return tally

    async def _finish(self, told: Callable[[BulkRow], object] | None) -> None:
        """All were asked. Those who had not answered then are asked once more, under the same id: they may have by
        now."""
        after = 0
        while await self._mine():
            late = await self._bulks.targets(self.row.key, after, BATCH_MAX, (Result.NOT_ANSWERED,))
            if not late:
                await self._move(Move.FINISH)
                return
            if await self._ask_again(late):
                after = late[-1].n
            await self._tell(told)

    async def _ask_again(self, late: Sequence[TargetRow]) -> bool:
        """Ask some who have not answered; whether all of them were asked. Those whom no act has reached yet are asked
        no faster than was said."""
        sent = [await self._sent(target) is not None for target in late]
        known = [target for target, there in zip(late, sent, strict=True) if there]
        missed = [target for target, there in zip(late, sent, strict=True) if not there]
        per_second, size = self._order.per_second, batch_size(self._order.per_second)
        batches = [(known, PER_SECOND_MAX)]
        batches += [(missed[at : at + size], per_second) for at in range(0, len(missed), size)]
        for some, pace in batches:
            over = asyncio.get_running_loop().time() + span(len(some), pace)
            asked = await self._ask_all(some, pace)
            if await self._record(asked, Result.NOT_ANSWERED) is None or len(asked) < len(some):
                return False
            if not await self._wait(over):
                return False
        return True


def said_of(mail: MailRow | None) -> Said:
    """What has come of an act that was sent, as its mailbox tells."""
    if mail is not None and mail.answer is not None:
        return _WORDS.get(mail.answer, Result.ACCEPTED), mail.detail or ""
    return Result.NOT_ANSWERED, TAKEN if mail is not None and mail.is_taken else UNANSWERED


def _result_of(error: AmendsError) -> Result:
    if isinstance(error, UnknownSaga):
        return Result.GONE
    if isinstance(error, Changed):
        return Result.CHANGED
    return Result.TOO_LATE if isinstance(error, TooLate) else Result.REFUSED
