"""Ownership: how a worker comes by sagas and lets them go.

One loop, woken by hints and by a slow poll: renew the lease, retire workers that are gone and
take over what they owned, claim what is due, take the mail, answer what came too late.

Guarantees: a saga is taken over only after its worker is retired for good; others are retired
only by one that has held its own lease without a gap for a whole lease.
Must not: run anything on the hot path of a saga that is in memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from amends import fault
from amends.define.values import describe
from amends.errors import StoreDamaged, StoreUnavailable
from amends.run import mailbox
from amends.run.chores import Chores, Duty
from amends.run.heads import head_of
from amends.run.journal import state_of
from amends.run.lease import Lease
from amends.run.live import Live
from amends.run.meanwhile import Meanwhile
from amends.run.plans import Plans
from amends.run.sealed_mail import sealed
from amends.run.sealing import opened
from amends.store.base import Loaded, Retired, Store, WorkerRow

if TYPE_CHECKING:
    from amends.run.attempt import Attempt
    from amends.run.worker import Worker

CLAIM_BATCH = 100
SLOW_SECONDS = 20.0  # how often the rarer duties come
SOON_SECONDS = 3.0  # when they come where something is due that is not this worker's
STALLED_KEPT = 10_000
PAUSE_SECONDS = 1.0  # after trouble
AFTER_SECONDS = 0.02  # after a lease's end, to find it ended
_log = logging.getLogger("amends.ownership")


class Ownership:
    """The loop of one worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.plans: Plans = Plans(worker.registry)
        self.lease: Lease = Lease(worker)
        self.backlog: bool = False  # there was more to claim than room
        self._woken = asyncio.Event()
        self._meanwhile: Meanwhile = Meanwhile()
        self._todo: Chores = Chores()
        self._watched: dict[str, None] = {}  # sagas that somebody began to watch
        self._task: asyncio.Task[None] | None = None
        self._gone: list[int] = []
        self._anew: int | None = None  # the registration that is gone, until there is another
        self._next_end = inf  # when the next lease runs out, if it is not renewed
        self._unsure: int | None = None  # a claim (0) or an adoption from a worker may have come through unheard
        self._slow_at = 0.0
        self._stalled: dict[bytes, str] = {}  # those that were said to be, so that it is said once

    # Coming and going

    async def start(self, asked: float) -> None:
        """Take over and claim what is there, then keep looking. `asked`: when the registration was."""
        self.lease.begin(asked)
        store = self._worker.store
        if not store.leases:
            self._gone = await store.retire_expired(self._worker.worker)
        await _look_around(self.plans, store)
        store.listen(self._hinted)
        try:
            await self._turn()
        except Retired:  # who came so slowly that somebody took it for gone
            self._worker.retired()
        except StoreUnavailable as error:  # a step that was taken over may hold the file by now
            _log.warning("the store is away: %s", error)
            self.wake()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="amends-ownership")

    async def stop(self) -> None:
        """Look no more. What was to be let go is let go."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        try:
            if self._anew is not None:
                await self._worker.store.deregister(self._anew, survived=True)
            await self._todo.do(self.lease.keep)
        except StoreUnavailable as error:  # no reason to wait for nobody: attempts are in flight
            _log.warning("the store is away: %s", error)

    def halt(self) -> None:
        """Look no more, at once."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def wake(self) -> None:
        """Look now."""
        self._woken.set()

    def begin_anew(self) -> None:
        """The registration is gone: make a new one. What the loop was about to do was for the old one."""
        self._anew, self._unsure, self._gone = self._worker.worker, None, []
        self._todo.clear()
        self.lease.end()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
            self._task = asyncio.get_running_loop().create_task(self._run(), name="amends-ownership")
        self.wake()

    def left(self, saga: bytes) -> None:
        """A saga has left the memory; there may be more to hold than there was room for."""
        self._meanwhile.leaves(saga)
        if self.backlog or self._gone:
            self.wake()

    # What the worker asks for, done in the loop's own time

    def release(self, saga: bytes, wake: float | None) -> None:
        """Let a saga go that has nothing to do."""
        self._do(lambda: _let_go(self._worker, saga, wake))

    def look_again(self, key: str) -> None:
        """Read a saga again that moved on without this worker."""
        self._do(lambda: self._read_again(key))

    def report_late(self, key: str, attempt: Attempt, message: Any) -> None:
        """Let a saga know how an attempt ended that nobody waited for any more."""
        mail = sealed(mailbox.late(key, f"late-{self._worker.operation()}", attempt, message), self._worker.seals)
        self._do(lambda: self._worker.store.send([mail]))

    def _do(self, duty: Duty) -> None:
        self._todo.add(duty)
        self.wake()

    # The loop

    async def _run(self) -> None:
        poll = self._worker.settings.poll_seconds
        while True:
            try:
                async with asyncio.timeout(self._until_next(poll)):
                    await self._woken.wait()
            except TimeoutError:
                pass  # the poll
            self._woken.clear()
            try:
                await self._turn()
                self._worker.looked(True)
            except Retired:
                self._worker.retired()
            except StoreDamaged as error:
                self._worker.broken(error)
                return
            except StoreUnavailable as error:
                _log.warning("the store is away: %s", error)
                self._worker.looked(False)
                await self._pause(poll)
            except Exception:  # noqa: BLE001  # this loop is what every waiting saga depends on
                _log.exception("a look at the store failed: this is a bug in amends")
                await self._pause(poll)

    async def _pause(self, poll: float) -> None:
        """Then look again, however slow the poll: what was to be found out now is not known yet."""
        await asyncio.sleep(min(poll, PAUSE_SECONDS))
        self.wake()

    async def _turn(self) -> None:
        """One look at the store."""
        if self._anew is not None:
            await self._register_again(self._anew)
        await self.lease.keep()
        await self._todo.do(self.lease.keep)
        await self._make_sure()
        seen = await self._worker.store.peek()
        self._next_end = inf if seen.ends is None else seen.ends
        if seen.gone or self._gone:
            await self._take_over()
        if seen.mail:
            await self._take_mail()
        slow = _loop_time() >= self._slow_at
        if (seen.due or seen.mail or slow) and not await self._claim() and seen.due:  # its last worker has just left?
            self._slow_at = min(self._slow_at, _loop_time() + SOON_SECONDS)
        if seen.mail or slow:
            await self._worker.store.answer_ended(CLAIM_BATCH)
        if slow:
            self._slow_at = _loop_time() + SLOW_SECONDS
            await _look_around(self.plans, self._worker.store)
            for report in await self.plans.stranded(self._worker.store):
                _log.warning("%s", report)
        await _answer_watches(self._worker.store, self._watched)

    async def _take_over(self) -> None:
        store = self._worker.store
        if store.leases and self.lease.is_steady():
            self._gone = await store.retire_expired(self._worker.worker)
        if self._gone:
            await _look_around(self.plans, store)
        while self._gone and self._worker.room:
            await self.lease.keep()
            gone = self._unsure = self._gone[0]
            with self._meanwhile:
                batch = await store.adopt(self._worker.worker, gone, min(CLAIM_BATCH, self._worker.room))
                fault.point("adopt.after")
                await self._hold_adopted(batch, gone)
            self._unsure = None
            if batch:
                _log.info("sagas taken over from worker %d, which is gone: %d", gone, len(batch))
            else:
                self._gone.pop(0)

    async def _claim(self) -> bool:
        worker, found, self.backlog = self._worker, False, True
        while worker.room:
            await self.lease.keep()  # as long as there is more than there is room for, this does not end
            limit = min(CLAIM_BATCH, worker.room)
            self._unsure = 0
            with self._meanwhile:
                claimed = await worker.store.claim(worker.worker, self.plans.claimable, limit)
                fault.point("claim.after")
                await self._hold_claimed(claimed)
            self._unsure = None
            found |= bool(claimed)
            if len(claimed) < limit:
                self.backlog = False
                break
        return found or self.backlog

    async def _make_sure(self) -> None:
        """The answer to a claim or an adoption was lost: find what it gave."""
        if self._unsure is None:
            return
        await self.lease.renew()  # it may be on its way still, and is not seen before it is there
        for live in self._worker.lives.values():
            live.misses()  # these are not asked for
        with self._meanwhile:
            found = await self._worker.store.owned(self._worker.worker, self._worker.lives)
            await (self._hold_adopted(found, self._unsure) if self._unsure else self._hold_claimed(found))
        self._unsure = None

    async def _hold_claimed(self, claimed: list[Loaded]) -> None:
        """All that can fail comes first, so that sagas are held all or not at all."""
        if not claimed:
            return
        store, worker = self._worker.store, self._worker
        mails = await store.owned_mail(worker.worker)
        alive = await _alive(store) if mails else frozenset()
        lives = [live for loaded in claimed if (live := self._take(loaded)) is not None]
        worker.take_mail(mails, alive)  # before the look at the clock, which may find nothing to do
        for live in lives:
            if not live.dropped:
                _have(live, live.tick)

    async def _hold_adopted(self, batch: list[Loaded], gone: int) -> None:
        if not batch:
            return
        fates = {row.id: row for row in await self._worker.store.workers()}
        for loaded in batch:
            if (live := self._take(loaded, gone)) is not None:
                _have(live, partial(live.adopt, gone, _not_died(live, gone, fates) | {self._worker.worker}))

    async def _take_mail(self) -> None:
        if mails := await self._worker.store.owned_mail(self._worker.worker):
            self._worker.take_mail(mails, await _alive(self._worker.store))

    # One saga

    def _take(self, loaded: Loaded, gone: int | None = None) -> Live | None:
        """Hold a saga that is owned now, or say why this worker cannot run it. `gone`: from whom
        it was taken over, if it was."""
        head, worker = loaded.head, self._worker
        if head.id in self._meanwhile:
            self.look_again(head.key)
            return None
        if head.id in worker.lives:
            # It was let go in a commit whose answer is not back yet, and claimed again behind it.
            worker.lives[head.id].comes_back = True
            return None
        try:
            state = state_of(loaded := opened(loaded, worker.seals))
            program, word = self.plans.to_run(head.plan, state)
        except Exception as error:  # noqa: BLE001  # whatever one saga's rows are, the others go on
            self.stall(head.id, head.key, f"its history cannot be read: {describe(error)}", gone)
            return None
        if program is None:
            self.stall(head.id, head.key, word, gone)
            return None
        live = Live(worker, program, head.id, head.key, head.epoch)
        live.resume(state, loaded.rows, head_of(head, worker.worker))
        worker.hold(live)
        if gone is None:
            _have(live, live.claim)  # by what is on disk: what a move issues is not, yet
        if word and not live.dropped:
            _have(live, partial(live.move, self.plans.number_of(word), word, now=gone is None))
        return None if live.dropped else live

    def stall(self, saga: bytes, key: str, word: str, gone: int | None = None) -> None:
        """Let go of a saga that this worker cannot run, in the next turn: it may come back at once."""
        if self._stalled.get(saga) != word:
            _log.warning("saga %s is stalled: %s", key, word)
        if len(self._stalled) < STALLED_KEPT:
            self._stalled[saga] = word
        self._todo.add(lambda: self._worker.store.stall(self._worker.worker, saga, word, gone))

    async def _read_again(self, key: str) -> None:
        """A write was lost. If the saga is still this worker's, what was in flight is unresolved."""
        with self._meanwhile:
            loaded = await self._worker.store.load(key)
            if loaded is not None and loaded.head.owner == self._worker.worker:
                await self._hold_adopted([loaded], self._worker.worker)

    async def _register_again(self, old: int) -> None:
        await self._worker.store.deregister(old, survived=True)
        self.lease.begin(await self._worker.register())
        self._anew = None

    # Hints

    def _hinted(self, topic: str) -> None:
        if topic == "work":
            self.wake()
        elif topic.startswith("watched\n"):
            self._watched[topic.removeprefix("watched\n")] = None
            self.wake()
        else:
            self._worker.waiting.tell(topic)

    def _until_next(self, poll: float) -> float:
        poll = min(poll, max(self._slow_at - _loop_time(), 0.0), PAUSE_SECONDS if self._todo else poll)
        if not self._worker.store.leases:
            return poll
        end = self._next_end - self._worker.store.now()
        return min(poll, self.lease.until_renewal(), end + AFTER_SECONDS if end > 0 else poll)


async def _look_around(plans: Plans, store: Store) -> None:
    """See which versions of sagas have become this worker's, and take up what was left aside of them."""
    gained = await plans.look_around(store)
    if gained:
        await store.unstall(gained)
    older = gained - set(plans.exact)
    if older:  # those that sleep for a year must not say only then that this code does not fit
        await store.rouse(older)


def _have(live: Live, act: Callable[[], object]) -> None:
    """Have a saga do something. What befalls one must not befall the others."""
    try:
        act()
    except Exception as error:  # noqa: BLE001  # it stays as it is on disk
        live.shell.broke(live, error)


async def _let_go(worker: Worker, saga: bytes, wake: float | None) -> None:
    """Unless it was found to be this worker's meanwhile, and is held again."""
    if saga not in worker.lives:
        await worker.store.release(worker.worker, [(saga, wake)])


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


async def _answer_watches(store: Store, watched: dict[str, None]) -> None:
    """Some began to watch: where the saga is at rest already, say so. Last in a turn, and once per saga: whoever
    waits for the answer to a mail looks and watches again at once, and must not keep the mail from being read."""
    for key in list(watched):
        del watched[key]
        head = await store.head(key)
        if head is not None and head.status in ("completed", "compensated", "parked"):
            store.hint([key], work=False)


def _not_died(live: Live, gone: int, fates: dict[int, WorkerRow]) -> frozenset[int]:
    """Of the workers that a saga was taken over from, `gone` the last of them, those that did not die."""
    known = [] if live.state is None else [worker for worker, _ in live.state.adopted]
    return frozenset(
        worker
        for worker in (*known, gone)
        if worker in fates and (fates[worker].survived or fates[worker].left_at is not None)
    )


async def _alive(store: Store) -> frozenset[int]:
    return frozenset(row.id for row in await store.workers() if row.retired_at is None)
