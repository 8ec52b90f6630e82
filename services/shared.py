"""One server of a kind for all processes of a test run: the first that needs it starts it, the last one gone ends it.

Guarantees: processes that share a place share a server; none of them has to outlive the others, and a killed run
leaves no server behind.
Must not: stop or kill the server; whoever wants that takes a private one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from services.broker import Broker
from services.databases import Databases
from services.keeper import Use
from services.postgres import Postgres
from services.server import Server

S = TypeVar("S", bound=Server)
_STARTED: list[Server] = []  # servers that this process has started and may leave to others


@contextlib.contextmanager
def shared_postgres(place: Path) -> Iterator[Databases]:
    """The PostgreSQL of a place, any directory that the processes have in common."""
    with _shared(place / "postgres", Postgres, lambda server: server.admin_url) as admin_url:
        yield Databases(admin_url)


@contextlib.contextmanager
def shared_broker(place: Path, kind: type[Broker]) -> Iterator[str]:
    """The URL of the broker of a kind and a place."""
    with _shared(place / kind.name.lower(), kind, lambda server: server.url) as url:
        yield url


@contextlib.contextmanager
def _shared(place: Path, make: Callable[[], S], way_in: Callable[[S], str]) -> Iterator[str]:
    """The way into the server whose note lies at a place."""
    note = place.with_suffix(".json")
    with _alone(place.with_suffix(".lock")):
        url, use = _joined(note) or _started(note, make, way_in)
    try:
        yield url
    finally:
        use.close()


def _joined(note: Path) -> tuple[str, Use] | None:
    """The server that the note tells of, if it is there for as long as it is used."""
    if not note.exists():
        return None
    told = json.loads(note.read_text())
    use = Use.begun(Path(told["directory"]))
    return (told["url"], use) if use else None


def _started(note: Path, make: Callable[[], S], way_in: Callable[[S], str]) -> tuple[str, Use]:
    server = make()
    try:
        server.start()
    except BaseException:
        server.close()
        raise
    _STARTED.append(server)
    note.touch(mode=0o600)
    note.write_text(json.dumps({"directory": str(server.directory), "url": way_in(server)}))
    return way_in(server), server.use


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
