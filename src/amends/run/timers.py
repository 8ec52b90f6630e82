"""The timeouts of all attempts of one worker, behind one timer of the loop.

A timer per attempt would be set and cancelled millions of times for the one that fires. Here
an attempt only enters its deadline; the loop is asked to look when the earliest is due.

Guarantees: an attempt is asked to stop at its deadline, not before.
Must not: judge what a deadline means.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

SLACK_SECONDS = 0.001
_log = logging.getLogger("amends.timers")


class Timed(Protocol):
    """Something with a deadline, on the loop's clock, that may move."""

    deadline: float

    def expire(self) -> bool:
        """The deadline has come. False if it is not to be watched any more."""
        ...


class Deadlines:
    """Whatever is watched, and when to look next."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: dict[Timed, None] = {}
        self._next = float("inf")
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, timed: Timed) -> None:
        """Call `expire` once its deadline has come."""
        self._watched[timed] = None
        if timed.deadline < self._next - SLACK_SECONDS:
            self._look_at(timed.deadline)

    def forget(self, timed: Timed) -> None:
        """It is over."""
        self._watched.pop(timed, None)

    def close(self) -> None:
        """Watch nothing any more."""
        self._watched.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _look_at(self, instant: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = instant
        self._timer = self._loop.call_at(instant, self._look)

    def _look(self) -> None:
        now = self._loop.time() + SLACK_SECONDS
        self._timer, self._next = None, float("inf")
        for timed in self._all():
            if timed.deadline <= now and timed in self._watched and not self._expire(timed):
                self._watched.pop(timed, None)
        if left := self._all():
            self._look_at(min(timed.deadline for timed in left))

    def _all(self) -> list[Timed]:
        """Those that are watched now. A copy: when garbage is collected, which may be at any line, a function that was
        given up is closed, and forgets its deadline."""
        return list(self._watched)

    def _expire(self, timed: Timed) -> bool:
        """One that fails must not keep the others from being asked."""
        try:
            return timed.expire()
        except Exception:  # noqa: BLE001  # logged; the others have nothing to do with it
            _log.exception("the timeout of %r could not be acted upon: this is a bug in amends", timed)
            return False
