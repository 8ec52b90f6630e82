"""A broker that is killed under load and comes back a minute later: what is lost, and how soon all is as before.

Guarantees: `kill -9`; nothing is told that it is away, or that it is back; the load does not stop.
Must not: use a broker that somebody else uses.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from bench.postgres.server import Server
from bench.postgres.throughput import verdict
from bench.services.scene import AMENDS, Place, effects, scene
from services.broker import Broker

IN_FLIGHT = 20
NORMAL = 1.5  # times the p99 of before: as before, with what chance does in a window of seconds
LOST_SECONDS = 120.0


class Plan(NamedTuple):
    """How long, in seconds: the load before, the broker away, until all is to be as before, and the load after that."""

    before: float = 10.0
    away: float = 60.0
    normal: float = 10.0
    after: float = 10.0


SHORT = Plan(before=3.0, away=3.0, normal=3.0, after=2.0)  # to see whether it runs at all


class Story(NamedTuple):
    """What became of it. first, all: seconds after the broker took connections until the first saga ended, and until
    all had that were begun before. lost: sagas that did not end, or had not exactly one effect in each service. soon:
    the p99 of those that were begun before all was to be as before; later: of those after that."""

    first: float
    all: float
    sagas: int
    lost: int
    before: float
    soon: float
    later: float


def measure(server: Server, kind: str, broker: Broker, plan: Plan) -> Story:
    """One outage of a broker that runs."""
    with scene(Place(server, kind, broker.url, broker.pid), AMENDS, checked=False) as one:
        one.warm(IN_FLIGHT, IN_FLIGHT * 5)
        one.orchestrator.ask("load", in_flight=IN_FLIGHT)
        begun = time.monotonic()
        time.sleep(plan.before)
        broker.kill()
        killed = time.monotonic()
        time.sleep(plan.away)
        broker.start()
        back = time.monotonic()
        time.sleep(plan.normal + plan.after)
        told = one.orchestrator.ask("stop", seconds=LOST_SECONDS, within=LOST_SECONDS + 30)
        completed = one.orchestrator.ask("counts")
        found = [effects(url) for url in one.databases.values()]
    times: list[tuple[float, float]] = [(since, until) for since, until in told["times"]]
    unfinished = told["begun"] - len(times) + sum(completed["went_wrong"].values())
    uneven = sum(abs(each - completed["ran"]) for each in found)
    stuck = [until for since, until in times if since < back <= until]
    return Story(
        first=min(stuck, default=float("inf")) - back,
        all=max(stuck, default=float("inf")) - back,
        sagas=told["begun"],
        lost=unfinished + uneven,
        before=p99([pair for pair in times if begun + 1.0 <= pair[0] and pair[1] < killed]),
        soon=p99([pair for pair in times if back <= pair[0] < back + plan.normal]),
        later=p99([pair for pair in times if pair[0] >= back + plan.normal]),
    )


def p99(times: Sequence[tuple[float, float]]) -> float:
    """In milliseconds; without end where there is none to count."""
    took = sorted(until - since for since, until in times)
    return took[min(int(len(took) * 0.99), len(took) - 1)] * 1e3 if took else float("inf")


def lines(stories: dict[str, Story], plan: Plan) -> list[str]:
    """The Markdown."""
    told = [
        f"| killed under load, away for {plan.away:.0f} s | first saga ended after, s | all that stood still after, s "
        f"| sagas | lost | p99 ms: before | begun in the {plan.normal:.0f} s after the return | begun later |",
        "|---|---|---|---|---|---|---|---|",
    ]
    verdicts = ["| aim | reached | |", "|---|---|---|"]
    for kind, story in stories.items():
        figures = f"{story.first:.1f} | {story.all:.1f} | {story.sagas:,} | {story.lost} | {story.before:.0f}"
        told.append(f"| {kind} | {figures} | {story.soon:.0f} | {story.later:.0f} |")
        verdicts.append(verdict(f"{kind}: nothing is lost", str(story.lost), story.lost == 0))
        factor = story.later / story.before
        title = f"{kind}: {plan.normal:.0f} s after the return, p99 as before (at most {NORMAL:g} x)"
        verdicts.append(verdict(title, f"{factor:.1f} x", factor <= NORMAL))
    return [*told, "", *verdicts]
