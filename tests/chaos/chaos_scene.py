"""The scene of the chaos test: its directories, its processes, and what is known of them.

Guarantees: every process it starts is ended by `close`, whatever state it is in; a worker that
dies is followed by another; what workers say on stderr is kept.
Must not: judge.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
CLIENTS = 3
LIVE = "SELECT count(*) FROM amends_saga WHERE status IN ('running', 'compensating')"


class Scene:
    """One run's place and processes. `disk`: a file system of its own, small enough to be filled."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.dice: random.Random = random.Random(seed)
        self.books: Path = directory
        self.place: Path = directory / "disk"
        self.place.mkdir()
        self.mounted: bool = self._mount()
        self.form: str = "plain"
        self.fault: str = ""  # AMENDS_FAULT of the next worker
        self.worker: subprocess.Popen[bytes] | None = None
        self.clients: dict[str, subprocess.Popen[bytes]] = {}
        self.lives: int = 0  # of workers
        self.clients_ever: int = 0
        self.stopped: set[int] = set()
        self._errors = (self.books / "stderr.txt").open("ab")
        self._live = 0
        self._clock = 0.0

    @property
    def database(self) -> Path:
        """Where the sagas are."""
        return self.place / "sagas.db"

    @property
    def url(self) -> str:
        """The same, for the command line."""
        return f"sqlite:///{self.database}"

    def _mount(self) -> bool:
        """A disk of 24 MB of our own: only root can, and only in a mount namespace of its own."""
        if os.geteuid() != 0 or os.environ.get("CHAOS_OWN_MOUNTS") != "1":
            return False
        command = ["mount", "-t", "tmpfs", "-o", "size=24m", "amends-chaos", str(self.place)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def environment(self, **more: str) -> dict[str, str]:
        """What a process of ours finds in its environment."""
        places = [str(HERE), str(HERE / "clock"), str(HERE.parent / "run"), os.environ.get("PYTHONPATH", "")]
        path = os.pathsep.join(places)
        given = {**os.environ, "PYTHONPATH": path, "CHAOS_DIRECTORY": str(self.place), "CHAOS_BOOKS": str(self.books)}
        given.pop("AMENDS_FAULT", None)
        return given | {"CHAOS_CLOCK": str(self.books / "clock")} | more

    def set_clock(self, seconds: float) -> None:
        """Have the wall clock jump, for everybody."""
        self._clock += seconds
        path = self.books / "clock"
        path.with_suffix(".new").write_text(f"{self._clock}\n")
        os.replace(path.with_suffix(".new"), path)

    def amends(self, *words: str, **more: str) -> subprocess.Popen[bytes]:
        """A command of the command line."""
        command = [sys.executable, "-m", "amends", *words]
        given = self.environment(AMENDS_DATABASE=self.url, **more)
        return subprocess.Popen(command, env=given, cwd=self.books, stdout=subprocess.DEVNULL, stderr=self._errors)

    # Workers and clients

    def start_worker(self) -> None:
        """A worker in the form of the day."""
        more = {"CHAOS_FORM": self.form}
        if self.fault:
            more["AMENDS_FAULT"], self.fault = self.fault, ""
        command = [sys.executable, "-m", "amends", "worker", "chaos_shop:orchestrator", "--log-level=warning"]
        given = self.environment(**more)
        self.worker = subprocess.Popen(
            command, env=given, cwd=self.books, stdout=subprocess.DEVNULL, stderr=self._errors
        )
        self.lives += 1

    def start_client(self) -> None:
        """A client with a name of its own."""
        self.clients_ever += 1
        name = f"c{self.clients_ever}"
        command = [sys.executable, str(HERE / "chaos_client.py"), name, str(self.dice.randrange(2**31))]
        given = self.environment(CHAOS_FORM="plain")
        self.clients[name] = subprocess.Popen(
            command, env=given, cwd=self.books, stdout=subprocess.DEVNULL, stderr=self._errors
        )

    def oversee(self) -> None:
        """What a supervisor does: start what is not there."""
        if self.worker is None or self.worker.poll() is not None:
            self.start_worker()
        for name, client in list(self.clients.items()):
            if client.poll() is not None:
                del self.clients[name]
        while len(self.clients) < CLIENTS:
            self.start_client()

    def rest(self, seconds: float) -> None:
        """Let time pass, overseeing."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.oversee()
            time.sleep(0.05)

    def await_end(self, child: subprocess.Popen[bytes]) -> None:
        """Wait for a command, overseeing, in bounded time."""
        until = time.monotonic() + 40
        while child.poll() is None and time.monotonic() < until:
            self.rest(0.1)
        if child.poll() is None:
            child.kill()
        child.wait()

    def kill_worker(self) -> None:
        """kill -9."""
        if self.worker is not None and self.worker.poll() is None:
            self.worker.kill()
            self.worker.wait()

    def freeze(self, child: subprocess.Popen[bytes]) -> None:
        """SIGSTOP."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGSTOP)
            self.stopped.add(child.pid)

    def thaw(self, child: subprocess.Popen[bytes]) -> None:
        """SIGCONT."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGCONT)
        self.stopped.discard(child.pid)

    def end_clients(self) -> None:
        """SIGTERM, and after a while SIGKILL."""
        for client in self.clients.values():
            client.terminate()
        until = time.monotonic() + 30
        for client in self.clients.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                client.wait(max(until - time.monotonic(), 0.1))
            if client.poll() is None:
                client.kill()
                client.wait()
        self.clients.clear()

    # What can be seen from outside

    def live(self) -> int:
        """How many sagas move at the moment, as far as can be seen."""
        with contextlib.suppress(sqlite3.Error), contextlib.closing(self.look()) as connection:
            self._live = int(connection.execute(LIVE).fetchone()[0])
        return self._live

    def look(self, seconds: float = 0.2) -> sqlite3.Connection:
        """A connection of our own."""
        return sqlite3.connect(self.database, timeout=seconds, isolation_level=None)

    def close(self) -> None:
        """End everything."""
        for child in [*self.clients.values(), *([self.worker] if self.worker else [])]:
            if child.poll() is None:
                child.kill()
            child.wait()
        self._errors.close()
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.place)], check=False)
