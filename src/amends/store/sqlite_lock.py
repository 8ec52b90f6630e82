"""The right to be the worker of one SQLite file.

A worker holds an OS lock on a file beside the database for its life, so a second one is
refused at once and a killed one leaves nothing to wait for.

Guarantees: at most one holder at any time; nothing survives the process that holds it; a
forked child neither has the lock nor takes it from its parent.
Must not: wait, or be asked for by anybody but a worker.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path
from weakref import WeakSet

from amends.errors import StoreDamaged, StoreUnavailable, WorkerRunning

GLANCE_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02)
_TAKEN = (errno.EWOULDBLOCK, errno.EACCES)


class WorkerLock:
    """An OS lock, gone with the process that holds it."""

    def __init__(self, path: Path) -> None:
        self._database = path
        self._path = path.with_name(path.name + "-worker")
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock. Raises WorkerRunning where another worker holds it, and
        StoreUnavailable where the file beside the database cannot be made."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreUnavailable(
                f"{self._path} cannot be made ({error.strerror}); a worker holds it beside {self._database.name}"
            ) from None
        try:
            _lock_patiently(descriptor)
        except OSError as error:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            os.close(descriptor)
            if error.errno in _TAKEN:
                raise WorkerRunning(_words(self._database, holder)) from None
            raise StoreUnavailable(f"{self._path} cannot be locked: {error.strerror}") from None
        self._descriptor = descriptor
        _held.add(self)
        with contextlib.suppress(OSError):  # on a full disk the lock holds all the same, without its number
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)

    def keep(self) -> None:
        """See that the lock is still on the file that others look at, and take it anew where that
        was cleaned away. Raises StoreDamaged where another worker has come in meanwhile."""
        held = self._descriptor
        if held is None or _is_at(held, self._path):
            return
        self._descriptor = None
        try:
            self.take()
        except WorkerRunning as error:
            raise StoreDamaged(
                f"{self._path} was removed while this worker held it, so a second one could come in, and did: {error}"
            ) from None
        finally:
            os.close(held)

    def held_by_somebody(self) -> bool:
        """Whether any process, this one included, holds the lock. A glance: it may be taken the
        next moment. For that moment it keeps a worker out, who tries again."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def release(self) -> None:
        """Let the lock go. May be called twice. In a forked child it leaves the parent's alone:
        the lock belongs to what both have open, and goes when the last of them closes it."""
        descriptor, self._descriptor = self._descriptor, None
        _held.discard(self)
        if descriptor is not None:
            os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def _lock_patiently(descriptor: int) -> None:
    """Take the lock; a client that glances at it holds it for a moment only."""
    for pause in GLANCE_SECONDS:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(pause)
    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _words(database: Path, holder: str) -> str:
    who = "this process itself" if holder == str(os.getpid()) else f"process {holder or 'unknown'}"
    return (
        f"another worker ({who}) works on {database}; one SQLite file has one worker and any number of clients. "
        "Be a client here: `async with orchestrator.client()`, or `client_lifespan` in a web process"
    )


_held: WeakSet[WorkerLock] = WeakSet()


def _forget_all() -> None:
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_forget_all)
