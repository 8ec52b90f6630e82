"""The timeouts of all attempts behind one timer: each is asked at its time, whatever another does."""

from __future__ import annotations

import asyncio
import logging

import pytest

from amends.run.timers import Deadlines
from amends.testing.virtual import run_virtually


class Bell:
    """Rings when its time has come; a broken one raises."""

    def __init__(self, deadline: float, rung: list[float], *, broken: bool = False) -> None:
        self.deadline = deadline
        self._rung = rung
        self._broken = broken

    def expire(self) -> bool:
        if self._broken:
            raise RuntimeError("the bell is broken")
        self._rung.append(self.deadline)
        return False


def test_each_deadline_is_acted_upon_at_its_time_and_once() -> None:
    rung: list[float] = []

    async def main() -> None:
        deadlines = Deadlines(asyncio.get_running_loop())
        for deadline in (3.0, 1.0, 2.0):
            deadlines.watch(Bell(deadline, rung))
        await asyncio.sleep(1.5)
        assert rung == [1.0]
        await asyncio.sleep(10.0)

    run_virtually(main())

    assert rung == [1.0, 2.0, 3.0]


def test_a_deadline_that_fails_keeps_no_other_from_its_own(caplog: pytest.LogCaptureFixture) -> None:
    rung: list[float] = []

    async def main() -> None:
        deadlines = Deadlines(asyncio.get_running_loop())
        deadlines.watch(Bell(1.0, rung, broken=True))
        deadlines.watch(Bell(1.0, rung))
        deadlines.watch(Bell(2.0, rung))
        await asyncio.sleep(10.0)

    with caplog.at_level(logging.ERROR, logger="amends.timers"):
        run_virtually(main())

    assert rung == [1.0, 2.0]
    assert "could not be acted upon" in caplog.text


class Last(Bell):
    """Whoever looks at its deadline sees another one go: as a function that was given up, and that nothing holds any
    more, is collected in the middle of whatever is done just then, and its clock stopped."""

    def __init__(self, deadlines: Deadlines, gone: Bell, rung: list[float]) -> None:
        super().__init__(1.0, rung)
        self._deadlines, self._gone = deadlines, gone

    @property
    def deadline(self) -> float:
        self._deadlines.forget(self._gone)
        return self._at

    @deadline.setter
    def deadline(self, at: float) -> None:
        self._at = at


def test_one_that_goes_while_all_are_looked_at_keeps_no_other_from_its_own() -> None:
    rung: list[float] = []

    async def main() -> None:
        deadlines = Deadlines(asyncio.get_running_loop())
        gone = Bell(1.5, rung)
        deadlines.watch(Last(deadlines, gone, rung))
        deadlines.watch(Bell(1.0, rung))
        deadlines.watch(Bell(2.0, rung))
        deadlines.watch(gone)
        await asyncio.sleep(10.0)

    run_virtually(main())

    assert rung == [1.0, 1.0, 2.0]
