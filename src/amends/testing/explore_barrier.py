"""The barrier in a run: what is done at most once, and taken back where it fails, as one transaction does both.

Guarantees: what follows from a row is decided by `decide/barrier.py`; what was not kept left nothing in the world.
Must not: know who asks, an orchestrator or a service.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from amends.decide import messages as m
from amends.decide.barrier import Arrival, Entry, Kept, Verdict, answer, arrives
from amends.decide.events import Phase
from amends.decide.messages import Message
from amends.decide.wire import Word
from amends.testing.explore_world import copied

if TYPE_CHECKING:
    from amends.testing.explore_run import Run

SAVEPOINT = "amends_explore"
COPIED = ("what a handler did is taken back where it fails, so the world is copied", "give it a __deepcopy__")


class Before:
    """What the world was before something was done in it.

    Where a `sqlite3.Connection` stands in it, that goes back to a savepoint; else the world is copied.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._connections = connections_in(run.world)
        self._copy = None if self._connections else copied(run.world, *COPIED)
        for connection in self._connections:
            connection.execute(f"SAVEPOINT {SAVEPOINT}")

    def take_back(self) -> None:
        """Nothing of it has happened."""
        for connection in self._connections:
            connection.execute(f"ROLLBACK TO {SAVEPOINT}")
        if not self._connections:
            self._run.restore(self._copy)

    def end(self) -> None:
        """Whatever was not taken back stays."""
        for connection in self._connections:
            connection.execute(f"RELEASE {SAVEPOINT}")


def through(
    run: Run, address: str, arrival: Arrival, payload: bytes | None, do: Callable[[Entry | None], Message]
) -> tuple[Message, bool]:
    """Do it, if the barrier lets it through: what is answered, and whether it was answered before. payload: of a
    command, for its compensation. do: is given the row."""
    rows = run.inbox.setdefault(address, {})
    ruling = arrives(arrival, rows, run.now)
    for lower in ruling.tombstones:
        rows[lower] = Entry(Kept.TOMBSTONE)
    entry = rows.get(arrival.round)
    if ruling.entry is not None:
        rows[arrival.round] = ruling.entry
    if ruling.verdict is not Verdict.RUN:
        return _again(address, arrival.phase, ruling.verdict, entry), ruling.verdict is Verdict.REPLAY
    before = Before(run)
    try:
        message = do(entry)
        if not isinstance(message, m.Done):
            before.take_back()
    finally:
        before.end()
    if isinstance(message, m.Done) and arrival.phase is Phase.UNDO and entry is not None:
        rows[arrival.round] = entry._replace(compensated=True)
    elif isinstance(message, m.Done):
        rows[arrival.round] = Entry(Kept.SUCCEEDED, result=message.result, command=payload)
    elif isinstance(message, m.No) and arrival.phase is Phase.ACTION:
        rows[arrival.round] = Entry(Kept.REJECTED, reason=message.reason)
    return message, False


def connections_in(world: Any) -> list[sqlite3.Connection]:
    """The connections in a world: it itself, its entries, or its attributes."""
    parts = [world, *getattr(world, "__dict__", {}).values()]
    if isinstance(world, Mapping):
        parts = list(world.values())
    elif isinstance(world, (list, tuple)):
        parts = list(world)
    return [part for part in parts if isinstance(part, sqlite3.Connection)]


def _again(address: str, phase: Phase, verdict: Verdict, entry: Entry | None) -> Message:
    """What is said where nothing is called."""
    if verdict is Verdict.REPLAY and entry is not None:
        if phase is Phase.ACTION and entry.action is Kept.REJECTED:
            return m.No(address, phase, entry.reason, sure=True)
        return m.Done(address, phase, (entry.result if phase is Phase.ACTION else None) or b"null")
    word = answer(verdict, entry)
    return m.Done(address, phase, void=True) if word is Word.VOID else m.Barred(address, phase, word)
