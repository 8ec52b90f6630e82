"""Flows in a watcher: the events of services, folded by their correlation into the store that sagas are seen in.

Guarantees: an event is written once, whoever hears it and however often; it is acked once that is on disk.
Must not: judge what is expected; `decide/flows.py` does.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from amends.decide.chain import chain_of
from amends.decide.events import Event
from amends.decide.evolve import apply, evolve, replay
from amends.decide.flow_rows import following, plan_of, seen_in
from amends.decide.flows import FlowPlan, Seen, open_expectations
from amends.decide.state import State
from amends.decide.watching import FLOW, GRACE_SECONDS, Watched, watched_of
from amends.decide.wire import KIND, Kind
from amends.errors import MessageRefused, StoreError, StoreUnavailable
from amends.message import Message
from amends.run import journal
from amends.run.session import input_hash
from amends.run.settings import ID_CHARACTERS_MAX
from amends.store.base import Fate, Head, Loaded, NewSaga, Retired, Store, Write
from amends.transport.base import Delivery

BATCH = 200  # events that are folded at once
EVENTS_MAX = 1000  # of one correlation; what comes after is not looked at
TRIES = 8  # for one correlation, against others who write it
PAUSE_SECONDS = 0.5  # between two tries, where the database is away
_log = logging.getLogger("amends.watcher")


class Told(NamedTuple):
    """An event of a flow."""

    flow: FlowPlan
    correlation: str
    seen: Seen


class Flows:
    """What a watcher expects of events."""

    def __init__(self, store: Store, flows: Sequence[FlowPlan]) -> None:
        self._store = store
        self._flows = {flow.name: flow for flow in flows}
        self._numbers: dict[str, frozenset[int]] = {}  # of the plans that a flow has had here
        self._current: dict[str, int] = {}
        self._came: deque[tuple[Delivery, tuple[Told, ...]]] = deque()
        self._soon = asyncio.Event()
        self.away: str = ""  # why nothing can be written at the moment
        self.idle: asyncio.Event = asyncio.Event()
        self.idle.set()

    @property
    def services(self) -> tuple[str, ...]:
        """Whose events are heard."""
        return tuple(dict.fromkeys(service for flow in self._flows.values() for service in flow.services))

    async def register(self) -> None:
        """See that each is in the store. Raises StoreError."""
        given = [(_text(flow), flow.name, plan_of(flow).json) for flow in self._flows.values()]
        if not given:
            return
        numbers = await self._store.add_plans(given)
        self._current = dict(zip(self._flows, numbers, strict=True))
        rows = [(row.id, row.name, watched_of(row.fingerprint)) for row in await self._store.plans()]
        for flow in self._flows.values():
            self._numbers[flow.name] = frozenset(
                number
                for number, name, watched in rows
                if watched is not None and (name, watched.home) == (flow.name, flow.first.service) and watched.is_flow
            )

    def hear(self, delivery: Delivery, message: Message) -> None:
        """Take an event that was delivered. Raises MessageRefused."""
        self._came.append((delivery, tuple(self._told(message))))
        self.idle.clear()
        self._soon.set()

    def _told(self, message: Message) -> list[Told]:
        if message.attributes.get(KIND) != Kind.EVENT:
            raise MessageRefused(f"{KIND} is {message.attributes.get(KIND)!r:.40}: no event")
        chain = chain_of(message)
        at = message.time if message.time > 0 else self._store.now()
        seen = Seen(message.type, message.id, at, chain.causation)
        flows = [flow for flow in self._flows.values() if any(one.type == message.type for one in flow.events)]
        return [Told(flow, chain.correlation, seen) for flow in flows]

    async def run(self, worker: Callable[[], int], registered: Callable[[int], Awaitable[object]]) -> None:
        """Fold what comes, until cancelled. worker: as who. registered: registers anew where that is gone."""
        while True:
            if not self._came:
                self.idle.set()
                await self._soon.wait()
            self._soon.clear()
            batch = [self._came.popleft() for _ in range(min(len(self._came), BATCH))]
            told = [one for _, each in batch for one in each]
            while not await self._written(told, worker(), registered):
                await asyncio.sleep(PAUSE_SECONDS)
            for delivery, _ in batch:
                await delivery.ack()

    async def _written(self, told: Sequence[Told], worker: int, registered: Callable[[int], Awaitable[object]]) -> bool:
        """Whether it is on disk, or never will be."""
        try:
            await self._fold(told, worker)
        except Retired:
            await registered(worker)
            return False
        except StoreError as error:
            if not self.away:
                _log.warning("what is heard of flows cannot be written: %s", error)
            self.away = str(error)
            return False
        except Exception:  # noqa: BLE001  # what befalls one must not befall the others
            if len(told) > 1:
                return all([await self._written([one], worker, registered) for one in told])
            _log.exception("an event of a flow cannot be written: this is a bug in amends")
        self.away = ""
        return True

    async def _fold(self, told: Sequence[Told], worker: int) -> None:
        """Write what is new. Raises Retired, StoreError."""
        waiting: dict[tuple[str, str], list[Told]] = {}
        for one in told:
            waiting.setdefault((one.flow.name, one.correlation), []).append(one)
        for _ in range(TRIES):
            steps = {name: await self._step(each) for name, each in waiting.items()}
            writes = [write for step in steps.values() for write in step]
            if not writes:
                return
            told_of = await self._store.commit(worker, writes)
            fates = {(write.saga, write.seq): fate for write, fate in zip(writes, told_of, strict=True)}
            for name, step in steps.items():
                if all(fates[one.saga, one.seq] in (Fate.WRITTEN, Fate.REFUSED) for one in step):
                    del waiting[name]
        names = ", ".join(f"{flow} with the correlation {correlation:.80}" for flow, correlation in waiting)
        raise StoreUnavailable(f"others write {names:.400} at the same time")

    async def _step(self, told: Sequence[Told]) -> list[Write]:
        """What one correlation is to be given."""
        flow, correlation = told[0].flow, told[0].correlation
        told = sorted(told, key=lambda one: (one.seen.at, one.seen.id))
        key, loaded = await self._place(flow, correlation)
        rows = () if loaded is None else loaded.rows
        history = [event for row in rows for event in journal.decode(row).events]
        state = replay(history) if history else None
        known = seen_in(history)
        saga = _saga_id(flow, correlation, told[0].seen.at) if loaded is None else loaded.head.id
        writes: list[Write] = []
        for one in told:
            events = following(flow, state, known, one.seen, correlation) if len(known) < EVENTS_MAX else []
            if not events:
                continue
            state = _after(state, events)
            known.append(one.seen)
            raw = journal.encode(one.seen.at, 0, events)
            seq = len(rows) + len(writes)
            new = None if seq else NewSaga(key, self._current[flow.name], input_hash(flow.name, raw), one.seen.at)
            writes.append(Write(saga, seq, _operation(saga, seq, raw), raw, new, _head(flow, state, known)))
        return writes

    async def _place(self, flow: FlowPlan, correlation: str) -> tuple[str, Loaded | None]:
        """The id that a correlation is found by, and what is there: its own, unless something else has that."""
        digest = blake2b(correlation.encode(), digest_size=8).hexdigest()
        short = correlation if len(correlation) <= ID_CHARACTERS_MAX else digest
        for key in (short, f"{short[:80]}@{flow.name}", f"{digest}@{flow.name}"):
            loaded = await self._store.load(key)
            if loaded is None or loaded.head.plan in self._numbers[flow.name]:
                return key, loaded
        return f"{digest}@{flow.name}:{flow.fingerprint}", None


def _after(state: State | None, events: Sequence[Event]) -> State:
    state = evolve(state, events[0])
    for event in events[1:]:
        apply(state, event)
    return state


def _head(flow: FlowPlan, state: State, known: Sequence[Seen]) -> Head:
    """What finding it needs. Its `wake_at` is when it falls silent."""
    found = () if state.ended else open_expectations(flow, known)
    return Head(str(state.status), None, found[0].until + GRACE_SECONDS if found else None)


def _text(flow: FlowPlan) -> str:
    return Watched(flow.first.service, FLOW + flow.fingerprint).text


def _saga_id(flow: FlowPlan, correlation: str, at: float) -> bytes:
    """In the order in which they began."""
    digest = blake2b(f"{flow.name}\n{correlation}".encode(), digest_size=10).digest()
    return int(at * 1000).to_bytes(6, "big") + digest


def _operation(saga: bytes, seq: int, raw: bytes) -> int:
    digest = blake2b(raw, digest_size=8, key=saga, salt=seq.to_bytes(16, "big")).digest()
    return int.from_bytes(digest, "big") >> 1
