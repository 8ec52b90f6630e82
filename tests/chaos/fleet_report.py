"""What a run of the chaos on PostgreSQL is summed up to: counts, the invalid, and a table for people.

Guarantees: a run whose faults met nothing is called invalid, whatever else it says.
Must not: round a violation away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

PORTION_LEAST = 0.1  # of all sagas, that completed, and that were compensated
OVERLAPS_LEAST = 20  # sagas in flight that a kind of fault met, together
SEEN_IN_EACH = (
    "takeovers",
    "ambiguous commits",
    "writes and renewals of retired workers refused",
    "zombies that served again",
    "repeated calls",
    "undos that came to nothing or too early",
)
BEFORE_ALL = "kill -9 of one of eight workers in the middle of the first migration"
SHORT_SECONDS = 50.0  # a shorter run cannot meet every kind of fault


def invalid(report: dict[str, Any], kinds: int) -> Iterable[str]:
    """V1 and V2: why this run proves nothing, if it does not."""
    sagas, ended = max(sum(report["sagas"].values()), 1), report["sagas"]
    for status in ("completed", "compensated"):
        if ended.get(status, 0) < PORTION_LEAST * sagas:
            yield f"only {ended.get(status, 0)} of {sagas} sagas were {status}"
    long = report["seconds"] >= SHORT_SECONDS
    if long and len(report["faults"]) < kinds:
        yield f"{len(report['faults'])} kinds of faults, and there are {kinds}"
    for kind, told in report["faults"].items():
        if kind == BEFORE_ALL:
            continue
        if told["sagas"] == 0 or (long and told["sagas"] < OVERLAPS_LEAST / 4):
            yield f"{kind}: it met only {told['sagas']} sagas in flight"
    if sum(told["sagas"] for told in report["faults"].values()) < OVERLAPS_LEAST:
        yield "the faults met hardly a saga in flight"
    for what in SEEN_IN_EACH:
        if long and not report["seen"][what]:
            yield f"not one of these was seen: {what}"
    if not report["seen"]["killed in the middle of the first migration"]:
        yield "nobody was killed in the middle of the first migration"


def counted(records: Iterable[Any], overlapped: dict[str, set[str]]) -> dict[str, dict[str, int]]:
    """By kind of fault: how often, and how many different sagas were in flight."""
    times = Counter(record.kind for record in records)
    return {kind: {"times": times[kind], "sagas": len(overlapped[kind])} for kind in sorted(times)}


def table(report: dict[str, Any]) -> str:
    """The same for people, in Markdown."""
    lines = [
        f"{report['seconds']:g} s of faults, {report['workers']} lives of workers, {report['clients']} of clients, "
        f"seed {report['seed']}.",
        "",
        "| sagas in the end | |",
        "|---|---:|",
        *(f"| {status} | {number:,} |" for status, number in sorted(report["sagas"].items())),
        "",
        "| fault | times | different sagas in flight |",
        "|---|---:|---:|",
        *(f"| {kind} | {told['times']:,} | {told['sagas']:,} |" for kind, told in report["faults"].items()),
        "",
        "| seen | |",
        "|---|---:|",
        *(f"| {what} | {number:,} |" for what, number in report["seen"].items()),
        f"| all at rest after the last fault, seconds (bound {report['bound']:g}) | {report['rest']:.1f} |",
        f"| violations | {len(report['troubles'])} |",
    ]
    return "\n".join(lines)
