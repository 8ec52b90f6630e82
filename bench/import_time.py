"""How long `import amends` takes, beside what Python itself takes: `python -m bench.import_time`.

Guarantees: every line is the best of several fresh processes, by turns: elapsed, and the
processor time, which a busy machine falsifies less.
Must not: judge. A slow machine is slow in every line: the ones above say how slow.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

LINES = (
    ("Python alone", "pass"),
    ("asyncio and sqlite3", "import asyncio, sqlite3"),
    ("asyncio, sqlite3 and msgspec", "import asyncio, sqlite3, msgspec"),
    ("`import amends`", "import amends"),
    ("`from amends import Orchestrator, Saga, step`", "from amends import Orchestrator, Saga, step"),
)


def measure(rounds: int) -> dict[str, tuple[float, float]]:
    """The best of each line, in milliseconds: elapsed, and processor time."""
    elapsed: dict[str, list[float]] = {title: [] for title, _ in LINES}
    busy: dict[str, list[float]] = {title: [] for title, _ in LINES}
    for _ in range(rounds):
        for title, statement in LINES:
            since, before = time.perf_counter(), _used()
            subprocess.run([sys.executable, "-c", statement], check=True)
            elapsed[title].append((time.perf_counter() - since) * 1e3)
            busy[title].append((_used() - before) * 1e3)
    return {title: (min(elapsed[title]), min(busy[title])) for title, _ in LINES}


def _used() -> float:
    """Processor seconds of all processes started so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def table(rounds: int = 15) -> list[str]:
    """The Markdown."""
    found = measure(rounds)
    nothing = found["Python alone"]
    lines = ["| | elapsed, ms | processor, ms | beyond Python alone, ms |", "|---|---|---|---|"]
    for title, (elapsed, busy) in found.items():
        lines.append(f"| {title} | {elapsed:.0f} | {busy:.0f} | {elapsed - nothing[0]:.0f} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
