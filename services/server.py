"""What all servers have in common: a directory and a port of their own, one process, an end.

Guarantees: the port, and so every URL, stays the same for the server's life, through kills and restarts; the
server and its directory are gone when this process is, however it ends.
Must not: know any particular server.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from services.keeper import Use, end_server, watch, write_down
from services.process import Place, ServerFailed, free_port, tail, wait_until

START_ATTEMPTS = 5
STOP_SECONDS = 60.0


class Server(ABC):
    """One server. Methods may be called from any thread, but one at a time."""

    name: str  # as it is called in messages, and in lower case in its directory's name
    end_signal = signal.SIGTERM  # ends it at once, for good

    def __init__(self) -> None:
        self.place = Place(self.name.lower())
        self.directory = self.place.directory
        self.log = self.directory / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.choose_ports()
        self._ran = False  # once it ran, the port is the server's to keep
        self.use = Use(self.directory)
        watch(self.directory)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @abstractmethod
    def configure(self) -> None:
        """Write what the process reads when it starts, the port among it."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The command of the process."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the process takes connections."""

    def choose_ports(self) -> None:
        """Take the ports that it will listen on; again if somebody was faster to use one."""
        self.port = free_port()

    def ready_to_start(self) -> None:
        """Wait for what a start needs; by default nothing."""
        return

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self.process is None:
            raise ServerFailed(f"{self.name} is not running")
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it, and come back when it takes connections. Nothing happens if it runs."""
        if self.running:
            return
        for _ in range(START_ATTEMPTS):
            self.configure()
            self.ready_to_start()
            if self._started():
                self._ran = True
                return
            if not self._ran:  # perhaps somebody was faster to take the port
                self.choose_ports()
        raise ServerFailed(f"{self.name} does not start; its log ends with\n{tail(self.log)}")

    def kill(self) -> None:
        """kill -9 of its main process."""
        if self.process is None:
            raise ServerFailed(f"{self.name} is not running")
        self.process.kill()
        self.process.wait()
        self.process = None

    def close(self) -> None:
        """End it and remove its directory. It cannot be started again."""
        if self.process is not None:
            end_server(self.directory)
            self.process.wait()
            self.process = None
        shutil.rmtree(self.directory, ignore_errors=True)
        self.use.close()

    def end(self, by: signal.Signals) -> None:
        """End the process with a signal and wait for it. Nothing happens if it does not run."""
        if self.process is not None and self.running:
            self.process.send_signal(by)
            self.process.wait(STOP_SECONDS)
        self.process = None

    def _started(self) -> bool:
        """Start the process; whether it takes connections in the end."""
        self.process = self.place.start(self.command(), self.log)
        write_down(self.directory, self.process.pid, self.end_signal)
        wait_until(lambda: not self.running or self.answers(), f"{self.name} takes connections")
        if self.running:
            return True
        self.process = None
        return False
