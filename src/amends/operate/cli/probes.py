"""What a worker shows to whoever watches over it: files for probes, and words for systemd.

Both are tied to progress: the loop that looks at the store says after each look how it went, on the same
event loop as all else; one that is blocked or has died says nothing. A database that is away does not make a
worker dead, since starting it anew would not help; it makes it not ready.

Guarantees: what an earlier life left behind is gone before anything can look; a file that cannot be
touched later does not stop the worker.
Must not: be touched by a timer of its own while the worker works.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

PULSE_SECONDS = 5.0  # while it drains, when it looks at the store no more
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_log = logging.getLogger("amends.worker")


class Probes:
    """Of one worker. alive: touched when its loop has turned. ready: when, besides, the look at the store
    succeeded with the registration held. notify: systemd's socket."""

    def __init__(self, alive: Path | None, ready: Path | None, notify: str | None) -> None:
        self._alive = alive
        self._ready = ready
        self._notify = notify
        self._is_ready: bool | None = None
        self._warned = False

    def prepare(self) -> None:
        """See that the files can be written, and that none of them is there. Raises OSError."""
        for path in (self._alive, self._ready):
            if path is not None:
                _touch(path)
                path.unlink()

    def looked(self, well: bool, why: str = "the database is away") -> None:
        """The loop has turned; `well`: the store answered, and the worker may work. why: if it may not."""
        self._show(self._alive)
        words = ["WATCHDOG=1"]
        if well:
            self._show(self._ready)
        if well is not self._is_ready:
            self._is_ready = well
            words += ["READY=1", "STATUS=working"] if well else [f"STATUS={' '.join(why.split())}"]
        self._say(*words)

    @asynccontextmanager
    async def leaving(self) -> AsyncGenerator[None, None]:
        """While the worker drains: alive, and not ready any more."""
        self._remove(self._ready)
        self._say("STOPPING=1", "STATUS=finishing what is in flight")
        pulse = asyncio.get_running_loop().create_task(self._pulse(), name="amends-pulse")
        try:
            yield
        finally:
            pulse.cancel()
            await asyncio.wait([pulse])
            self._remove(self._alive)

    async def _pulse(self) -> None:
        while True:
            self._show(self._alive)
            self._say("WATCHDOG=1")
            await asyncio.sleep(PULSE_SECONDS)

    def _show(self, path: Path | None) -> None:
        if path is None:
            return
        try:
            _touch(path)
        except OSError as error:
            if not self._warned:
                _log.warning("%s cannot be touched, so probes will fail: %s", path, error)
            self._warned = True

    def _remove(self, path: Path | None) -> None:
        if path is not None:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _say(self, *words: str) -> None:
        """To systemd, if it asked for it. A word that does not fit in its socket just now is left out."""
        if not self._notify:
            return
        address = "\0" + self._notify[1:] if self._notify.startswith("@") else self._notify
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.setblocking(False)
            line.sendto("\n".join(words).encode(), address)


def _touch(path: Path) -> None:
    file = os.open(path, _FLAGS, 0o644)
    try:
        os.utime(file)
    finally:
        os.close(file)
