"""One PostgreSQL for all processes of a test run: the first that needs it starts it, the last one gone ends it.

Guarantees: processes that share a place share a server; none of them has to outlive the others, and a killed run
leaves no server behind.
Must not: stop or kill the server; whoever wants that takes a private one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

from services.databases import Databases
from services.keeper import Use
from services.postgres import Postgres

_STARTED: list[Postgres] = []  # servers that this process has started and may leave to others


@contextlib.contextmanager
def shared_postgres(place: Path) -> Iterator[Databases]:
    """The server of a place, any directory that the processes have in common."""
    with _alone(place / "postgres.lock"):
        databases, use = _joined(place / "postgres.json") or _started(place / "postgres.json")
    try:
        yield databases
    finally:
        use.close()


def _joined(note: Path) -> tuple[Databases, Use] | None:
    """The server that the note tells of, if it is there for as long as it is used."""
    if not note.exists():
        return None
    told = json.loads(note.read_text())
    use = Use.begun(Path(told["directory"]))
    return (Databases(told["admin_url"]), use) if use else None


def _started(note: Path) -> tuple[Databases, Use]:
    server = Postgres()
    try:
        server.start()
    except BaseException:
        server.close()
        raise
    _STARTED.append(server)
    note.touch(mode=0o600)
    note.write_text(json.dumps({"directory": str(server.directory), "admin_url": server.admin_url}))
    return server.databases, server.use


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
