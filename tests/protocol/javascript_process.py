"""A process of the participant in JavaScript."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
import time

from services.javascript import javascript_packages, node_program

SECONDS = 40.0


class Process:
    """One process of the service. environment: what it is told beside its database and broker."""

    def __init__(self, database: str, broker: str, prefix: str, **environment: str) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        self._process = subprocess.Popen(
            [str(node_program()), "main.js"],
            cwd=javascript_packages(),
            env={**os.environ, "DATABASE_URL": database, "BROKER": broker, "PREFIX": prefix, **environment},
            stdout=subprocess.PIPE,
            stderr=None,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, line: str) -> None:
        """Until it says so."""
        end = time.monotonic() + SECONDS
        while self._lines.get(timeout=max(end - time.monotonic(), 0.001)) != line:
            assert self._process.poll() is None

    def kill(self) -> None:
        """At once, as `kill -9` does."""
        self._process.kill()
        self._process.wait(SECONDS)
        self._reader.join(SECONDS)

    def stop(self) -> int:
        """In good order; gives its exit status."""
        if self._process.poll() is None:
            self._process.terminate()
        return self._process.wait(SECONDS)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line.rstrip("\n"))
