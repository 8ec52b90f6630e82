"""Starting a server's process so that it is nobody's but ours: own directory, own port, never as root.

Guarantees: a server that is started here runs in a session of its own (Ctrl-C reaches only who started it), as an
unprivileged user, and listens where nothing else does.
Must not: know any particular server.
"""

from __future__ import annotations

import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from services.found import UNPACKED, library_path

READY_SECONDS = 60.0
_PORTS = (20_000, 32_000)  # below the range that outgoing connections take theirs from, so that a port stays free
_given: set[int] = set()


class ServerFailed(Exception):
    """A server did not do what it was told. The message carries the end of its log."""


class Place:
    """A server's own directory, and the user that its process runs as."""

    def __init__(self, kind: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"amends-{kind}-"))
        self.owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self.environment: dict[str, str] = {}  # what its processes are told beside where to find things
        self.own(self.directory)

    def own(self, path: Path) -> None:
        """Give a file or directory to the user that the server runs as."""
        if self.owner:
            os.chown(path, self.owner.pw_uid, self.owner.pw_gid)

    def write(self, name: str, text: str) -> Path:
        """A file that only the server may read."""
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(text)
        self.own(path)
        return path

    def reachable(self, program: Path) -> Path:
        """The program itself; or, where the server's user cannot get at the checkout, a copy of what was unpacked."""
        if self.owner is None or not program.is_relative_to(UNPACKED) or self._may_read(program):
            return program
        copy = self.directory / UNPACKED.parent.name / UNPACKED.name
        if not copy.exists():
            shutil.copytree(UNPACKED, copy, symlinks=True, copy_function=_link_or_copy)
            self.own(copy.parent)
        return copy / program.relative_to(UNPACKED)

    def _may_read(self, program: Path) -> bool:
        return self.run(["test", "-r", str(program)], check=False).returncode == 0

    def run(self, command: Sequence[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program to its end as the server's user."""
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self._environment(command),
            **self._as_owner(),
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            raise ServerFailed(f"{Path(command[0]).name} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def start(self, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a program as the server's user; what it says is added to the log."""
        with log.open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=self.directory,
                env=self._environment(command),
                **self._as_owner(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _as_owner(self) -> dict[str, Any]:
        """How a process is started as the server's user."""
        if self.owner is None:
            return {}
        return {"user": self.owner.pw_uid, "group": self.owner.pw_gid, "extra_groups": []}

    def _environment(self, command: Sequence[str]) -> dict[str, str]:
        """Nothing of ours (PGHOST, LC_ALL, …) steers a server."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "TMPDIR": str(self.directory),
            "LC_ALL": "C",
            **library_path(Path(command[0])),
            **self.environment,
        }


def _link_or_copy(source: str, target: str) -> None:
    """The same file under another name: it is only read, and hundreds of megabytes need not be written for it."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system
        shutil.copy2(source, target, follow_symlinks=False)


def free_port() -> int:
    """A port on loopback that nothing listens on now, and that nobody in this process was given: a server asks for
    several before it listens on any."""
    for _ in range(100):
        port = random.SystemRandom().randrange(*_PORTS)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port
    raise ServerFailed("no free port found on loopback")


def wait_until(condition: Callable[[], bool], what: str, seconds: float = READY_SECONDS) -> None:
    """Wait for a condition of a process, which only looking can tell. Raises ServerFailed after so many seconds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise ServerFailed(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


def tail(log: Path, lines: int = 30) -> str:
    """The end of a server's log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""
