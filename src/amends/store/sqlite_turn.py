"""Taking turns at one SQLite file.

Whoever wants to write, or to read where a commit shuts readers out, stands in a queue of one: it
holds the turn until its transaction has begun. Who has just committed finds the turn taken, and
comes next.

Guarantees: politeness only. Where the turn cannot be had in `WAIT_SECONDS` (its holder is stopped,
the file cannot be made) writing goes on without, and SQLite's lock decides as ever.
Must not: be what correctness hangs on.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from pathlib import Path

WAIT_SECONDS = 0.5
PAUSE_SECONDS = 0.0005


class StoreConnection(sqlite3.Connection):
    """A connection that takes turns.

    wal: the file was in WAL mode when it was opened, where readers wait for nobody.
    patience_seconds: how long it waits for locks; then the file is busy.
    """

    turn: Turn | None = None
    wal: bool = False
    patience_seconds: float = 5.0

    def turn_on(self, path: Path) -> Turn:
        """Take turns with the others on this file from now on; gives the first turn."""
        self.turn = Turn(path)
        self.turn.open()
        return self.turn

    def close(self) -> None:
        """Close, and leave the queue."""
        super().close()
        if self.turn is not None:
            self.turn.close()


class Turn:
    """One connection's end of the queue."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + "-turn")
        self._descriptor: int | None = None
        self._stopped = False  # its holder has not moved for `WAIT_SECONDS`

    def open(self) -> None:
        """Be ready to queue. Where the file cannot be made there is no queue."""
        with contextlib.suppress(OSError):
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def close(self) -> None:
        """Leave the queue. May be called twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_: object) -> None:
        self.leave()

    def take(self) -> None:
        """Wait for the turn, not for ever, and once only for a holder that is stopped: a frozen
        client must not slow every commit of a worker."""
        if self._descriptor is None or self._try():
            self._stopped = False
            return
        until = time.monotonic() + (0.0 if self._stopped else WAIT_SECONDS)
        while time.monotonic() < until:
            time.sleep(PAUSE_SECONDS)
            if self._try():
                return
        self._stopped = True

    def leave(self) -> None:
        """Let the next one come."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _try(self) -> bool:
        try:
            fcntl.flock(self._descriptor or 0, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
