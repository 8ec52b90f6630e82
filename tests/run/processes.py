"""Real processes for tests: started, waited for by what they say, and always ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
PATIENCE_SECONDS = 60.0


class Process:
    """One child, whose lines can be waited for."""

    def __init__(self, *arguments: str, database: Path, code: str = "", **environment: str) -> None:
        self.name = " ".join(arguments) or "python"
        path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
        given = {**os.environ, "LITTLE_DB": str(database), "PYTHONPATH": path, **environment}
        command = [sys.executable, *arguments] if not code else [sys.executable, "-c", code, *arguments]
        self.child = subprocess.Popen(command, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def until(self, line: str) -> None:
        """Wait for a line of its output."""
        assert self.child.stdout is not None
        for said in self.child.stdout:
            if line in said:
                return
        raise AssertionError(f"{self.name} ended without saying {line!r}:\n{self.errors()}")

    def kill(self) -> None:
        """kill -9, and wait."""
        self.child.kill()
        self.child.wait(PATIENCE_SECONDS)

    def terminate(self) -> int:
        """SIGTERM; its exit code."""
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(PATIENCE_SECONDS)

    def wait(self) -> int:
        """Its exit code, once it has one."""
        return self.child.wait(PATIENCE_SECONDS)

    def errors(self) -> str:
        """What it wrote to stderr; it must have ended."""
        assert self.child.stderr is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(5)
        return "" if self.child.poll() is None else self.child.stderr.read()

    def close(self) -> None:
        """End it, whatever it does."""
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        for end in (self.child.stdout, self.child.stderr):
            if end is not None:
                end.close()


@contextlib.contextmanager
def process(*arguments: str, database: Path, code: str = "", **environment: str) -> Iterator[Process]:
    """A child that does not outlive the block."""
    child = Process(*arguments, database=database, code=code, **environment)
    try:
        yield child
    finally:
        child.close()


@contextlib.contextmanager
def worker(database: Path, **environment: str) -> Iterator[Process]:
    """A worker of the little shop, ready to work."""
    with process(str(HERE / "little.py"), database=database, **environment) as child:
        child.until("ready")
        yield child


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, in bounded time."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"it did not come to pass that {what}"
        time.sleep(0.01)
