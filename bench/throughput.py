"""The order saga on amends, on the bare group-commit loop and on dbos, by turns.

`python -m bench.throughput` prints the tables; `--rounds` and `--seconds` say how long.

Guarantees: every cell of every contender is measured once per round, in a process of its own,
so that a bad minute of the machine meets all of them; the median of the rounds counts.
Must not: compare figures of different runs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench import facts
from bench.order import FLOWS

CONTENDERS = ("bare", "amends", "dbos")
IN_FLIGHT = (1, 20, 100)
SECONDS = {"bare": 1.5, "amends": 2.0, "dbos": 4.0}  # dbos ends fewer sagas a second: a longer look
COUNTED = 200


class Cell(NamedTuple):
    """One thing to measure."""

    flow: str
    in_flight: int


@dataclass
class Table:
    """All samples of one journal mode."""

    journal: str
    samples: dict[tuple[str, Cell], list[dict[str, Any]]] = field(default_factory=dict)
    commits: list[float] = field(default_factory=list)

    def add(self, name: str, cell: Cell, sample: dict[str, Any]) -> None:
        """Keep one sample."""
        self.samples.setdefault((name, cell), []).append(sample)

    def median(self, name: str, cell: Cell, what: str) -> float:
        """The median of the rounds."""
        values: list[float] = [sample[what] for sample in self.samples[name, cell]]
        return median(values)


def run(arguments: Sequence[str], timeout: float = 300) -> dict[str, Any]:
    """One contender in a process of its own."""
    command = [sys.executable, "-m", "bench.contender", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def output(command: Sequence[str]) -> list[str]:
    """What a command prints, line by line."""
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
    return done.stdout.rstrip().splitlines()


def measure(journal: str, rounds: int, scale: float, directory: Path | None) -> Table:
    """All cells, `rounds` times, the contenders by turns."""
    table = Table(journal)
    for number in range(rounds):
        table.commits.append(facts.commit(directory, journal))
        for cell in (Cell(flow, in_flight) for flow in FLOWS for in_flight in IN_FLIGHT):
            for name in CONTENDERS:
                seconds = SECONDS[name] * scale
                where = ["--dir", str(directory)] if directory else []
                table.add(name, cell, run([*_arguments(name, cell, journal), "--seconds", str(seconds), *where]))
        print(f"journal mode {journal}: round {number + 1} of {rounds}", file=sys.stderr)
    return table


def _arguments(name: str, cell: Cell, journal: str) -> list[str]:
    return [name, "--flow", cell.flow, "--in-flight", str(cell.in_flight), "--journal", journal]


def speeds(table: Table) -> list[str]:
    """Sagas a second and latencies, with what they are to each other."""
    lines = [
        "| flow | in flight | bare loop, sagas/s | amends, sagas/s | dbos, sagas/s | amends ÷ bare | amends ÷ dbos "
        "| p50 ms, bare / amends / dbos | p99 ms, amends / dbos | CPU ms, amends / dbos |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for cell in (Cell(flow, in_flight) for flow in FLOWS for in_flight in IN_FLIGHT):
        rate = {name: table.median(name, cell, "sagas_per_second") for name in CONTENDERS}
        p50 = {name: table.median(name, cell, "p50") for name in CONTENDERS}
        p99 = {name: table.median(name, cell, "p99") for name in CONTENDERS}
        cpu = {name: table.median(name, cell, "cpu") for name in CONTENDERS}
        lines.append(
            f"| {cell.flow} | {cell.in_flight} | {rate['bare']:,.0f} | {rate['amends']:,.0f} | {rate['dbos']:,.0f} "
            f"| {rate['amends'] / rate['bare']:.0%} | {rate['amends'] / rate['dbos']:.0f} x "
            f"| {p50['bare']:.1f} / {p50['amends']:.1f} / {p50['dbos']:.1f} "
            f"| {p99['amends']:.1f} / {p99['dbos']:.0f} | {cpu['amends']:.2f} / {cpu['dbos']:.1f} |"
        )
    return lines


def verdicts(table: Table) -> list[str]:
    """Each aim, what was reached, and a word."""
    trip = median(table.commits)
    lines = [
        f"One row in one commit took {trip:.2f} ms in these rounds.",
        "",
        "| aim | reached | |",
        "|---|---|---|",
    ]
    for flow, points in (("happy", 4), ("compensated", 6)):
        for in_flight in (20, 100):
            cell = Cell(flow, in_flight)
            amends, bare, dbos = (table.median(name, cell, "sagas_per_second") for name in ("amends", "bare", "dbos"))
            lines.append(
                _verdict(f"{flow}, {in_flight} in flight: 40 x dbos", f"{amends / dbos:.0f} x", amends >= 40 * dbos)
            )
            share = f"{amends / bare:.0%}"
            lines.append(_verdict(f"{flow}, {in_flight} in flight: 40 % of the bare loop", share, amends >= 0.4 * bare))
        alone = Cell(flow, 1)
        amends, dbos = (table.median(name, alone, "p50") for name in ("amends", "dbos"))
        part = f"{amends:.1f} ms, {amends / dbos:.0%}"
        lines.append(_verdict(f"{flow}, alone: p50 a quarter of dbos's {dbos:.1f} ms", part, amends <= dbos / 4))
        each = f"{amends / points:.2f} ms, {amends / points / trip:.1f} x"
        lines.append(_verdict(f"{flow}, alone: 3 x a bare commit per durable point", each, amends <= 3 * points * trip))
    return lines


def _verdict(aim: str, reached: str, held: bool) -> str:
    return f"| {aim} | {reached} | {'reached' if held else 'falls short'} |"


def counts(journal: str, in_flight: int, directory: Path | None) -> list[str]:
    """What a saga costs the database: statements and commits by SQLite's trace callback, flushes
    by strace, each in a pass of its own."""
    lines = [
        f"| {in_flight} in flight | flow | reads | writes | commits | flushes |",
        "|---|---|---|---|---|---|",
    ]
    for flow in FLOWS:
        for name in CONTENDERS:
            arguments = _arguments(name, Cell(flow, in_flight), journal)
            found = run([*arguments, "--count", str(COUNTED)])
            flushes = _flushes(arguments, directory)
            row = f"{found.get('reads', 0):.1f} | {found['writes']:.1f} | {found['commits']:.2f} | {flushes}"
            lines.append(f"| {name} | {flow} | {row} |")
    return lines


def _flushes(arguments: list[str], directory: Path | None) -> str:
    """fsync and fdatasync calls per saga: those of a run, less those of a run of one saga."""
    if shutil.which("strace") is None:
        return "not counted, strace is not there"
    few, many = _traced(arguments, 1, directory), _traced(arguments, COUNTED + 1, directory)
    return f"{(many - few) / COUNTED:.2f}"


def _traced(arguments: list[str], sagas: int, directory: Path | None) -> int:
    with tempfile.NamedTemporaryFile("r", dir=directory) as report:
        command = ["strace", "-f", "-c", "-e", "trace=fsync,fdatasync", "-o", report.name]
        command += [sys.executable, "-m", "bench.contender", *arguments, "--count", str(sagas)]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        rows = [line.split() for line in report.read().splitlines()]
    return sum(int(row[3]) for row in rows if row and row[-1] in ("fsync", "fdatasync"))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the seconds that each window lasts")
    parser.add_argument("--journal", choices=("delete", "persist", "wal"), action="append")
    parser.add_argument("--dir", type=Path, help="where the files are to be")
    options = parser.parse_args()
    print("\n".join(facts.lines(options.dir)))
    for journal in options.journal or ["persist"]:
        table = measure(journal, options.rounds, options.scale, options.dir)
        print(f"\nJournal mode {journal}\n")
        print("\n".join([*speeds(table), "", *verdicts(table), "", *counts(journal, 20, options.dir)]))
        print("\n" + "\n".join(counts(journal, 1, options.dir)))


if __name__ == "__main__":
    main()
