"""One worker and two, on one database, by turns: what the second one brings, and what they share.

Guarantees: each is a process that starts and runs sagas of its own; both begin at the same moment.
Must not: hide that the server and the workers share the processors.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from statistics import median
from typing import NamedTuple

from bench.postgres.server import Server, database
from bench.postgres.throughput import WARM, Cell, arguments


class Share(NamedTuple):
    """Sagas a second of all workers, and how many processors were busy: for Python, for the server, with other
    things."""

    rate: float
    python: float
    server: float
    others: float


def together(server: Server, workers: int, cell: Cell, seconds: float) -> Share:
    """So many workers at once."""
    with database(server) as url:
        words = ["--seconds", str(seconds), "--warm", str(WARM), "--server", str(server.pid), "--shared", "--ready"]
        command = [sys.executable, "-m", "bench.contender", *arguments("amends", cell, url), *words]
        running = [_started(command) for _ in range(workers)]
        for one in running:
            _line(one)
        server.checkpoint()
        for one in running:
            one.communicate_line()
        found = [json.loads(_line(one)) for one in running]
        for one in running:
            one.process.wait(60)
    rate = sum(one["sagas_per_second"] for one in found)
    python = sum(one["cpu"] * one["sagas_per_second"] for one in found) / 1e3
    busy, all_busy = (
        sum(sum(one["notes"][part] for part in parts) * one["sagas_per_second"] / 1e3 for one in found) / len(found)
        for parts in (("sessions", "aside"), ("machine",))
    )
    return Share(rate, python, busy, max(all_busy - python - busy, 0.0))


class _Running(NamedTuple):
    process: subprocess.Popen[str]

    def communicate_line(self) -> None:
        """Let it begin."""
        if self.process.stdin is not None:
            self.process.stdin.write("\n")
            self.process.stdin.flush()


def _started(command: list[str]) -> _Running:
    return _Running(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))


def _line(one: _Running) -> str:
    line = "" if one.process.stdout is None else one.process.stdout.readline()
    if not line:
        raise RuntimeError("a worker has failed; its error is above")
    return line


def table(server: Server, rounds: int, seconds: float) -> list[str]:
    """The Markdown."""
    cores = os.cpu_count() or 1
    lines = [
        "| in flight, each | workers | sagas/s | processors busy: Python + PostgreSQL + other things | against one | |",
        "|---|---|---|---|---|---|",
    ]
    for in_flight in (20, 100):
        cell = Cell("happy", in_flight)
        found: dict[int, list[Share]] = {1: [], 2: []}
        for number in range(rounds):
            for workers in (1, 2) if number % 2 else (2, 1):
                found[workers].append(together(server, workers, cell, seconds))
        one = median(share.rate for share in found[1])
        for workers, shares in found.items():
            rate = median(share.rate for share in shares)
            parts = [median(share[place] for share in shares) for place in (1, 2, 3)]
            factor = rate / one
            word = "" if workers == 1 else "reached" if factor >= 1.5 else "falls short"
            used = " + ".join(f"{part:.2f}" for part in parts) + f" = {sum(parts):.2f} of {cores}"
            lines.append(f"| {in_flight} | {workers} | {rate:,.0f} | {used} | {factor:.2f} x | {word} |")
    return lines
