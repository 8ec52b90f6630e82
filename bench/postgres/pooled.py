"""The same through PgBouncer in transaction mode, apart: what that costs.

Guarantees: direct and pooled by turns, on the same server; listening goes around the pooler, as it would.
Must not: stand in one table with the others.
"""

from __future__ import annotations

from statistics import median
from typing import Any
from urllib.parse import quote

from bench.postgres.server import Server, database
from bench.postgres.throughput import CELLS, window
from services.pgbouncer import Pgbouncer


def table(server: Server, rounds: int, seconds: float) -> list[str]:
    """The Markdown."""
    lines = [
        "| flow | in flight | sagas/s, direct | through PgBouncer | ratio | p50 ms, direct / through "
        "| PostgreSQL ms per saga, direct / through |",
        "|---|---|---|---|---|---|---|",
    ]
    with Pgbouncer(server.admin_url) as bouncer:
        for cell in CELLS:
            found: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
            for number in range(rounds):
                for pooled in (True, False) if number % 2 else (False, True):
                    with database(server) as url:
                        way = f"{bouncer.url(url)}?pooling=transaction&direct={quote(url, safe='')}"
                        found[pooled].append(window(server, "amends", cell, seconds, way if pooled else url))
            rate, p50 = (
                {pooled: median(one[what] for one in side) for pooled, side in found.items()}
                for what in ("sagas_per_second", "p50")
            )
            busy = {pooled: median(one["notes"]["sessions"] for one in side) for pooled, side in found.items()}
            lines.append(
                f"| {cell.flow} | {cell.in_flight} | {rate[False]:,.0f} | {rate[True]:,.0f} "
                f"| {rate[True] / rate[False]:.0%} | {p50[False]:.1f} / {p50[True]:.1f} "
                f"| {busy[False]:.3f} / {busy[True]:.3f} |"
            )
    return lines
