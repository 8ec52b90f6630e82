"""The order saga of three services, over one broker, beside the bare round trips on the same broker.

Guarantees: each way runs once per round, in turn, first one and then the other; the median of the rounds counts.
Must not: compare figures of different runs, or of different brokers.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench.postgres.throughput import verdict
from bench.services.scene import AMENDS, BARE, BARE_ONE, BATCHED, Place, Way, scene

IN_FLIGHT = (1, 20, 100)
WAYS = (BARE_ONE, BARE, AMENDS, BATCHED)
OURS = (AMENDS, BATCHED)
WARM_SECONDS = 0.5  # each scene has run hundreds of sagas by then
WARM_SAGAS = 500
PROCESSORS = ("cpu", "participants", "postgres", "broker")
SHARE = 0.5  # of the bare system's rate


@dataclass
class Table:
    """All samples of one broker."""

    samples: dict[tuple[Way, int], list[dict[str, Any]]] = field(default_factory=dict)

    def of(self, way: Way, in_flight: int, what: str) -> float:
        """The median of the rounds."""
        return median(float(sample.get(what, 0.0)) for sample in self.samples[way, in_flight])

    def ratio(self, way: Way, in_flight: int, to: Way = BARE) -> float:
        """The median of what each round gave: its two windows lie closest together."""
        pairs = zip(self.samples[way, in_flight], self.samples[to, in_flight], strict=True)
        return median(float(ours["sagas_per_second"]) / float(bare["sagas_per_second"]) for ours, bare in pairs)


def measure(place: Place, rounds: int, scale: float, seconds: float, in_flight: Sequence[int] = IN_FLIGHT) -> Table:
    """All ways, by turns."""
    table = Table()
    for number in range(rounds):
        for way in WAYS if number % 2 == 0 else reversed(WAYS):
            with scene(place, way) as one:
                one.warm(max(in_flight), max(in_flight) + int(WARM_SAGAS * scale))
                for each in in_flight:
                    sample = one.window(each, seconds * scale, WARM_SECONDS * min(scale, 1.0))
                    table.samples.setdefault((way, each), []).append(sample)
        print(f"services over {place.kind}: round {number + 1} of {rounds}", file=sys.stderr)
    return table


def lines(table: Table, *, judged: bool) -> list[str]:
    """The Markdown. judged: with the aims."""
    in_flight = sorted({each for _, each in table.samples})
    verdicts = ["", *_verdicts(table, in_flight)] if judged else []
    return [*_speeds(table, in_flight), "", *_costs(table, in_flight), *verdicts]


def _speeds(table: Table, in_flight: Sequence[int]) -> list[str]:
    titles = " | ".join(way.title for way in WAYS)
    found = [
        f"| sagas/s | in flight | {titles} | amends ÷ bare | amends, batch=50 ÷ bare |",
        "|---" * (len(WAYS) + 4) + "|",
    ]
    for each in in_flight:
        rates = " | ".join(f"{table.of(way, each, 'sagas_per_second'):,.0f}" for way in WAYS)
        shares = " | ".join(f"{table.ratio(way, each):.0%}" for way in OURS)
        found.append(f"| happy | {each} | {rates} | {shares} |")
    found += ["", f"| p50 / p99, ms | in flight | {titles} |", "|---" * (len(WAYS) + 2) + "|"]
    for each in in_flight:
        times = [f"{table.of(way, each, 'p50'):.1f} / {table.of(way, each, 'p99'):.1f}" for way in WAYS]
        found.append(f"| happy | {each} | " + " | ".join(times) + " |")
    return found


def _costs(table: Table, in_flight: Sequence[int]) -> list[str]:
    found = [
        "| per saga | in flight | messages | statements, orchestrator | statements, services | their begin, commit and "
        "savepoints | CPU ms: orchestrator + services + PostgreSQL + broker | bare's ÷ its |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in in_flight:
        for way in WAYS:
            counts = ("messages", "home_statements", "services_statements", "services_control")
            figures = " | ".join(f"{table.of(way, each, what):.2f}" for what in counts)
            spent = [table.of(way, each, what) for what in PROCESSORS]
            share = sum(table.of(BARE, each, what) for what in PROCESSORS) / sum(spent)
            cpu = " + ".join(f"{one:.2f}" for one in spent) + f" = {sum(spent):.2f}"
            found.append(f"| {way.title} | {each} | {figures} | {cpu} | {share:.0%} |")
    return found


def _verdicts(table: Table, in_flight: Sequence[int]) -> list[str]:
    found = ["| aim | reached | |", "|---|---|---|"]
    for each in in_flight:
        for way in OURS:
            share = table.ratio(way, each)
            found.append(verdict(f"{each} in flight, {way.title}: half of bare", f"{share:.0%}", share >= SHARE))
            found.append(
                f"| {each} in flight, {way.title} ÷ {BARE_ONE.title} | {table.ratio(way, each, BARE_ONE):.0%} | |"
            )
    return found
