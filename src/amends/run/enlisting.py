"""Starting and signalling inside a transaction of the user's own.

Guarantees: what is written exists if and only if that transaction commits. It is written where the
caller is, on its thread or its loop, never on a loop in the background.
Must not: wait for the transaction; it is the user's to end.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from math import ceil
from typing import Any

from amends.define.nodes import Signal
from amends.define.saga import Saga
from amends.errors import NotEnlisted, UnknownSaga
from amends.store.base import Joined, JoinedAsync, NewMail, SagaRow, Store, Write

LATER_HINTS_SECONDS = (0.02, 0.1, 0.5)
HINTS_APART_SECONDS = 0.02  # however many transactions are on their way


class Enlisting:
    """The part of a session that writes into transactions of users."""

    store: Store
    loop: asyncio.AbstractEventLoop
    _hints_due: set[int]

    @abstractmethod
    def _held(self, saga: Saga[Any, Any], value: Any, key: str | None) -> Write:
        """The rows of a saga for whichever worker claims it."""

    @abstractmethod
    def _same(self, saga: Saga[Any, Any], write: Write, existing: SagaRow) -> None:
        """Raises IdConflict where the id is that of another saga, or of another input."""

    @abstractmethod
    def signal_mail(self, key: str, signal: Signal[Any], value: Any, message: str | None) -> NewMail:
        """The mail of a signal."""

    def enlist(self, saga: Saga[Any, Any], value: Any, key: str | None, within: object) -> str:
        """Start a saga on the thread that calls; gives its id. Raises what `Session.start` raises, and
        NotEnlisted."""
        write = self._held(saga, value, key)
        joined = self._joined(within)
        return self._enlisted(saga, write, joined, joined.add(write))

    async def enlist_here(self, saga: Saga[Any, Any], value: Any, key: str | None, within: object) -> str:
        """The same on the loop that calls, for drivers of either kind."""
        write = self._held(saga, value, key)
        joined = self.store.join(within)
        existing = await joined.add(write) if joined.awaited is True else joined.add(write)
        return self._enlisted(saga, write, joined, existing)

    def enlist_signal(self, mail: NewMail, within: object) -> None:
        """Send a signal on the thread that calls. Raises UnknownSaga and NotEnlisted."""
        joined = self._joined(within)
        self._signalled(mail, joined, there=joined.send(mail))

    async def enlist_signal_here(self, mail: NewMail, within: object) -> None:
        """The same on the loop that calls, for drivers of either kind."""
        joined = self.store.join(within)
        self._signalled(mail, joined, there=await joined.send(mail) if joined.awaited is True else joined.send(mail))

    # Parts

    def _joined(self, within: object) -> Joined:
        joined = self.store.join(within)
        if joined.awaited is True:
            raise NotEnlisted(
                "within=: that connection is asynchronous, and this is a synchronous call: in asynchronous code, "
                "`await orchestrator.start(…, within=…)` on the connection's own loop"
            )
        return joined

    def _enlisted(
        self, saga: Saga[Any, Any], write: Write, joined: Joined | JoinedAsync, existing: SagaRow | None
    ) -> str:
        new = write.new
        if new is None:
            raise TypeError("a start carries its saga")
        if existing is not None:
            self._same(saga, write, existing)
        self._hint_when_committed(joined)
        return new.key

    def _signalled(self, mail: NewMail, joined: Joined | JoinedAsync, *, there: bool) -> None:
        if not there:
            raise UnknownSaga(f"there is no saga with the id {mail.key!r} in this namespace")
        self._hint_when_committed(joined)

    def _hint_when_committed(self, joined: Joined | JoinedAsync) -> None:
        """Have the workers look when there is something to see. Where nobody says when that is, a little
        later and later still; the poll stands behind it."""
        if not joined.after_commit(self._committed):
            self._on_loop(self._hint_later)

    def _committed(self) -> None:
        self._on_loop(self._hint_now)

    def _on_loop(self, do: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # it is closed, and with it the line that hints go by
            self.loop.call_soon_threadsafe(do)

    def _hint_now(self) -> None:
        self.store.hint([], work=True)
        self._hint_later()  # some libraries say it just before

    def _hint_later(self) -> None:
        for delay in LATER_HINTS_SECONDS:
            place = ceil((self.loop.time() + delay) / HINTS_APART_SECONDS)
            if place not in self._hints_due:
                self._hints_due.add(place)
                self.loop.call_at(place * HINTS_APART_SECONDS, partial(self._hint_due, place))

    def _hint_due(self, place: int) -> None:
        self._hints_due.discard(place)
        self.store.hint([], work=True)
