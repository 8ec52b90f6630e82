"""One saga in both styles: orchestrated, and choreographed, on the same brokers in one run.

Guarantees: the two by turns, round by round; the median of the rounds counts. What messages weigh is found out with
sagas of its own, after the windows.
Must not: compare figures of different runs, or of different brokers.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bench.services.scene import AMENDS, CHOREOGRAPHED, Place, scene
from bench.services.steps import PROCESSORS, Table

WAYS = (AMENDS, CHOREOGRAPHED)
IN_FLIGHT = (1, 20, 100)
WARM_SECONDS = 0.5
WARM_SAGAS = 300
WEIGHED_SAGAS = 100


def measure(places: list[Place], rounds: int, scale: float, seconds: float) -> dict[str, Table]:
    """By broker."""
    found = {place.kind: Table() for place in places}
    for number in range(rounds):
        for place in places:
            for way in WAYS if number % 2 == 0 else reversed(WAYS):
                with scene(place, way) as one:
                    one.warm(max(IN_FLIGHT), max(IN_FLIGHT) + int(WARM_SAGAS * scale))
                    samples = [one.window(each, seconds * scale, WARM_SECONDS * min(scale, 1.0)) for each in IN_FLIGHT]
                    weight = one.weight(WEIGHED_SAGAS)
                for each, sample in zip(IN_FLIGHT, samples, strict=True):
                    found[place.kind].samples.setdefault((way, each), []).append({**sample, **weight})
        print(f"styles: round {number + 1} of {rounds}", file=sys.stderr)
    return found


def lines(found: dict[str, Table], in_flight: Sequence[int] = IN_FLIGHT) -> list[str]:
    """The Markdown."""
    told = [
        "| orchestrated, choreographed | in flight | sagas/s | ratio | p50 / p99, ms | p50, p99 ratio |",
        "|---|---|---|---|---|---|",
    ]
    for kind, table in found.items():
        for each in in_flight:
            rates = ", ".join(f"{table.of(way, each, 'sagas_per_second'):,.0f}" for way in WAYS)
            times = ", ".join(f"{table.of(way, each, 'p50'):.1f} / {table.of(way, each, 'p99'):.1f}" for way in WAYS)
            factors = ", ".join(
                f"{table.of(CHOREOGRAPHED, each, what) / table.of(AMENDS, each, what):.0%}" for what in ("p50", "p99")
            )
            told.append(
                f"| {kind} | {each} | {rates} | {table.ratio(CHOREOGRAPHED, each, AMENDS):.0%} | {times} | {factors} |"
            )
    return [*told, "", *_costs(found, in_flight[len(in_flight) // 2])]


def _costs(found: dict[str, Table], each: int) -> list[str]:
    told = [
        f"| per saga, {each} in flight: orchestrated, choreographed | messages | bytes | the largest | statements "
        "| CPU ms |",
        "|---|---|---|---|---|---|",
    ]
    for kind, table in found.items():

        def both(*names: str, digits: int = 0, table: Table = table) -> str:
            return ", ".join(f"{sum(table.of(way, each, name) for name in names):,.{digits}f}" for way in WAYS)

        statements = both("home_statements", "services_statements", digits=1)
        told.append(
            f"| {kind} | {both('messages', digits=1)} | {both('bytes')} | {both('largest')} | {statements} "
            f"| {both(*PROCESSORS, digits=2)} |"
        )
    return told
