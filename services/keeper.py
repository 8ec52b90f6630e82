"""The process that ends a server when its last user is gone, however that user went.

    python keeper.py DIRECTORY

Every user of a server holds a shared lock on the file `users` in the server's directory for as long as it lives; the
kernel lets go of it whatever kills the process. The keeper waits for the exclusive lock: once it has it, nobody uses
the server any more, nobody can begin to, and it ends the server and removes the directory.

Guarantees: no server and no directory outlives its users by more than seconds.
Must not: end a process that is not the one written down; be reached by the user's Ctrl-C.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

import psutil

USERS, SERVER = "users", "server.json"
END_SECONDS = 15.0
CLOCK_SECONDS = 5.0  # a process is as old as the clock says, and clocks are set


class Use:
    """This process uses the server in a directory, until it is closed or the process ends, in whatever way.

    POSIX record locks on purpose: unlike flock(2) a forked child has no part in them.
    """

    def __init__(self, directory: Path) -> None:
        self._file = os.open(directory / USERS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise

    @classmethod
    def begun(cls, directory: Path) -> Self | None:
        """The use of a server that is already there; None if it is ending or gone."""
        if not (directory / USERS).exists():
            return None
        try:
            use = cls(directory)
        except OSError:  # the keeper has the lock, or the directory went at this moment
            return None
        if not (directory / SERVER).exists():
            use.close()
            return None
        return use

    def close(self) -> None:
        """Not a user any more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def watch(directory: Path) -> None:
    """Start the keeper of a directory that this process already uses. It is nobody's child when this returns."""
    subprocess.run(
        [sys.executable, __file__, str(directory)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        check=True,
    )


def write_down(directory: Path, pid: int, end: signal.Signals) -> None:
    """Say which process is the server, and which signal ends it."""
    fresh = directory / f"{SERVER}.new"
    fresh.write_text(json.dumps({"pid": pid, "born": psutil.Process(pid).create_time(), "signal": int(end)}))
    fresh.replace(directory / SERVER)


def end_server(directory: Path) -> None:
    """End the server that is written down, and what it has started."""
    try:
        told = json.loads((directory / SERVER).read_text())
        process = psutil.Process(told["pid"])
        if abs(process.create_time() - told["born"]) > CLOCK_SECONDS:  # another process has its number by now
            return
        everyone = [process, *process.children(recursive=True)]
        process.send_signal(told["signal"])
    except (OSError, psutil.NoSuchProcess):
        return
    _, left = psutil.wait_procs(everyone, timeout=END_SECONDS)
    for one in left:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=END_SECONDS)


def main(directory: Path) -> None:
    """Wait until nobody uses the server, then clear up."""
    try:
        users = os.open(directory / USERS, os.O_RDWR)
    except FileNotFoundError:  # its only user has cleared up already
        return
    fcntl.lockf(users, fcntl.LOCK_EX)
    end_server(directory)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    if os.fork():
        os._exit(0)  # the child goes on, and nobody has to wait for it
    main(Path(sys.argv[1]))
