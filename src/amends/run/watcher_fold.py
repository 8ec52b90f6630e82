"""Folding what is heard of choreographed sagas into a store: the rows of a baton become rows of a journal.

Guarantees: a row is written once, at its position, whoever writes it and however often; the head of a saga is owned
by nobody, and its plan is one that no worker runs.
Must not: add a row of its own, or hold anything that the store or the services have not.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

from amends.decide.baton import Progress, Saga
from amends.decide.events import Event
from amends.decide.evolve import apply, evolve
from amends.decide.plan import Plan, from_json
from amends.decide.state import State
from amends.decide.watching import Watched, fold, silent_from, sketch
from amends.errors import ImpossibleTransition, MessageRefused, StoreDamaged
from amends.run import journal
from amends.run.heads import mark
from amends.run.journey import rows_of
from amends.run.outcomes import first_trouble, why_back
from amends.run.session import input_hash
from amends.store.base import Fate, Filter, Head, NewSaga, PlanRow, Store, Write

KNOWN_MAX = 5_000  # sagas that are remembered, so that the store need not be asked
TRIES = 4  # for one saga, against others who write it, or have its id
_log = logging.getLogger("amends.watcher")


class Heard(NamedTuple):
    """What is told of a saga: all rows so far."""

    saga: Saga
    rows: list[bytes]


def heard_of(progress: Progress) -> Heard:
    """Raises MessageRefused for what is no history."""
    rows = rows_of(progress.history)
    if not rows:
        raise MessageRefused(f"the history of the saga {progress.saga.key!r:.60} is empty")
    return Heard(progress.saga, rows)


class Known(NamedTuple):
    """A saga as far as it is written. names: under how many ids it was tried."""

    length: int = 0
    state: State | None = None
    begun: float = 0.0
    names: int = 0


class _Step(NamedTuple):
    """What one saga is to be given, and how it stands then."""

    known: Known
    writes: list[Write]


class Watch:
    """The plans that a watcher knows, and their numbers in its store."""

    def __init__(self, store: Store, plans: Mapping[str, Plan]) -> None:
        self._store = store
        self._given = plans  # by fingerprint
        self._rows: dict[str, PlanRow] = {}  # by what stands in place of the fingerprint

    async def learn(self) -> list[PlanRow]:
        """Look at what is registered; gives all. Raises StoreError."""
        rows = await self._store.plans()
        self._rows = {row.fingerprint: row for row in rows}
        return rows

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of all."""
        return tuple(sorted(row.id for row in self._rows.values()))

    async def register(self, sagas: Sequence[Saga]) -> None:
        """See that the plans of some sagas are there, or what stands for them. Raises StoreError."""
        wanted: dict[str, tuple[str, str, str]] = {}
        for saga in sagas:
            plan = self._given.get(saga.fingerprint)
            known = Watched(saga.home, saga.fingerprint).text
            if known in self._rows:
                continue
            if plan is not None:
                wanted[known] = (known, plan.name, plan.json)
                continue
            strange = Watched(saga.home, saga.fingerprint, known=False).text
            if strange not in self._rows:
                _log.warning(
                    "the plan of %s (%s) is not known: give the watcher its saga, Watcher(…, sagas=[…])",
                    *(saga.plan, saga.fingerprint),
                )
                wanted[strange] = (strange, saga.plan, sketch(saga.plan, ()).json)
        if wanted:
            await self._store.add_plans(list(wanted.values()))
            await self.learn()

    def number(self, saga: Saga) -> int:
        """Of a registered one."""
        return self._row(saga).id

    def plan(self, saga: Saga, events: Sequence[Event]) -> Plan:
        """The plan, or what its events tell of it."""
        row = self._row(saga)
        if row.fingerprint == Watched(saga.home, saga.fingerprint).text:
            return self._given.get(saga.fingerprint) or from_json(row.body)
        return sketch(saga.plan, events)

    def _row(self, saga: Saga) -> PlanRow:
        known = self._rows.get(Watched(saga.home, saga.fingerprint).text)
        return known or self._rows[Watched(saga.home, saga.fingerprint, known=False).text]


class Folder:
    """Writes what is heard. patience: how long a service may take, whatever the plans say."""

    def __init__(self, store: Store, watch: Watch, patience: float | None) -> None:
        self._store = store
        self._watch = watch
        self._patience = patience
        self._known: OrderedDict[bytes, Known] = OrderedDict()

    async def fold(self, worker: int, heard: Sequence[Heard]) -> bool:
        """Write what is new of all this; whether that could be done. Raises Retired, StoreError."""
        await self._watch.register([one.saga for one in heard])
        sagas = {one.saga.id: one.saga for one in heard}
        told: dict[bytes, list[list[bytes]]] = {}
        for one in heard:
            told.setdefault(one.saga.id, []).append(one.rows)
        left = list(sagas)
        for _ in range(TRIES):
            left = await self._write(worker, {id_: self._step(sagas[id_], told[id_]) for id_ in left})
            if not left:
                return True
        return False

    def _step(self, saga: Saga, told: Sequence[list[bytes]]) -> _Step:
        """What one saga is to be given. One that is not known here may be there: then its rows are the same."""
        known = self._known.get(saga.id, Known())
        rows = fold(known.length, told)
        if not rows:
            return _Step(known, [])
        try:
            decoded = [(raw, journal.decode(raw)) for raw in rows]
            after = _after(known, decoded)
        except (ImpossibleTransition, LookupError, StoreDamaged) as error:
            _log.error("what is heard of the saga %s does not follow upon what is known: %s", saga.key, error)
            return _Step(known, [])
        return _Step(after, self._writes(saga, known, after, decoded))

    def _writes(self, saga: Saga, known: Known, after: Known, rows: Sequence[tuple[bytes, journal.Row]]) -> list[Write]:
        state = after.state
        assert state is not None  # noqa: S101  # there is a row
        plan = self._watch.plan(saga, [event for _, row in rows for event in row.events])
        head = _head(plan, state, rows[-1][1].at, self._patience)
        writes = [
            Write(saga.id, seq, _operation(saga.id, seq, raw), raw)
            for seq, (raw, _) in enumerate(rows, start=known.length)
        ]
        writes[-1] = writes[-1]._replace(head=head)
        if known.length == 0:
            hashed = input_hash(saga.plan, state.input)
            new = NewSaga(_name(saga, known.names), self._watch.number(saga), hashed, after.begun)
            writes[0] = writes[0]._replace(new=new, head=head)
        return writes

    async def _write(self, worker: int, steps: Mapping[bytes, _Step]) -> list[bytes]:
        """Write it; gives the sagas that are to be looked at again."""
        writes = [write for step in steps.values() for write in step.writes]
        fates = await self._store.commit(worker, writes) if writes else []
        told: dict[bytes, set[Fate]] = {}
        for write, fate in zip(writes, fates, strict=True):
            told.setdefault(write.saga, set()).add(fate)
        again: list[bytes] = []
        for saga, step in steps.items():
            became = told.get(saga, set())
            if became <= {Fate.WRITTEN}:
                self._remember(saga, step.known)
            elif Fate.EXISTS in became:  # another has its id
                self._known[saga] = Known(names=step.known.names + 1)
                again.append(saga)
            elif Fate.REFUSED in became:
                self._known.pop(saga, None)
            elif await self._look(saga):
                again.append(saga)
        return again

    async def _look(self, saga: bytes) -> bool:
        """Others have written it: learn what; whether that can be read."""
        try:
            self._known[saga] = await self._load(saga)
        except (ImpossibleTransition, LookupError, StoreDamaged) as error:
            _log.error("what is written of the saga %s cannot be read, and is left as it is: %s", saga.hex(), error)
            return False
        return True

    def _remember(self, saga: bytes, known: Known) -> None:
        self._known.pop(saga, None)
        if known.state is not None and not known.state.ended:
            self._known[saga] = known
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    async def _load(self, saga: bytes) -> Known:
        """What is written of a saga, by its internal id. Raises StoreError, ImpossibleTransition, LookupError."""
        number = int.from_bytes(saga, "big") + 1
        before = number.to_bytes(16, "big") if number < 1 << 128 else None
        rows = await self._store.find(Filter((), None, False, before, 1))  # the newest that is not newer
        loaded = await self._store.load(rows[0].key) if rows and rows[0].id == saga else None
        if loaded is None:
            return Known()
        return _after(Known(), [(raw, journal.decode(raw)) for raw in loaded.rows])


def _after(known: Known, rows: Sequence[tuple[bytes, journal.Row]]) -> Known:
    """A saga with more rows. Raises ImpossibleTransition, LookupError."""
    state = None if known.state is None else known.state.copy()
    for _, row in rows:
        for event in row.events:
            if state is None:
                state = evolve(None, event)
            else:
                apply(state, event)
    if state is None:
        raise ImpossibleTransition("a history without events tells of no saga")
    return Known(known.length + len(rows), state, known.begun or rows[0][1].at, known.names)


def _head(plan: Plan, state: State, at: float, patience: float | None) -> Head:
    """What finding the saga needs. Its `wake_at` is when it falls silent."""
    reason = state.parked or why_back(state) or None
    due, trouble = silent_from(plan, state, at, patience), first_trouble(state)
    fingerprint, step = mark(plan.name, state)
    return Head(str(state.status), None, due, trouble, reason, fingerprint=fingerprint, step=step)


def _name(saga: Saga, taken: int) -> str:
    """The id that a saga is found by: the user's, unless another home's saga has it."""
    return (saga.key, f"{saga.key}@{saga.home}", f"{saga.key}@{saga.home}:{saga.id.hex()}")[min(taken, 2)]


def _operation(saga: bytes, seq: int, raw: bytes) -> int:
    """The same for the same row: who writes it again has written it."""
    digest = blake2b(raw, digest_size=8, key=saga, salt=seq.to_bytes(16, "big")).digest()
    return int.from_bytes(digest, "big") >> 1
