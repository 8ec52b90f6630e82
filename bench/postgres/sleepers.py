"""What a million waiting sagas cost a worker and the server, and a storm of timers.

They wait for a signal, or for a timer that is months away.

Guarantees: the rows are those of a saga that really fell asleep; all that reaches the database is counted, by the
server, while a worker that is a process of its own has nothing to do.
Must not: count what filling the tables costs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from statistics import median
from typing import Any

import psycopg

from bench import sleepers
from bench.postgres.fill import multiply
from bench.postgres.server import Server, database
from bench.postgres.throughput import verdict
from bench.sleepers import IDLE_SECONDS, in_a_process, lay_down, words

STORM_IN_SECONDS = 8.0
MEMORY_AIM, STATEMENTS_AIM = 300, 5


async def table(server: Server, sagas: int, timers: int, rounds: int) -> list[str]:
    """The Markdown."""
    with database(server) as one, database(server) as many:
        for url in (one, many):
            await lay_down(url, sleepers.waiting)
        multiply(many, sagas)
        idle = {url: _idle(server, url) for url in (many, one)}
        starts: dict[str, list[dict[str, Any]]] = {one: [], many: []}
        for _ in range(rounds):
            for url in (one, many):
                starts[url].append(in_a_process("starts", url))
    return [*_rows(sagas, idle[many], idle[one], starts[many], starts[one]), "", *await _storm(server, timers)]


def _idle(server: Server, url: str) -> dict[str, Any]:
    """A worker with nothing to do, by itself and by what the server has counted meanwhile."""
    command = [sys.executable, "-m", "bench.sleepers", "--part", "idle", "--url", url]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    time.sleep(2.0)
    before, since = server.counted(url), time.monotonic()
    time.sleep(IDLE_SECONDS - 2.0)
    after, seconds = server.counted(url), time.monotonic() - since
    output, _ = worker.communicate(timeout=120)
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return {**found, "statements": (after.statements - before.statements) / seconds}


def _rows(
    sagas: int, many: dict[str, Any], one: dict[str, Any], full: list[dict[str, Any]], empty: list[dict[str, Any]]
) -> list[str]:
    start, whole = (
        tuple(median(found[what] for found in side) for side in (full, empty)) for what in ("start", "whole")
    )
    lines = [f"| the worker with {sagas:,} waiting sagas | | with one | aim | |", "|---|---|---|---|---|"]
    for title, what, digits, aim in (
        ("memory, MB", "memory", 0, MEMORY_AIM),
        ("statements a second, in all", "statements", 1, STATEMENTS_AIM),
        ("sagas it holds", "held", 0, 0),
        ("processor seconds a second", "cpu", 3, None),
    ):
        word = "" if aim is None else "reached" if many[what] <= aim else "falls short"
        aimed = "" if aim is None else aim
        lines.append(f"| {title} | {many[what]:.{digits}f} | {one[what]:.{digits}f} | {aimed} | {word} |")
    for title, (mine, other) in (("starting another, ms", start), ("running it to its end, ms", whole)):
        lines.append(f"| {title} | {mine:.1f} | {other:.1f} | | |")
    return lines


async def _storm(server: Server, timers: int) -> list[str]:
    """Timers that are all due at the same instant, seconds after the worker has come."""
    with database(server) as url:
        await lay_down(url, sleepers.napping)
        multiply(url, timers - 1)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "UPDATE amends.saga SET wake_at = greatest(wake_at, extract(epoch FROM clock_timestamp()) + %s)",
                (STORM_IN_SECONDS,),
            )
            connection.execute("VACUUM ANALYZE amends.saga")
        blown = in_a_process("storm", url, timers)
    ratio = blown["p99"] / max(blown["calm_p99"], 0.001)
    return [
        *words(timers, blown),
        "",
        "| aim | reached | |",
        "|---|---|---|",
        verdict(
            f"{timers:,} timers without starving new starts: p99 below a second",
            f"{blown['p99']:.0f} ms ({ratio:.0f} x the calm)",
            blown["p99"] < 1000,
        ),
    ]
