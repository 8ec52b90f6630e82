"""What a server's processes use up: their time on a processor, by what they do.

Guarantees: counts in nanoseconds, as the scheduler does, so that a window of a second is enough.
Must not: count a process that had ended before it was asked, or the asking process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
WRITERS = ("walwriter", "checkpointer", "background writer", "autovacuum")  # what PostgreSQL does beside its sessions


def used(root: int) -> dict[str, float]:
    """Seconds so far of a process and all below it: `sessions` (or the whole server, where it has none), and
    `aside`, what PostgreSQL's own writers took; `machine` is what everything on it took."""
    seconds = {"sessions": 0.0, "aside": 0.0, "machine": _machine()}
    for pid in (root, *below(root)):
        try:
            title = (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            seconds["aside" if any(word in title for word in WRITERS) else "sessions"] += _on_processor(pid)
        except (OSError, ValueError):  # it has just ended
            continue
    return seconds


def below(pid: int) -> Iterator[int]:
    """All processes that a process has started, and those that they have."""
    for task in (PROC / str(pid) / "task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in map(int, children):
            yield child
            yield from below(child)


def _on_processor(pid: int) -> float:
    return sum(int(task.read_text().split()[0]) for task in (PROC / str(pid) / "task").glob("*/schedstat")) / 1e9


def _machine() -> float:
    """Seconds of all processors that were not idle."""
    user, nice, system, _, _, *rest = map(int, (PROC / "stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")
