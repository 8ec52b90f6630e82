"""The workers of a database: who is alive, what they run, and so which sagas nobody runs.

All of it is judged by the registrations: their plans, leases and retirements. A saga whose definition
nobody knows, or whose version nobody has, is told from its plan alone.

Guarantees: a few small reads, however many sagas are open; the same words everywhere.
Must not: read a journal, or write.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, Sequence

from amends.decide.watching import watched_of
from amends.store.base import OPEN, PlanRow, SagaRow, Store, WorkerRow
from amends.store.sqlite import SqliteStore
from amends.store.sqlite_lock import WorkerLock

MOVING = ("running", "compensating")
LATE_SECONDS = 60.0  # due for longer, and nobody took it
LEFT_SECONDS = 40.0  # within which workers of another version take over what nobody has, or say why not


class Crew:
    """The workers as they were at one look. live: those that are alive, as far as can be told from here."""

    def __init__(
        self, plans: Mapping[int, PlanRow], rows: Iterable[WorkerRow], live: Sequence[WorkerRow], now: float
    ) -> None:
        self.live: Sequence[WorkerRow] = live
        rows = tuple(rows)
        self._plans = plans
        self._now = now
        self._ids = {row.id for row in live}
        self._watched = {number: found for number, row in plans.items() if (found := watched_of(row.fingerprint))}
        alive = [row for row in rows if row.retired_at is None and row.expires_at >= now]
        self.watchers: Sequence[WorkerRow] = alive if self._watched else ()
        self._heard = {plan for row in self.watchers for plan in row.plans}
        self._runs = {plan for row in live for plan in row.plans}
        self._names = {plans[plan].name for plan in self._runs if plan in plans}
        self._left_at: dict[int, float] = {}  # when the last worker with a plan went
        for row in rows:
            if row.id not in self._ids:
                for plan in row.plans:
                    at = row.left_at or row.retired_at or row.expires_at
                    self._left_at[plan] = max(at, self._left_at.get(plan, 0.0))

    @property
    def strange(self) -> tuple[int, ...]:
        """Plans whose definitions no live worker knows."""
        return tuple(
            number for number, row in self._plans.items() if row.name not in self._names and number not in self._watched
        )

    @property
    def left(self) -> tuple[int, ...]:
        """Plans whose definitions live workers know, but that none of them has, for a while already."""
        return tuple(number for number, row in self._plans.items() if row.name in self._names and self._is_left(number))

    def nobody(self, row: SagaRow) -> str:
        """Why no live worker runs an open saga; empty where one does or is about to. A stalled one says so itself."""
        if row.status not in OPEN or row.stalled is not None or row.owner in self._ids or self.home(row.plan):
            return ""
        name = self._plans[row.plan].name if row.plan in self._plans else ""
        if not self.live:
            return "no worker is alive"
        if name not in self._names:
            return f"no live worker runs {name!r}"
        if row.status == "parked":
            return ""
        late = self._now - row.wake_at if row.owner is None and row.wake_at is not None else 0.0
        if late > LATE_SECONDS:
            return f"it is due for {late:.0f} s and no worker takes it"
        if self._is_left(row.plan) and self._now - row.created_at > LEFT_SECONDS:
            return f"no live worker has its version of {name!r}, and none with another has taken it over"
        return ""

    @property
    def watches(self) -> bool:
        """Whether sagas are only watched here."""
        return bool(self._watched)

    def home(self, plan: int) -> str:
        """Of a plan that is only watched here, the service that starts its sagas; empty of one that is run."""
        found = self._watched.get(plan)
        return "" if found is None else found.home

    def silent(self, row: SagaRow) -> bool:
        """Whether something should have been heard of a watched saga, by whoever hears all there is to hear."""
        due = row.wake_at is not None and row.wake_at <= self._now
        return due and row.status in MOVING and row.plan in self._watched and row.plan in self._heard

    def _is_left(self, plan: int) -> bool:
        late = self._now - self._left_at.get(plan, 0.0) > LEFT_SECONDS
        return late and plan not in self._runs and plan not in self._watched


async def crew_of(store: Store, plans: Mapping[int, PlanRow]) -> Crew:
    """Look who is there. plans: all that are registered."""
    rows = await store.workers()
    return Crew(plans, rows, _live(store, rows), store.now())


def _live(store: Store, rows: Iterable[WorkerRow]) -> list[WorkerRow]:
    now, here = store.now(), socket.gethostname()
    rows = [row for row in rows if row.retired_at is None]
    if store.leases:
        return [row for row in rows if row.expires_at >= now]
    if isinstance(store, SqliteStore) and not WorkerLock(store.path).held_by_somebody():
        return []
    return [row for row in rows if row.host != here or _is_alive(row.pid)]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
