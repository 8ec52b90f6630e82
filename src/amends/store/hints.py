"""Hints between the processes on one SQLite file: datagrams beside the database.

A client wakes the worker after a start or a mail; the worker wakes the clients that watch a
saga. A hint may be lost, come twice or never: a poll stands behind each.

Guarantees: sending never blocks and never raises.
Must not: carry anything that matters.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

PATH_BYTES_MAX = 100  # what a socket's address can hold, nearly
WATCHED_MAX = 100_000
_numbers = count(1)


class Hints:
    """One process's end. `work`: it is the worker's."""

    def __init__(self, database: Path, *, work: bool) -> None:
        self._worker = f"{database}-hint"
        self._own = self._worker if work else f"{self._worker}-{os.getpid()}-{next(_numbers)}"
        self._work = work
        self._socket: socket.socket | None = None
        self._watchers: dict[str, set[str]] = {}
        self._callback: Callable[[str], None] | None = None

    def open(self, callback: Callable[[str], None]) -> None:
        """Listen on the running loop. Where sockets are not to be had, polls must do."""
        self._callback = callback
        if len(os.fsencode(self._own)) > PATH_BYTES_MAX or not hasattr(socket, "AF_UNIX"):
            return
        with contextlib.suppress(OSError):
            Path(self._own).unlink(missing_ok=True)
            end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            end.setblocking(False)
            end.bind(self._own)
            self._socket = end
            asyncio.get_running_loop().add_reader(end.fileno(), self._read)
        if self._work:
            self._sweep()

    def close(self) -> None:
        """Stop listening. May be called twice."""
        end, self._socket = self._socket, None
        if end is not None:
            with contextlib.suppress(RuntimeError):
                asyncio.get_running_loop().remove_reader(end.fileno())
            end.close()
            Path(self._own).unlink(missing_ok=True)

    def wake_worker(self) -> None:
        """Tell the worker, in this process or another, that there may be work."""
        if self._work:
            self._tell("work")
        else:
            self._send(self._worker, "work")

    def watch(self, key: str) -> None:
        """Ask the worker for a hint when this saga comes to rest."""
        if not self._work and self._socket is not None:
            self._send(self._worker, f"watch\n{self._own}\n{key}")

    def announce(self, keys: Sequence[str]) -> None:
        """Tell those who watch these sagas, once; here and in other processes."""
        for key in keys:
            self._tell(key)
            for address in self._watchers.pop(key, ()):
                self._send(address, f"key\n{key}")

    def _read(self) -> None:
        for message in self._messages():
            kind, _, rest = message.partition("\n")
            if kind == "work":
                self._tell("work")
            elif kind == "key":
                self._tell(rest)
            elif kind == "watch" and len(self._watchers) < WATCHED_MAX:
                address, _, key = rest.partition("\n")
                self._watchers.setdefault(key, set()).add(address)
                self._tell(f"watched\n{key}")

    def _messages(self) -> Iterator[str]:
        while self._socket is not None:
            try:
                yield self._socket.recv(65536).decode(errors="replace")
            except OSError:
                return

    def _send(self, address: str, message: str) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(OSError):
            self._socket.sendto(message.encode(errors="replace"), address)

    def _tell(self, message: str) -> None:
        if self._callback is not None:
            self._callback(message)

    def _sweep(self) -> None:
        """Remove the sockets of clients that were killed."""
        folder, prefix = Path(self._worker).parent, Path(self._worker).name + "-"
        for path in folder.glob(f"{prefix}*"):
            process = path.name.removeprefix(prefix).partition("-")[0]
            if process.isdigit() and not _alive(int(process)):
                path.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
