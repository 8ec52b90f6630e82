"""Finding choreographed sagas at their home, by what their home was told.

Each is judged by its whole history, newest first, so a page looks at no more than a few thousand of them.

Guarantees: what is found is what the home was told, and says so; a field that is marked as a secret is not searched.
Must not: act.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from amends.decide.baton import Stand
from amends.decide.fingerprint import step_of
from amends.decide.plan import Plan
from amends.errors import Refused
from amends.operate.finding import (
    GROUPS_LIMIT,
    LIST_LIMIT,
    VERSION_CHARACTERS_MIN,
    check,
    has_fields,
    marked_field,
)
from amends.operate.homes_sight import HomeRow, line_of
from amends.operate.overview import DAY_SECONDS, HOUR_SECONDS, MINUTES
from amends.operate.services import Keeping, sizes_in
from amends.operate.values import Ends, Group, Lag, Overview, Page, Rates, SagaLine, Search, Trouble, WorkerLine
from amends.run.inbox_upkeep import Sizes
from amends.run.transactions import Transactions

PAGE = 200
PAGES_MAX = 50
LOOK_PAGES = 5  # of those that an overview is made of
STANDS: dict[str, tuple[str, ...]] = {
    "running": ("open", Stand.UNKNOWN_PLAN),
    "compensating": ("open", Stand.UNKNOWN_PLAN),
    "parked": (Stand.PARKED,),
    "completed": (Stand.ENDED,),
    "compensated": (Stand.ENDED,),
}
RESTING: dict[str, Trouble] = {Stand.PARKED: Trouble.PARKED, Stand.UNKNOWN_PLAN: Trouble.STALLED}
_OPEN = frozenset(stand for stands in STANDS.values() for stand in stands) - {Stand.ENDED}


class Found(NamedTuple):
    """Some rows of a list. more: there may be others."""

    rows: tuple[HomeRow, ...]
    more: bool


class HomeLooking:
    """The part of operations at home that finds sagas."""

    service: str
    keeping: Keeping
    _transactions: Transactions

    @abstractmethod
    def _check_names(self, names: Sequence[str]) -> None:
        """Raises UnknownSaga for a definition that nobody here knows."""

    @abstractmethod
    def _plans(self) -> Iterable[Plan]:
        """The plans that the code here has."""

    @abstractmethod
    async def _rows(
        self, stands: Collection[str], plans: Sequence[str], before: str | None, limit: int = PAGE
    ) -> Found:
        """Some rows, newest first. before: an internal id."""

    @abstractmethod
    async def _row(self, saga_id: str) -> HomeRow:
        """One row. Raises UnknownSaga."""

    async def find(
        self,
        *,
        statuses: Sequence[str] = (),
        sagas: Sequence[str] = (),
        stuck: bool = False,
        before: str | None = None,
        limit: int = LIST_LIMIT,
    ) -> Page:
        """Sagas, newest first; as an orchestrator's. Raises UnknownSaga for a definition or an id that is not there."""
        wanted = Search(statuses=tuple(statuses), sagas=tuple(sagas), stuck=stuck)
        return await self.search(wanted, before=before, limit=limit)

    async def search(self, wanted: Search, *, before: str | bytes | None = None, limit: int = LIST_LIMIT) -> Page:
        """Sagas that fit, newest first, as their home was told of them; as an orchestrator's. In trouble are those that
        are parked, and those whose service does not know their plan, which are stalled: a home hears of no other.

        Raises UnknownSaga, ValueRefused, Refused.
        """
        check(wanted, limit)
        self._check_names(wanted.sagas)
        self._check_secrets(wanted)
        stands = _stands(wanted)
        older = before.hex() if isinstance(before, bytes) else None
        if isinstance(before, str):
            older = (await self._row(before)).saga.id.hex()
        found: list[tuple[SagaLine, bytes]] = []
        last, more = ("", b""), bool(stands)
        for _ in range(PAGES_MAX if stands else 0):
            rows, more = await self._rows(stands, wanted.sagas, older)
            found += [(line, row.saga.id) for row in rows if fits(wanted, row, line := line_of(row))]
            if not more or len(found) > limit:
                break
            last = rows[-1].saga.key, rows[-1].saga.id
            older = rows[-1].saga.id.hex()
        lines = tuple(line for line, _ in found[:limit])
        if len(found) > limit:
            return Page(lines, True, lines[-1].id, found[limit - 1][1])
        return Page(lines, True, *last) if more else Page(lines, more=False)

    async def groups(self, wanted: Search, *, limit: int = GROUPS_LIMIT) -> tuple[Group, ...]:
        """What went wrong with those that are parked here, the most frequent first: of the newest. Raises as
        `search`."""
        check(wanted, limit)
        self._check_names(wanted.sagas)
        self._check_secrets(wanted)
        rows = await self._newest(_stands(wanted) & {Stand.PARKED}, wanted.sagas)
        return _grouped([line for row in rows if fits(wanted, row, line := line_of(row))], limit)

    async def overview(self) -> Overview:
        """How the newest sagas fare that this service has started."""
        now = float((await self._transactions.ask("now"))[0][0])
        rows = await self._newest(_OPEN, ())
        lines = [line_of(row) for row in rows]
        ended = [line_of(row) for row in await self._newest({Stand.ENDED}, ())]
        since = now - MINUTES * 60
        counts = Counter({"running": 0, "compensating": 0, "parked": 0})
        counts.update(line.status for line in lines)
        whole = len(ended) < LOOK_PAGES * PAGE and len(lines) < LOOK_PAGES * PAGE
        started = [line.started_at for line in (*lines, *ended)]
        return Overview(
            at=now,
            counts=counts,
            troubles=Counter(RESTING[row.stand] for row in rows if row.stand in RESTING),
            troubles_more=len(rows) >= LOOK_PAGES * PAGE,
            hour=_ends(ended, now - HOUR_SECONDS),
            day=_ends(ended, now - DAY_SECONDS),
            rates=Rates(
                _minutes(started, since),
                _minutes((line.changed_at for line in ended if line.status == "completed"), since),
                _minutes((line.changed_at for line in ended if line.status == "compensated"), since),
                _minutes((line.changed_at for line in lines if line.status == "parked"), since),
                since if whole else max([since, *started[-1:]]),
            ),
            groups=_grouped([line for line in lines if line.fingerprint], GROUPS_LIMIT),
            outbox=await self.outbox(),
            timers=Lag(0.0, 0),
            workers=(),
        )

    async def outbox(self) -> Lag:
        """How far what this service publishes is behind. Raises StoreError."""
        sizes = await self.sizes()
        return Lag(sizes.lag if sizes.unpublished else 0.0, sizes.unpublished)

    async def sizes(self) -> Sizes:
        """What the inbox and the outbox of this service hold. Raises StoreError."""
        return await sizes_in(self.keeping)

    async def workers(self) -> tuple[WorkerLine, ...]:
        """None: participants are not registered anywhere."""
        return ()

    async def _newest(self, stands: Collection[str], sagas: Sequence[str]) -> list[HomeRow]:
        found: list[HomeRow] = []
        older: str | None = None
        for _ in range(LOOK_PAGES if stands else 0):
            rows, more = await self._rows(stands, sagas, older)
            found += rows
            if not more:
                break
            older = rows[-1].saga.id.hex()
        return found

    def _check_secrets(self, wanted: Search) -> None:
        for plan in self._plans() if wanted.input else ():
            if not wanted.sagas or plan.name in wanted.sagas:
                hidden = marked_field(plan, wanted.input)
                if hidden:
                    raise Refused(hidden)


def _stands(wanted: Search) -> set[str]:
    """Where those that fit may stand. With no status given only open ones are looked for by what went wrong, or by
    whose they are."""
    stands = {stand for status in wanted.statuses or STANDS for stand in STANDS[status]}
    narrow = wanted.steps or wanted.fingerprints or wanted.assigned is not None
    if narrow and not wanted.statuses:
        stands -= {Stand.ENDED}
    if wanted.stuck:
        stands &= set(RESTING)
    if wanted.troubles:
        stands &= {stand for stand, trouble in RESTING.items() if trouble in wanted.troubles}
    return stands


def fits(wanted: Search, row: HomeRow, line: SagaLine) -> bool:
    """Whether a saga is one that is looked for."""
    return (
        (not wanted.statuses or line.status in wanted.statuses)
        and (not wanted.steps or line.step in map(step_of, wanted.steps))
        and (not wanted.fingerprints or line.fingerprint in wanted.fingerprints)
        and line.id.startswith(wanted.key)
        and (wanted.assigned is None or line.assigned == wanted.assigned)
        and (wanted.started_after is None or line.started_at >= wanted.started_after)
        and (wanted.started_before is None or line.started_at < wanted.started_before)
        and (wanted.changed_before is None or line.changed_at < wanted.changed_before)
        and (not wanted.versions or _is_version(row, wanted.versions))
        and (not wanted.input or (row.route is not None and has_fields(row.rows[0], wanted.input)))
    )


def _is_version(row: HomeRow, versions: Sequence[str]) -> bool:
    begins = (version for version in versions if len(version) >= VERSION_CHARACTERS_MIN)
    return row.plan.version in versions or any(map(row.saga.fingerprint.startswith, begins))


def _grouped(lines: Iterable[SagaLine], limit: int) -> tuple[Group, ...]:
    by_print: dict[str, list[SagaLine]] = {}
    for line in lines:
        by_print.setdefault(line.fingerprint, []).append(line)
    groups = [
        Group(
            fingerprint,
            one[0].saga,
            one[0].step,
            one[0].stuck or one[0].reason,
            len(one),
            min(line.changed_at for line in one),
            max(line.changed_at for line in one),
            one[0].id,
        )
        for fingerprint, one in by_print.items()
    ]
    return tuple(sorted(groups, key=lambda group: (-group.count, group.fingerprint))[:limit])


def _ends(lines: Sequence[SagaLine], since: float) -> Ends:
    words = Counter(line.status for line in lines if line.changed_at >= since)
    return Ends(words["completed"], words["compensated"], len(lines) >= LOOK_PAGES * PAGE)


def _minutes(instants: Iterable[float], since: float) -> tuple[int, ...]:
    found = [0] * MINUTES
    for at in instants:
        if at >= since:
            found[min(int((at - since) / 60), MINUTES - 1)] += 1
    return tuple(found)
