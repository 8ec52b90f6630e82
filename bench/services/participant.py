"""A participant alone, by turns with and without batching: `bench.participant` as a table.

Guarantees: each figure is the median of the rounds, each in a process of its own.
Must not: count what the processor did for others: commands per second of this process's own processor time.
"""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from bench.postgres.throughput import verdict

AIMS = {"asyncpg": 4000, "sqlalchemy": 2000}
TITLES = {"asyncpg": "asyncpg", "sqlalchemy": "SQLAlchemy Core"}
BATCHES = (1, 50)


def measure(rounds: int, count: int) -> dict[tuple[str, int], tuple[float, float]]:
    """Commands a second by the wall clock, and per core, by kind and batch."""
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        command = [sys.executable, "-m", "bench.participant", "--count", str(count)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout
        for line in printed.splitlines()[1:]:
            kind, batch, wall, core = line.split()
            pair = (float(wall.replace(",", "")), float(core.replace(",", "")))
            found.setdefault((kind, int(batch)), []).append(pair)
    return {key: (median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)) for key, pairs in found.items()}


def lines(found: dict[tuple[str, int], tuple[float, float]]) -> list[str]:
    """The Markdown."""
    told = [
        "| transaction | commands in one, at most | commands/s | per core of the participant |",
        "|---|---|---|---|",
    ]
    verdicts = ["| aim | reached | |", "|---|---|---|"]
    for (kind, batch), (wall, core) in found.items():
        told.append(f"| {TITLES[kind]} | {batch} | {wall:,.0f} | {core:,.0f} |")
        title = f"{TITLES[kind]}, batch={batch}: {AIMS[kind]:,} commands per core"
        verdicts.append(verdict(title, f"{core:,.0f}", core >= AIMS[kind]))
    return [*told, "", *verdicts]
