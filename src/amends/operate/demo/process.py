"""A worker as a child process: started, killed, asked to leave.

Guarantees: none is left behind, however the demo ends.
Must not: kill anything but its own child, by its pid.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

READY_SECONDS = 60.0
LEAVE_SECONDS = 20.0


class WorkerDied(Exception):
    """A worker ended by itself. It should not; the text has its last words."""


class Child:
    """One worker process after another."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._command = tuple(command)
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Its process, while there is one."""
        return None if self._process is None else self._process.pid

    @property
    def died(self) -> bool:
        """Whether it ended by itself."""
        return self._process is not None and self._process.returncode is not None

    async def start(self) -> int:
        """Start one, and wait until it works; gives its pid. Raises WorkerDied."""
        with self._log.open("ab") as log:
            process = self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo, which then ends its worker
            )
        try:
            ready = b"" if process.stdout is None else await asyncio.wait_for(process.stdout.readline(), READY_SECONDS)
        except TimeoutError:
            ready = b""
        if not ready:
            await self.end()
            raise WorkerDied(self.last_words())
        return process.pid

    async def kill(self) -> int:
        """kill -9, and wait until it is dead; gives the pid it had."""
        process, self._process = self._process, None
        if process is None:
            raise WorkerDied("there is no worker to kill")
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return process.pid

    async def end(self) -> None:
        """Whatever there is, be rid of it at once."""
        if self._process is not None:
            await self.kill()

    async def stop(self) -> None:
        """Ask it to leave; kill it if it does not."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), LEAVE_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    def last_words(self) -> str:
        """The end of the worker's log."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return text[-2000:] or "it said nothing"
