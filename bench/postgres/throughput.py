"""The order saga on all contenders, by turns, on one server.

Guarantees: every cell of every contender is measured once per round, each in a process and on a database of its
own, after a checkpoint; the median of the rounds counts. Of several ways to use a peer the fastest counts, per cell.
Must not: compare figures of different runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

from bench import contender_bare_postgres, contender_restate
from bench.order import FLOWS
from bench.postgres.server import Counted, Server, database
from bench.throughput import run

WARM = 1.0
IN_FLIGHT = (1, 20, 100)
WAYS = {  # of each contender, and how long a look it needs: the slow ones end fewer sagas a second
    "bare": (("bare",), 1.5),
    "amends": (("amends",), 2.0),
    "dbos": (("dbos threads", "dbos async"), 4.0),
    "absurd": (("absurd",), 3.0),
    "restate": (("restate",), 3.0),
}
PEERS = ("dbos", "absurd", "restate")
COUNTED = {"bare": 2000, "amends": 2000, "dbos": 200, "absurd": 300}
SHARES = {"dbos": 40, "absurd": 8, "restate": 8}  # how many times as fast amends is to be


class Cell(NamedTuple):
    """One thing to measure."""

    flow: str
    in_flight: int


CELLS = tuple(Cell(flow, in_flight) for flow in FLOWS for in_flight in IN_FLIGHT)


@dataclass
class Table:
    """All samples, by the way in which a contender was used."""

    samples: dict[tuple[str, Cell], list[dict[str, Any]]] = field(default_factory=dict)
    commits: list[float] = field(default_factory=list)

    def add(self, way: str, cell: Cell, sample: dict[str, Any]) -> None:
        """Keep one sample."""
        self.samples.setdefault((way, cell), []).append({**sample, **sample["notes"]})

    def median(self, way: str, cell: Cell, what: str) -> float:
        """The median of the rounds."""
        values: list[float] = [sample.get(what, 0.0) for sample in self.samples[way, cell]]
        return median(values)

    def best(self, name: str, cell: Cell) -> str:
        """The way in which a contender was the fastest."""
        ways = [way for way in WAYS[name][0] if (way, cell) in self.samples]
        return max(ways, key=lambda way: self.median(way, cell, "sagas_per_second"))

    def of(self, name: str, cell: Cell, what: str) -> float:
        """A figure of a contender at its best."""
        return self.median(self.best(name, cell), cell, what)

    @property
    def names(self) -> list[str]:
        """The contenders that were measured."""
        there = {way.split()[0] for way, _ in self.samples}
        return [name for name in WAYS if name in there]


def contenders() -> list[str]:
    """Those that can be had here."""
    return [name for name in WAYS if name != "restate" or contender_restate.program()]


def arguments(way: str, cell: Cell, url: str) -> list[str]:
    """What `bench.contender` is to be called with."""
    name, _, variant = way.partition(" ")
    words = [name, "--flow", cell.flow, "--in-flight", str(cell.in_flight), "--url", url]
    return [*words, "--variant", variant] if variant else words


def window(server: Server, way: str, cell: Cell, seconds: float, url: str = "") -> dict[str, Any]:
    """One window, on a database of its own or on the one given."""
    if not url:
        with database(server) as fresh:
            return window(server, way, cell, seconds, fresh)
    server.checkpoint()
    words = ["--seconds", str(seconds), "--warm", str(WARM), "--server", str(server.pid)]
    return run([*arguments(way, cell, url), *words])


async def measure(server: Server, rounds: int, scale: float, cells: Sequence[Cell] = CELLS) -> Table:
    """All cells, `rounds` times, the contenders by turns."""
    table = Table()
    for number in range(rounds):
        with database(server) as url:
            table.commits.append(median(await contender_bare_postgres.commit(url)))
        for cell in cells:
            for name in contenders():
                ways, seconds = WAYS[name]
                for way in ways:
                    table.add(way, cell, window(server, way, cell, seconds * scale))
        print(f"PostgreSQL: round {number + 1} of {rounds}", file=sys.stderr)
    return table


def speeds(table: Table) -> list[str]:
    """Sagas a second, and what they are to each other; then latencies."""
    names = table.names
    peers = [name for name in PEERS if name in names]
    lines = [
        "| sagas/s | in flight | " + " | ".join(names) + " | amends ÷ bare | " + _titles("amends ÷ {}", peers) + " |",
        "|---" * (len(names) + len(peers) + 3) + "|",
    ]
    for cell in CELLS:
        rate = {name: table.of(name, cell, "sagas_per_second") for name in names}
        rates = " | ".join(f"{rate[name]:,.0f}" for name in names)
        times = " | ".join(f"{rate['amends'] / rate[name]:.1f} x" for name in peers)
        lines.append(f"| {cell.flow} | {cell.in_flight} | {rates} | {rate['amends'] / rate['bare']:.0%} | {times} |")
    lines += ["", "| p50 / p99, ms | in flight | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for cell in CELLS:
        pairs = [f"{table.of(name, cell, 'p50'):.1f} / {table.of(name, cell, 'p99'):.1f}" for name in names]
        lines.append(f"| {cell.flow} | {cell.in_flight} | " + " | ".join(pairs) + " |")
    ways = ", ".join(f"{cell.flow} {cell.in_flight}: {table.best('dbos', cell).split()[1]}" for cell in CELLS)
    return [*lines, "", f"The faster way to use dbos, which is the one shown: {ways}."]


def processors(table: Table) -> list[str]:
    """Milliseconds of processor time per saga: of Python, of the server's sessions, of its writers."""
    names = table.names
    lines = [
        "| CPU ms per saga, Python + server (+ its writers) | in flight | " + " | ".join(names) + " |",
        "|---" * (len(names) + 2) + "|",
    ]
    for cell in CELLS:
        figures = [
            f"{table.of(name, cell, 'cpu'):.3f} + {table.of(name, cell, 'sessions'):.3f} "
            f"(+ {table.of(name, cell, 'aside'):.3f})"
            for name in names
        ]
        lines.append(f"| {cell.flow} | {cell.in_flight} | " + " | ".join(figures) + " |")
    return lines


def counts(server: Server) -> tuple[list[str], dict[tuple[str, Cell], Counted]]:
    """What a saga costs the database: those of a run of many, less those of a run of few."""
    lines = [
        "| per saga | in flight | contender | statements | transactions | WAL, KiB | whole pages in it |",
        "|---|---|---|---|---|---|---|",
    ]
    found: dict[tuple[str, Cell], Counted] = {}
    for cell in CELLS:
        for name in COUNTED:
            way, sagas = WAYS[name][0][0], COUNTED[name]
            few = _counted(server, way, cell, cell.in_flight)
            counted = _counted(server, way, cell, cell.in_flight + sagas).less(few, sagas)
            found[name, cell] = counted
            figures = f"{counted.statements:.2f} | {counted.transactions:.3f} | {counted.wal_bytes / 1024:.2f}"
            lines.append(f"| {cell.flow} | {cell.in_flight} | {name} | {figures} | {counted.wal_images:.3f} |")
    return lines, found


def _counted(server: Server, way: str, cell: Cell, sagas: int) -> Counted:
    with database(server) as url:
        server.checkpoint()
        before = server.counted(url)
        run([*arguments(way, cell, url), "--count", str(sagas)])
        return server.counted(url).less(before, 1)


def verdicts(table: Table, counted: dict[tuple[str, Cell], Counted]) -> list[str]:
    """Each aim, what was reached, and a word."""
    lines = [
        f"One row in one commit took {median(table.commits):.2f} ms in these rounds.",
        "",
        "| aim | reached | |",
        "|---|---|---|",
    ]
    for cell in CELLS:
        lines += _alone(table, cell) if cell.in_flight == 1 else _together(table, cell)
    return [*lines, *(line for flow in FLOWS for line in _costs(table, counted, Cell(flow, 100)))]


def _costs(table: Table, counted: dict[tuple[str, Cell], Counted], cell: Cell) -> list[str]:
    costs, title = counted["amends", cell], f"{cell.flow}, {cell.in_flight} in flight: "
    lines = [
        verdict(title + "1 commit for 10 sagas", f"{costs.transactions:.3f}", costs.transactions <= 0.1),
        verdict(title + "3 KiB of WAL", f"{costs.wal_bytes / 1024:.2f} KiB", costs.wal_bytes <= 3 * 1024),
    ]
    for word, what in (("Python", "cpu"), ("PostgreSQL", "sessions")):
        spent = table.of("amends", cell, what)
        lines.append(verdict(f"{title}0.12 ms of {word}", f"{spent:.3f} ms", spent <= 0.12))
    return lines


def _together(table: Table, cell: Cell) -> list[str]:
    rate = {name: table.of(name, cell, "sagas_per_second") for name in table.names}
    lines = []
    for name, times in SHARES.items():
        if name in rate:
            factor = rate["amends"] / rate[name]
            title = f"{cell.flow}, {cell.in_flight} in flight: {times} x {name}"
            lines.append(verdict(title, f"{factor:.1f} x", factor >= times))
    part = rate["amends"] / rate["bare"]
    title = f"{cell.flow}, {cell.in_flight} in flight: 40 % of the bare loop"
    return [*lines, verdict(title, f"{part:.0%}", part >= 0.4)]


def _alone(table: Table, cell: Cell) -> list[str]:
    lines = []
    for what, share, word in (("p50", 0.25, "a quarter"), ("p99", 0.5, "half")):
        amends, dbos = (table.of(name, cell, what) for name in ("amends", "dbos"))
        title = f"{cell.flow}, alone: {what} {word} of dbos's {dbos:.1f} ms"
        lines.append(verdict(title, f"{amends:.1f} ms, {amends / dbos:.0%}", amends <= share * dbos))
    points, trip = 4 if cell.flow == "happy" else 6, median(table.commits)
    each = table.of("amends", cell, "p50") / points
    title = f"{cell.flow}, alone: 3 x a bare commit per durable point"
    return [*lines, verdict(title, f"{each:.2f} ms, {each / trip:.1f} x", each <= 3 * trip)]


def verdict(aim: str, reached: str, held: bool) -> str:
    """One line of a table of aims."""
    return f"| {aim} | {reached} | {'reached' if held else 'falls short'} |"


def _titles(pattern: str, names: list[str]) -> str:
    return " | ".join(pattern.format(name) for name in names)
