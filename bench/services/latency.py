"""One remote step with nothing else running: a saga of one step, beside the bare round trip on the same broker.

The bare round trip is measured twice: a command and its reply, both confirmed; and the same with the three commits
that a step needs (the command, its effect, its outcome).

Guarantees: one saga at a time; the three ways by turns.
Must not: be measured while anything else is.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from bench.postgres.throughput import verdict
from bench.services.scene import AMENDS, BARE, BARE_MESSAGES, LOCAL, Place, Way, scene

WAYS = (BARE_MESSAGES, BARE, AMENDS)
TIMES = 3.0
WARM_SECONDS = 0.5
WARM_SAGAS = 20


def measure(places: list[Place], rounds: int, scale: float, seconds: float) -> dict[tuple[str, Way], dict[str, float]]:
    """The medians of the rounds, by broker and way."""
    found: dict[tuple[str, Way], list[dict[str, Any]]] = {}
    for number in range(rounds):
        for place in places:
            for way in WAYS if number % 2 == 0 else reversed(WAYS):
                with scene(place, way, steps=1) as one:
                    one.warm(1, WARM_SAGAS)
                    found.setdefault((place.kind, way), []).append(one.window(1, seconds * scale, WARM_SECONDS))
    return {
        key: {what: median(float(sample[what]) for sample in samples) for what in ("p50", "p99")}
        for key, samples in found.items()
    }


def lines(found: dict[tuple[str, Way], dict[str, float]]) -> list[str]:
    """The Markdown."""
    kinds = dict.fromkeys(kind for kind, _ in found)
    told = [
        "| p50 / p99, ms | messages alone | with its commits | amends | amends ÷ messages | amends ÷ with commits |",
        "|---|---|---|---|---|---|",
    ]
    verdicts = ["| aim | reached | |", "|---|---|---|"]
    for kind in kinds:
        times = " | ".join(f"{found[kind, way]['p50']:.2f} / {found[kind, way]['p99']:.2f}" for way in WAYS)
        ours = found[kind, AMENDS]["p50"]
        factors = {way: ours / found[kind, way]["p50"] for way in (BARE_MESSAGES, BARE)}
        told.append(f"| {kind} | {times} | " + " | ".join(f"{factor:.1f} x" for factor in factors.values()) + " |")
        if kind == LOCAL:  # the aims are of brokers
            continue
        for way, word in ((BARE_MESSAGES, "the bare messages"), (BARE, "the bare messages and commits")):
            title = f"{kind}: p50 under {TIMES:g} x {word}"
            verdicts.append(verdict(title, f"{factors[way]:.1f} x", factors[way] < TIMES))
    return [*told, "", *verdicts]
