"""The alert: a webhook is told when the set of stuck sagas changes.

A look compares what is stuck with what was told. What differs becomes one notice with an id; it is kept, sent until the
webhook says that it has it, and only then counts as told. So a restart repeats nothing that arrived, loses nothing that
did not, and what comes twice comes under the same id.

Guarantees: at most one notice is on its way, and one look is made per interval, however much changes; a notice that
does not arrive is sent again, less and less often; nothing that goes wrong ends the watch.
Must not: act on a saga.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from random import random
from typing import NamedTuple, Protocol

from amends.decide.policy import Policy
from amends.errors import AmendsError, DefinitionError
from amends.operate.alert_notice import Pages, Pending, Position, compare, notice, position_of, summary
from amends.operate.alert_post import Message, NotDelivered
from amends.operate.values import StuckPage, Trouble

EVERY_SECONDS = 60.0
LOOK_MAX = 1000
POSITION_BYTES_MAX = 16_000_000
AGAIN = Policy(attempts=None, first_delay=5.0, cap=900.0)  # a webhook that is down is asked every quarter of an hour
TROUBLES = frozenset(Trouble) - {Trouble.WAITING}  # a wait for a signal is often as it should be


class Sees(Protocol):
    """What can tell what is stuck: `Operations`, or `HomeOperations`."""

    async def stuck(self, *, limit: int = ..., troubles: Collection[Trouble] = ...) -> StuckPage:
        """The sagas that wait for somebody."""
        ...


class Posts(Protocol):
    """What can send a message: `Webhook`."""

    async def post(self, message: Message, at: float) -> None:
        """Send it once. Raises NotDelivered."""
        ...


class Look(NamedTuple):
    """What came of a look. told: what was delivered, in words; empty where nothing was to be told. wrong: why it was
    not, why nothing could be seen, or why a restart would not know of it."""

    told: str = ""
    wrong: str = ""


class Kept:
    """Where the position is kept: a file, or only in memory. What stands in the file is read once. behind: the file
    could not be written, and memory knows more."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: Position | None = None
        self.behind: bool = False

    def read(self) -> Position:
        """How far the webhook was told; nothing where there is no file yet. Raises DefinitionError."""
        if self._known is None:
            self._known = Position() if self._path is None else _position_in(self._path)
        return self._known

    def write(self, position: Position) -> None:
        """Keep it, as a whole or not at all. Raises DefinitionError."""
        self._known = position
        if self._path is None:
            return
        self.behind = True
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(prefix=f".{self._path.name}-", dir=self._path.parent)
            try:
                with open(handle, "w") as file:
                    file.write(position.json())
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, self._path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(name)
                raise
            self.behind = False
        except OSError as error:
            raise DefinitionError(f"{self._path}: the position of the alert cannot be kept: {error.strerror}") from None


def _position_in(path: Path) -> Position:
    try:
        with path.open("rb") as file:
            found = file.read(POSITION_BYTES_MAX + 1)
        if len(found) > POSITION_BYTES_MAX:
            raise ValueError("it is too long")
        return position_of(found.decode())
    except FileNotFoundError:
        return Position()
    except (OSError, ValueError) as error:
        raise DefinitionError(
            f"{path}: the position of the alert cannot be read: {error}. Remove the file to be told of everything that "
            "is stuck once more"
        ) from None


class Alert:
    """Tells a webhook of what is stuck.

    sight: `Operations` of a database. hook: a `Webhook`. place: where these sagas are, for whoever reads the notice.
    state: a file for the position; without one, a restart tells of everything that is stuck once more. reasons: whether
    a notice says why. pages: a dashboard that a notice leads to.
    """

    def __init__(
        self,
        sight: Sees,
        hook: Posts,
        *,
        place: str = "",
        troubles: Iterable[Trouble] = TROUBLES,
        state: Path | None = None,
        reasons: bool = True,
        pages: Pages | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sight = sight
        self._hook = hook
        self._place = place
        self._troubles = frozenset(troubles)
        self._kept = Kept(state)
        self._reasons = reasons
        self._pages = pages
        self._clock = clock

    async def look(self) -> Look:
        """Look once, and tell what there is to tell. Raises DefinitionError where the position cannot be kept."""
        return await self._look(self._kept.write)

    async def _look(self, keep: Callable[[Position], object]) -> Look:
        position = self._kept.read()
        if self._kept.behind:
            keep(position)
        if position.pending is None:
            try:
                page = await self._sight.stuck(limit=LOOK_MAX, troubles=self._troubles)
            except AmendsError as error:
                return Look("", f"what is stuck cannot be seen: {error}")
            change = compare(position.known, page)
            if not change:
                return Look()
            body = notice(change, page, self._clock(), self._place, reasons=self._reasons, pages=self._pages).decode()
            pending = Pending(f"msg_{secrets.token_hex(12)}", body, change.known)
            told = summary(change)
            keep(Position(position.known, pending))
        else:
            pending, told = position.pending, "one that could not be delivered before"
        try:
            await self._hook.post(Message(pending.id, pending.body.encode()), self._clock())
        except NotDelivered as error:
            return Look("", f"the webhook was not told: {error}")
        keep(Position(pending.known))
        return Look(told)

    async def run(self, *, every: float = EVERY_SECONDS, report: Callable[[Look], object] = lambda look: None) -> None:
        """Look again and again, until cancelled. report: hears of every look. A notice that did not arrive is sent
        again after 5 s, then less and less often. Where the position cannot be written, the webhook is told all the
        same: once too often after a restart is better than never. Raises DefinitionError where there is a position at
        the beginning that cannot be read."""
        self._kept.read()
        failures = 0
        while True:
            unkept: list[str] = []
            look = await self._look(partial(self._keep, unkept))
            report(look._replace(wrong="; ".join(filter(None, (look.wrong, *unkept)))))
            failures = failures + 1 if look.wrong else 0
            again = AGAIN.delay(failures, random())  # noqa: S311  # spreads the load, no secret
            await asyncio.sleep(again if failures else every)

    def _keep(self, unkept: list[str], position: Position) -> None:
        """Keep it in the file, or at least in memory, and say why."""
        try:
            self._kept.write(position)
            unkept.clear()
        except DefinitionError as error:
            unkept[:] = (f"{error}. The watch goes on; if it starts again now, the webhook is told some things twice",)
