"""What a run of the chaos of services is summed up to: counts, the invalid, and a table for people.

Guarantees: a run whose faults met nothing is called invalid, whatever else it says.
Must not: round a violation away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

PORTION_LEAST = 0.2  # of all sagas, that completed, and that were compensated
OVERLAPS_LEAST = 20  # sagas in flight that all faults met, together
SAGAS_LEAST = 50
SHORT_SECONDS = 30.0  # a shorter run cannot meet every kind of fault
LONG_SECONDS = 50.0  # and one that is shorter than this not all that befalls messages
SEEN_IN_BOTH = (
    "duplicated",
    "redelivered",
    "held",
    "commands_lost",
    "replies_lost",
    "first_replies_lost",
    "replies_late",
    "acks_lost",
    "confirms_lost",
    "replayed",
    "forged",
    "garbage",
    "unknown",
    "commands delivered again",
    "replies delivered again",
    "participant repeated",
    "participant refused",
)
SEEN_IN_SHORT_ONES = ("duplicated", "redelivered", "commands_lost", "participant repeated")
SEEN_IN_EACH = {
    "orchestrated": (*SEEN_IN_BOTH, "actions_behind_undo", "participant parked", "replies refused"),
    "choreographed": (
        *SEEN_IN_BOTH,
        "cancels accepted",
        "starts rolled back",
        "revived by their homes",
        "sagas that it must have in full",
    ),
}


def invalid(report: dict[str, Any]) -> Iterable[str]:
    """V1 and V2: why this run proves nothing, if it does not."""
    from services_faults import KINDS

    sagas, ended = sum(report["sagas"].values()), report["sagas"]
    long, style = report["seconds"] >= SHORT_SECONDS, report["style"]
    wanted = SEEN_IN_EACH[style] if report["seconds"] >= LONG_SECONDS else SEEN_IN_SHORT_ONES
    if long and sagas < SAGAS_LEAST:
        yield f"only {sagas} sagas"
    for status in ("completed", "compensated"):
        if ended.get(status, 0) < PORTION_LEAST * max(sagas, 1):
            yield f"only {ended.get(status, 0)} of {sagas} sagas were {status}"
    if long and len(report["faults"]) < KINDS[style]:
        yield f"{len(report['faults'])} kinds of faults, and there are {KINDS[style]}"
    for kind, told in report["faults"].items():
        if told["sagas"] == 0:
            yield f"{kind}: it met no saga in flight"
    if sum(told["sagas"] for told in report["faults"].values()) < OVERLAPS_LEAST:
        yield "the faults met hardly a saga in flight"
    for what in wanted if long else ():
        if not report["messages"].get(what):
            yield f"not one of these was seen: {what}"
    if long and style == "choreographed" and not any("a baton in hand" in what for what in report["messages"]):
        yield "nobody died with a baton in hand"
    if report["calls"] <= report["effects"] or report["messages"].get("commands delivered", 0) <= report["effects"]:
        yield f"{report['calls']} calls of handlers had {report['effects']} effects: hardly anything came twice"


def counted(records: Iterable[Any], overlapped: dict[str, set[str]]) -> dict[str, dict[str, int]]:
    """By kind of fault: how often, and how many different sagas were in flight."""
    times = Counter(record.kind for record in records)
    return {kind: {"times": times[kind], "sagas": len(overlapped[kind])} for kind in sorted(times)}


def table(report: dict[str, Any]) -> str:
    """The same for people, in Markdown."""
    lines = [
        f"{report['broker']}, {report['style']}, {report['seconds']:g} s of faults, "
        f"{report['lives']} lives of processes, seed {report['seed']}.",
        "",
        "| sagas in the end | |",
        "|---|---:|",
        *(f"| {status} | {number:,} |" for status, number in sorted(report["sagas"].items())),
        "",
        "| fault | times | different sagas in flight |",
        "|---|---:|---:|",
        *(f"| {kind} | {told['times']:,} | {told['sagas']:,} |" for kind, told in report["faults"].items()),
        "",
        "| messages | |",
        "|---|---:|",
        *(f"| {what} | {number:,} |" for what, number in report["messages"].items()),
        "",
        "| seen | |",
        "|---|---:|",
        f"| calls of handlers | {report['calls']:,} |",
        f"| effects, done and undone | {report['effects']:,} |",
        f"| all at rest after the last fault, seconds (bound {report['bound']:.0f}) | {report['rest']:.1f} |",
        f"| violations | {len(report['troubles'])} |",
    ]
    return "\n".join(lines)
