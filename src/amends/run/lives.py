"""Who is at something, and whether they are still.

A process is told by the boot of its machine, its pid namespace, its number and the instant at which it began: a
number that is used again is another process, and so is number 1 of another container, or of the same one, restarted.

Guarantees: nobody who is alive on this machine is called dead, however slow; who has gone from it is, at once.
Must not: know what they are at.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path

_TOKEN = secrets.token_hex(8)  # of this process, where the system does not say when it began
_at_it: set[str] = set()


class Life(Enum):
    """What is known of somebody."""

    AT_IT = auto()
    ENDED = auto()  # alive, and no longer at it
    DEAD = auto()
    ELSEWHERE = auto()  # on a machine or in a container whose processes cannot be seen from here


def somebody() -> str:
    """A new name for somebody of this process. A fork is another process."""
    pid = os.getpid()
    return f"{_HERE} {pid} {_stat(pid)[1] or _TOKEN} {secrets.token_hex(8)}"


@contextmanager
def at_it(name: str) -> Iterator[None]:
    """They are at it within."""
    _at_it.add(name)
    try:
        yield
    finally:
        _at_it.discard(name)


def life(name: str) -> Life:
    """What is known of somebody; '' is nobody."""
    if not name:
        return Life.ENDED
    where, number, born, _ = name.split(" ")
    if where != _HERE:
        return Life.ELSEWHERE
    pid = int(number)
    if not _lives(pid, born):
        return Life.DEAD
    return Life.ENDED if pid == os.getpid() and name not in _at_it else Life.AT_IT


def _lives(pid: int, born: str) -> bool:
    state, began = _stat(pid)
    if began:
        return state not in "ZX" and began == born  # what nobody has buried yet is dead all the same
    if pid == os.getpid():
        return born == _TOKEN
    if os.name == "nt":  # where the question below would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def _stat(pid: int) -> tuple[str, str]:
    """Its state, and when it began in ticks since the machine did; empty where the system does not say."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (fields[0], fields[19]) if len(fields) > 19 else ("", "")


def _here() -> str:
    """Where the number of a process means one process at a time."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return "/".join((socket.gethostname(), _read("/proc/sys/kernel/random/boot_id"), space)).replace(" ", "_")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


_HERE = _here()
