"""Acts in bulk: one act on all sagas that fit, as something that is tracked.

First a dry run: how many, what would come of it, what would be refused. Then the sagas are written down, each with the
version that it has, and any worker, or whoever calls `bulk_run`, asks one after the other (`run/bulk.py`).

Guarantees: what is not written down as a whole is not begun; what was seen is what is acted on: a saga that has moved
on since is left alone and told of. Only open sagas are meant.
Must not: act by itself; each saga gets a mail as from one person, and decides.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from amends.decide.bulk import ENDED, HELD, TARGETS_MAX, Move, Stand, flaw
from amends.define.secret import MASK
from amends.define.values import clean
from amends.errors import Changed, IdConflict, LimitExceeded, NotAnswered, Refused, UnknownSaga, ValueRefused
from amends.operate.acting import Acting, check
from amends.operate.bulk_values import Bulk as Bulk  # whoever shows bulk operations takes all of these from here
from amends.operate.bulk_values import BulkAct as BulkAct
from amends.operate.bulk_values import BulkLine as BulkLine
from amends.operate.bulk_values import BulkOutcome as BulkOutcome
from amends.operate.bulk_values import BulkPage as BulkPage
from amends.operate.bulk_values import BulkPlan as BulkPlan
from amends.operate.bulk_values import BulkResult as BulkResult
from amends.operate.bulk_values import BulkResults as BulkResults
from amends.operate.finding import LIMIT_MAX
from amends.operate.values import Page, Preview, SagaLine, Search
from amends.run.asking import check_id
from amends.run.bulk import OVER_SECONDS, Runner, found, move
from amends.run.bulk_order import LogLine, Order, damaged, encode, given, line_of, marked, opened, order_of, sealed
from amends.run.chance import id_text
from amends.run.mailbox import Wish
from amends.run.sealing import Seals
from amends.store.base import OPEN
from amends.store.bulk import BulkRow, NewBulk, NewTarget

if TYPE_CHECKING:
    from amends.operate.sight import Sight
    from amends.run.session import Session

Targets = Search | Sequence[str]
PREVIEWED_MAX = 100
EXAMPLES = 5
WRITTEN = 1000  # targets, at a time
IDS_MAX = 1000
WORDS_MAX = 1500  # characters of a reason, or of a note
LISTED = 50
RESULTS = 100
WATCH_SECONDS = 0.5
COUNTING_SECONDS = 60.0  # between two writes of targets; whoever needs longer is taken for dead
_raw = msgspec.Raw


class BulkOperations(Acting):
    """The half of operations that is about bulk operations."""

    session: Session
    _sight: Sight

    @abstractmethod
    async def search(self, wanted: Search, *, before: str | None = None, limit: int = LISTED) -> Page:
        """Sagas, newest first."""

    # Beginning

    async def bulk_plan(self, act: BulkAct, targets: Targets) -> BulkPlan:
        """What would come of an act on all sagas that fit, without doing or writing anything. targets: what to look
        for, or the ids. Raises ValueRefused, UnknownSaga."""
        self._check(act)
        total, ids, examples, outcomes = 0, list[str](), list[SagaLine](), dict[object, BulkOutcome]()
        async with aclosing(self._lines(targets)) as lines:
            async for line in lines:
                total += 1
                if total > TARGETS_MAX:
                    break
                ids.append(line.id)
                if total <= EXAMPLES:
                    examples.append(line)
                if total <= PREVIEWED_MAX:
                    _group(outcomes, line.id, await self._preview(line.id, act))
        previewed = min(total, PREVIEWED_MAX)
        told = tuple(sorted(outcomes.values(), key=lambda outcome: -outcome.count))
        counted, more = min(total, TARGETS_MAX), total > TARGETS_MAX
        return BulkPlan(act.verb, act.step, counted, more, previewed, told, tuple(examples), _digest(ids))

    async def bulk_start(
        self,
        act: BulkAct,
        targets: Targets,
        *,
        paused: bool = False,
        expected: int | None = None,
        seen: str | None = None,
        id: str | None = None,
    ) -> Bulk:
        """Write down which sagas are meant, as they are now, and have them acted on by whoever works. paused: not
        before somebody resumes it. expected: only if there are so many. seen: only if they are those of the plan with
        this digest. id: the same one counts once.

        Raises ValueRefused, LimitExceeded, IdConflict, UnknownSaga; Refused where nothing fits, Changed where there are
        more or fewer than expected, or others than were seen. Under an id that is there: NotAnswered while its sagas
        are still being written down, Refused where it was cancelled before they all were.
        """
        self._check(act)
        bulks, chance = self.session.store.bulks, self.session.config.chance
        key = id_text(chance.uuid7(self.session.store.now())) if id is None else check_id(id)
        seals = self.session.seals
        order = _order(act, targets if seals is None else _masked(targets))
        if id is not None and (there := await bulks.get(key)) is not None:
            return _same(there, order, seals)
        meant = await self._meant(targets)
        _check_seen(meant, expected, seen)
        runner = id_text(chance.uuid7(self.session.store.now()))
        line = encode(LogLine(Move.BEGUN, act.actor, act.reason))
        body = encode(sealed(marked(order, runner), seals, key))
        row = await bulks.add(NewBulk(key, Stand.COUNTING, body, line), runner, COUNTING_SECONDS)
        if row.runner != runner:
            return _same(row, order, seals)
        for some in _parts(meant):
            if not await bulks.fill(key, Stand.COUNTING, runner, some, COUNTING_SECONDS):
                raise Refused(f"the bulk operation {key} was cancelled before all its sagas were written down")
        counted = Move.COUNTED_PAUSED if paused else Move.COUNTED
        await move(bulks, key, counted, actor=act.actor, total=len(meant))
        await bulks.keep(key, runner, 0)
        return bulk_of(await found(bulks, key))

    def _check(self, act: BulkAct) -> None:
        """Raises ValueRefused, LimitExceeded or Refused where something is missing, or too much."""
        for text, what in ((act.actor, "actor"), (act.reason, "reason"), (act.text, "text")):
            _words(text, what)
        why = flaw(
            act.verb,
            step=act.step,
            reason=act.reason,
            text=act.text,
            result=act.result is not None,
            arguments=act.arguments is not None,
            per_second=act.per_second,
        )
        if why:
            raise ValueRefused(why)
        if act.nothing_stayed and act.arguments is None:
            raise ValueRefused("that nothing stayed is said with changed arguments only")
        if act.arguments is not None and act.arguments.strip() == b"null":
            raise ValueRefused(
                "changed arguments are an object, or a command: null is none; leave them out to retry as it is"
            )
        check(Wish(act.verb, act.step, value=act.result, arguments=act.arguments), self._payload_bytes)

    async def _meant(self, targets: Targets) -> list[NewTarget]:
        meant: list[NewTarget] = []
        async with aclosing(self._lines(targets)) as lines:
            async for line in lines:
                if len(meant) == TARGETS_MAX:
                    raise LimitExceeded(
                        f"more than {TARGETS_MAX:,} sagas fit, and a bulk operation may have no more: narrow the search"
                    )
                meant.append(NewTarget(len(meant) + 1, line.id, line.version))
        if not meant:
            raise Refused(
                "no open saga fits, so there is nothing to do; what was looked for can be seen with a dry run"
            )
        return meant

    async def _lines(self, targets: Targets) -> AsyncGenerator[SagaLine, None]:
        """The open sagas that are meant, a page at a time."""
        if not isinstance(targets, Search):
            for line in await self._named(targets):
                yield line
            return
        wanted = targets if targets.statuses else replace(targets, statuses=OPEN)
        if not set(wanted.statuses) <= set(OPEN):
            raise ValueRefused(f"only open sagas can be acted on: {', '.join(OPEN)}")
        before: str | None = None
        while True:
            page = await self.search(wanted, before=before, limit=LIMIT_MAX)  # each page may look at all that are open
            for line in page.sagas:
                yield line
            if not page.more:
                return
            before = page.next

    async def _named(self, ids: Sequence[str]) -> list[SagaLine]:
        names = list(dict.fromkeys(ids))
        if len(names) > IDS_MAX:
            raise LimitExceeded(
                f"{len(names):,} ids, and at most {IDS_MAX:,} can be named; give what they have in common"
            )
        crew = await self._sight.crew()
        rows = [await self._sight.head(check_id(name)) for name in names]
        now = await self._sight.versioned(rows)
        return [self._sight.line(row, crew)._replace(version=length) for row, length in now if row.status in OPEN]

    async def _preview(self, saga_id: str, act: BulkAct) -> Preview:
        """What it would do to one. One that cannot be acted on here, or was pruned meanwhile, holds the others up in
        nothing: it would be refused."""
        try:
            return await self.preview(
                saga_id,
                act.verb,
                act.step,
                arguments=act.arguments,
                result=act.result,
                nothing_stayed=act.nothing_stayed,
            )
        except (Refused, UnknownSaga) as error:
            return Preview(act.verb, act.step, False, str(error).removeprefix(f"{saga_id}: "), 0)

    # Reading

    async def bulk(self, id: str) -> Bulk:
        """One bulk operation. Raises UnknownBulk."""
        return bulk_of(await found(self.session.store.bulks, id))

    async def bulks(self, *, before: str | None = None, limit: int = LISTED) -> BulkPage:
        """Bulk operations, newest first. before: only those older than the one with this id. Raises UnknownBulk."""
        if before is not None:
            await found(self.session.store.bulks, before)
        rows = await self.session.store.bulks.newest(before, limit + 1)
        return BulkPage(tuple(bulk_of(row) for row in rows[:limit]), len(rows) > limit)

    async def bulk_results(
        self, id: str, *, after: int = 0, limit: int = RESULTS, words: Sequence[str] = ()
    ) -> BulkResults:
        """What became of its sagas, in order, behind the number `after`. words: only these, the empty one for those to
        come. Raises UnknownBulk."""
        await found(self.session.store.bulks, id)
        rows = await self.session.store.bulks.targets(id, after, limit + 1, words or None)
        return BulkResults(tuple(BulkResult(*row) for row in rows[:limit]), len(rows) > limit)

    async def bulk_log(self, id: str) -> tuple[BulkLine, ...]:
        """What happened to it, and who did it. Raises UnknownBulk."""
        await found(self.session.store.bulks, id)
        rows = [(row, line_of(row.line)) for row in await self.session.store.bulks.log(id)]
        return tuple(BulkLine(row.version, row.at, line.move, line.actor, line.reason) for row, line in rows)

    # Steering

    async def bulk_pause(self, id: str, *, actor: str, reason: str = "", if_version: int | None = None) -> Bulk:
        """Have no further saga asked. Raises UnknownBulk, Refused, Changed."""
        return await self._move(id, Move.PAUSE, actor, reason, if_version)

    async def bulk_resume(self, id: str, *, actor: str, reason: str = "", if_version: int | None = None) -> Bulk:
        """Go on. Raises UnknownBulk, Refused, Changed."""
        return await self._move(id, Move.RESUME, actor, reason, if_version)

    async def bulk_cancel(self, id: str, *, actor: str, reason: str = "", if_version: int | None = None) -> Bulk:
        """Ask no further saga, ever. What was done is done. Raises UnknownBulk, Refused, Changed."""
        return await self._move(id, Move.CANCEL, actor, reason, if_version)

    async def _move(self, id: str, what: Move, actor: str, reason: str, if_version: int | None) -> Bulk:
        who, why = _words(actor, "actor"), _words(reason, "reason")
        bulks = self.session.store.bulks
        moved = await move(bulks, id, what, actor=who, reason=why, if_version=if_version)
        if moved.state == Stand.CANCELLED and moved.failed:  # a worker is to look whether they have answered since
            await bulks.take(
                ENDED, id_text(self.session.config.chance.uuid7(self.session.store.now())), OVER_SECONDS, id
            )
        return bulk_of(moved)

    async def bulk_run(self, id: str, *, told: Callable[[Bulk], object] | None = None) -> Bulk:
        """Work at it until it is not running any more; as long as somebody else does, only look. told: hears how far it
        is. Stopped at any point, whoever comes next goes on. Raises UnknownBulk, StoreError."""
        bulks, config = self.session.store.bulks, self.session.config

        def tell(row: BulkRow) -> None:
            if told is not None:
                told(bulk_of(row))

        while (row := await found(bulks, id)).state in HELD:
            name = id_text(config.chance.uuid7(self.session.store.now()))
            taken = await bulks.take(HELD, name, config.settings.lease_seconds, id)
            if taken is None:
                tell(row)
                await asyncio.sleep(WATCH_SECONDS)
            else:
                await Runner(self.session, taken, name).run(tell)
        tell(row)
        return bulk_of(row)


def bulk_of(row: BulkRow) -> Bulk:
    """A bulk operation, as it is kept. Raises StoreDamaged."""
    order = order_of(row)
    try:
        stand, wanted = Stand(row.state), given(order.search)
        search = None if wanted is None else msgspec.json.decode(wanted, type=Search)
    except ValueError as error:  # also what msgspec raises
        raise damaged(f"the bulk operation {row.key!r}", error) from None
    act = BulkAct(
        order.verb,
        order.actor,
        order.reason,
        order.step,
        given(order.result),
        given(order.arguments),
        order.nothing_stayed,
        order.text,
        order.per_second,
        order.even_if_changed,
    )
    return Bulk(
        row.key,
        act,
        search,
        stand,
        row.total,
        row.done,
        row.refused,
        row.failed,
        row.created_at,
        row.changed_at,
        row.version,
        row.runner is not None,
    )


def _masked(targets: Targets) -> Targets:
    """What is kept of what was looked for, where payloads are sealed: no words of them."""
    if not isinstance(targets, Search):
        return targets
    return replace(targets, input=tuple((field, MASK) for field, _ in targets.input))


def _order(act: BulkAct, targets: Targets) -> Order:
    wanted = msgspec.json.encode(targets) if isinstance(targets, Search) else b"null"
    return Order(
        act.verb,
        clean(act.actor),
        clean(act.reason),
        act.step,
        clean(act.text),
        _raw(act.result or b"null"),
        _raw(act.arguments or b"null"),
        _raw(wanted),
        float(act.per_second),  # 5 is 5.0, and begun twice it is begun once
        act.even_if_changed,
        act.nothing_stayed,
        "" if isinstance(targets, Search) else _digest(targets),
    )


def _check_seen(meant: Sequence[NewTarget], expected: int | None, seen: str | None) -> None:
    """Raises Changed where others are meant now than those that somebody looked at."""
    if expected not in (None, len(meant)):
        raise Changed(f"{expected:,} sagas were expected, and {len(meant):,} fit now; nothing was done. Look again")
    if seen not in (None, _digest(target.saga for target in meant)):
        raise Changed("other sagas fit now than those that were looked at; nothing was done. Look again")


def _digest(ids: Iterable[str]) -> str:
    """The same for the same sagas, in whatever order they are named."""
    return sha256("\0".join(sorted(set(ids))).encode("utf-8", "surrogatepass")).hexdigest()


def _words(text: str, what: str) -> str:
    if len(text) > WORDS_MAX:
        raise LimitExceeded(f"{what}: {len(text):,} characters, the limit in bulk is {WORDS_MAX:,}")
    return clean(text)


def _same(row: BulkRow, order: Order, seals: Seals | None) -> Bulk:
    """The one that is there under an id, if it is the same, and was begun. Raises IdConflict, NotAnswered, Refused."""
    if encode(marked(opened(order_of(row), seals, row.key), "")) != encode(order):
        raise IdConflict(f"the id {row.key!r} belongs to another bulk operation; choose another id")
    if row.state == Stand.COUNTING:
        raise NotAnswered(
            f"the bulk operation {row.key}: its sagas are still being written down, or whoever did that has gone, and "
            "then it cancels itself; ask again in a while"
        )
    if row.state == Stand.CANCELLED and not row.total:
        raise Refused(
            f"the bulk operation {row.key} was cancelled before its sagas were all written down, and nothing was done; "
            "begin it under another id"
        )
    return bulk_of(row)


def _group(outcomes: dict[object, BulkOutcome], saga_id: str, said: Preview) -> None:
    calls = tuple((effect.step.partition("[")[0], effect.phase) for effect in said.effects)
    key = (said.accepted, said.why, said.status_after, calls)
    there = outcomes.get(key)
    if there is None:
        there = BulkOutcome(said.accepted, said.why, 0, saga_id, said.effects, said.status_after)
    outcomes[key] = replace(there, count=there.count + 1)


def _parts(targets: Sequence[NewTarget]) -> Iterator[Sequence[NewTarget]]:
    return (targets[start : start + WRITTEN] for start in range(0, len(targets), WRITTEN))
