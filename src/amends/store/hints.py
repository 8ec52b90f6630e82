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
WATCHED_MAX = 100_000  # beyond it the oldest make room: who is forgotten has its poll
MESSAGES_MAX = 1000  # read in one go; the loop comes again for the rest
_numbers = count(1)


class Hints:
    """One process's end. `work`: it is the worker's."""

    def __init__(self, database: Path, *, work: bool) -> None:
        self._worker = f"{database}-hint"
        self._own = self._worker if work else f"{self._worker}-{os.getpid()}-{next(_numbers)}"
        self._work = work
        self._socket: socket.socket | None = None
        self._bound = False
        self._process = os.getpid()
        self._watchers: dict[str, set[str]] = {}
        self.watchers: int = 0  # of all sagas together
        self._callback: Callable[[str], None] | None = None

    def open(self, callback: Callable[[str], None]) -> None:
        """Listen on the running loop. Where sockets are not to be had, polls must do."""
        self._callback = callback
        self._process = os.getpid()
        if not hasattr(socket, "AF_UNIX"):
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        if len(os.fsencode(self._own)) <= PATH_BYTES_MAX:
            with contextlib.suppress(OSError):
                Path(self._own).unlink(missing_ok=True)
                self._socket.bind(self._own)
                self._bound = True
                asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)
        if self._work:
            self._sweep()

    def close(self) -> None:
        """Stop listening. May be called twice."""
        end, self._socket = self._socket, None
        if end is None:
            return
        if self._process == os.getpid():  # a forked child leaves its parent's selector and socket alone
            with contextlib.suppress(RuntimeError):
                asyncio.get_running_loop().remove_reader(end.fileno())
            if self._bound:
                Path(self._own).unlink(missing_ok=True)
        end.close()

    def wake_worker(self) -> None:
        """Tell the worker, in this process or another, that there may be work."""
        if self._work:
            self._tell("work")
        else:
            self._send(self._worker, "work")

    def watch(self, key: str) -> None:
        """Ask the worker for a hint when this saga comes to rest."""
        if not self._work and self._bound:
            self._send(self._worker, f"watch\n{self._own}\n{key}")

    def announce(self, keys: Sequence[str]) -> None:
        """Tell those who watch these sagas, once; here and in other processes."""
        for key in keys:
            self._tell(key)
            addresses = self._watchers.pop(key, set())
            self.watchers -= len(addresses)
            for address in addresses:
                self._send(address, f"key\n{key}")

    def _read(self) -> None:
        for message in self._messages():
            kind, _, rest = message.partition("\n")
            if kind == "work":
                self._tell("work")
            elif kind == "key":
                self._tell(rest)
            elif kind == "watch":
                address, _, key = rest.partition("\n")
                self._remember(key, address)
                self._tell(f"watched\n{key}")

    def _remember(self, key: str, address: str) -> None:
        addresses = self._watchers.setdefault(key, set())
        if address not in addresses:
            addresses.add(address)
            self.watchers += 1
        while self.watchers > WATCHED_MAX:
            self.watchers -= len(self._watchers.pop(next(iter(self._watchers))))

    def _messages(self) -> Iterator[str]:
        for _ in range(MESSAGES_MAX):
            if self._socket is None:
                return
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
