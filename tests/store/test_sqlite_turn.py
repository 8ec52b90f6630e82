"""Taking turns is politeness: it is waited for, not for ever, and not again and again."""

from __future__ import annotations

from pathlib import Path

import pytest

from amends.store import sqlite_turn
from amends.store.sqlite_turn import WAIT_SECONDS, Turn


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    """The module's clock."""
    fake = FakeTime()
    monkeypatch.setattr(sqlite_turn, "time", fake)
    return fake


def opened(path: Path) -> Turn:
    """One end of the queue; a second one in this process stands for another process."""
    turn = Turn(path)
    turn.open()
    return turn


def test_a_turn_that_is_free_costs_no_time(tmp_path: Path, clock: FakeTime) -> None:
    turn = opened(tmp_path / "sagas.db")

    with turn:
        pass

    assert clock.now == 0.0


def test_a_holder_that_is_stopped_is_waited_for_once(tmp_path: Path, clock: FakeTime) -> None:
    frozen, worker = opened(tmp_path / "sagas.db"), opened(tmp_path / "sagas.db")
    frozen.take()

    worker.take()
    first = clock.now
    worker.leave()
    for _ in range(100):
        worker.take()
        worker.leave()

    assert WAIT_SECONDS <= first < WAIT_SECONDS + 0.1
    assert clock.now == first, "every commit waits for a frozen client"


def test_once_the_turn_was_had_again_it_is_waited_for_again(tmp_path: Path, clock: FakeTime) -> None:
    other, worker = opened(tmp_path / "sagas.db"), opened(tmp_path / "sagas.db")
    other.take()
    worker.take()
    other.leave()
    worker.take()
    worker.leave()

    other.take()
    before = clock.now
    worker.take()

    assert clock.now - before >= WAIT_SECONDS
