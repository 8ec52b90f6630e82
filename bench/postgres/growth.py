"""Whether sagas that have ended slow down those that run.

Guarantees: the full database and an empty one are measured by turns; the median of the rounds counts.
Must not: prune.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from bench import contender_amends
from bench.postgres.fill import multiply
from bench.postgres.server import Server, database
from bench.postgres.throughput import Cell, window


async def table(server: Server, ended: int, rounds: int, seconds: float) -> list[str]:
    """The Markdown."""
    with database(server) as full:
        async with contender_amends.running(full, "happy") as run:
            await run()
        multiply(full, ended)
        ((size,),) = server.run("SELECT pg_database_size(%s)", full.rpartition("/")[2])
        lines = [
            f"| in flight | sagas/s on empty tables | with {ended:,} ended sagas ({size / 1e6:,.0f} MB) | ratio "
            "| PostgreSQL ms per saga, empty / full | |",
            "|---|---|---|---|---|---|",
        ]
        for in_flight in (20, 100):
            cell = Cell("happy", in_flight)
            found: dict[str, list[dict[str, Any]]] = {"": [], full: []}
            for number in range(rounds):
                for url in ("", full) if number % 2 else (full, ""):
                    found[url].append(window(server, "amends", cell, seconds, url))
            before, after = (median(one["sagas_per_second"] for one in found[url]) for url in ("", full))
            cpu = " / ".join(f"{median(one['notes']['sessions'] for one in found[url]):.3f}" for url in ("", full))
            word = "reached" if after >= 0.9 * before else "falls short"
            lines.append(f"| {in_flight} | {before:,.0f} | {after:,.0f} | {after / before:.0%} | {cpu} | {word} |")
    return lines
