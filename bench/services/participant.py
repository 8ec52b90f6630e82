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


def measure(rounds: int, count: int) -> dict[tuple[str, int], tuple[float, ...]]:
    """Commands a second by the wall clock, per core, and per core without the sending, by kind and batch."""
    found: dict[tuple[str, int], list[tuple[float, ...]]] = {}
    for _ in range(rounds):
        command = [sys.executable, "-m", "bench.participant", "--count", str(count)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout
        for line in printed.splitlines()[1:]:
            kind, batch, *rates = line.split()
            found.setdefault((kind, int(batch)), []).append(tuple(float(rate.replace(",", "")) for rate in rates))
    return {key: tuple(median(column) for column in zip(*samples, strict=True)) for key, samples in found.items()}


def lines(found: dict[tuple[str, int], tuple[float, ...]]) -> list[str]:
    """The Markdown."""
    told = [
        "| transaction | commands in one, at most | commands/s | per core | per core, sending aside |",
        "|---|---|---|---|---|",
    ]
    verdicts = ["| aim | reached | |", "|---|---|---|"]
    for (kind, batch), (wall, core, apart) in found.items():
        told.append(f"| {TITLES[kind]} | {batch} | {wall:,.0f} | {core:,.0f} | {apart:,.0f} |")
        title = f"{TITLES[kind]}, batch={batch}: {AIMS[kind]:,} commands per core"
        verdicts.append(verdict(title, f"{core:,.0f}", core >= AIMS[kind]))
    return [*told, "", *verdicts]
