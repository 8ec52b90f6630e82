"""What the commands of a soak have said: counts, what is wrong, and why something proves nothing.

Guarantees: a command that says nothing that is understood is wrong, and never taken for good.
Must not: judge what the commands judge themselves.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from chaos_run import invalid

STORY_LINES = 15  # of what a command said at its end, where it failed
COUNTED = re.compile(r"^(.+?) +([\d,]+)$", re.M)
HELD = re.compile(r"^([\d,]+) seeds held, (\d+) seeds a second$", re.M)
CASES = re.compile(r"([\d,]+) cases in all")


@dataclass(frozen=True)
class Ended:
    """How a command ended. code: None if it was killed, as it hung or there was no time left. xml: of pytest."""

    code: int | None
    out: str = ""
    err: str = ""
    xml: str = ""
    seconds: float = 0.0

    @property
    def story(self) -> str:
        """The end of what it said."""
        lines = [*self.out.splitlines(), *self.err.splitlines()]
        return "\n".join(lines[-STORY_LINES:])


@dataclass
class Chaos:
    """What befell real processes somewhere. met: different sagas in flight, added up over kinds of faults; on a file,
    where they are not told apart, faults that met sagas that moved."""

    seconds: float = 0.0
    lives: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    met: int = 0
    sagas: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    effects: int = 0
    messages: int = 0


@dataclass
class Found:
    """What is known of one job."""

    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    chaos: Chaos | None = None


Reader = Callable[[Ended], Found]


def failed(ended: Ended) -> Found:
    """It ended in a way that nobody foresaw."""
    how = "did not end in time" if ended.code is None else f"ended with {ended.code}"
    return Found(violations=[f"it {how}:\n{ended.story}"])


def simulation(ended: Ended) -> Found:
    """`python -m amends.testing.simulate`."""
    held = HELD.search(ended.out)
    if ended.code == 1:
        return Found(violations=[line for line in ended.out.splitlines() if "FAILED" in line] or [ended.story])
    if ended.code not in (0, 2) or held is None:
        return failed(ended)
    told = {name.strip(): _number(count) for name, count in COUNTED.findall(ended.out)}
    counts = Counter({"seeds": _number(held[1]), "deaths of workers": told.get("deaths", 0)})
    counts["sagas"] = sum(count for name, count in told.items() if name.startswith("finally "))
    return Found(counts, invalid=[line for line in ended.out.splitlines() if line.startswith("INVALID")])


def suite(ended: Ended) -> Found:
    """pytest, by the file that it leaves; what its tests have recorded as numbers is added up."""
    if ended.code not in (0, 1) or not ended.xml:
        return failed(ended)
    found = Found()
    for case in ElementTree.fromstring(ended.xml).iter("testcase"):  # noqa: S314  # our own pytest wrote it
        for wrong in (*case.iter("failure"), *case.iter("error")):
            found.violations.append(f"{case.get('name')}: {wrong.get('message', '')[:2000]}")
        if case.find("skipped") is None:
            found.counts["tests"] += 1
        else:
            found.invalid.append(f"{case.get('name')} was skipped")
        for told in case.iter("property"):
            found.counts[str(told.get("name"))] += _number(str(told.get("value")))
    if ended.code == 1 and not found.violations:
        return failed(ended)
    if not found.counts["tests"]:
        found.invalid.append("not a test was run")
    return found


def machine(examples: int) -> Reader:
    """The state machine, which runs so many examples."""

    def read(ended: Ended) -> Found:
        found = suite(ended)
        if not found.violations:
            found.counts["random histories of the core"] = examples
        return found

    return read


def fuzzer(ended: Ended) -> Found:
    """`tests/fuzz/fuzz.py`."""
    cases = CASES.search(ended.out)
    if ended.code != 0 or cases is None:
        return failed(ended)
    return Found(Counter({"spoiled inputs": _number(cases[1])}))


def fleet_chaos(ended: Ended) -> Found:
    """`tests/chaos/fleet.py`."""
    report = _report(ended)
    if report is None:
        return failed(ended)
    chaos = _chaos(report, report["workers"] + report["clients"])
    seen = report["seen"]
    chaos.calls, chaos.effects = (
        seen["calls that reached the participant"],
        seen["effects"] + seen["effects taken back"],
    )
    return _judged(report, chaos)


def services_chaos(ended: Ended) -> Found:
    """`tests/chaos/services_chaos.py`."""
    report = _report(ended)
    if report is None:
        return failed(ended)
    chaos = _chaos(report, report["lives"])
    chaos.calls, chaos.effects = report["calls"], report["effects"]
    chaos.messages = sum(report["messages"].get(name, 0) for name in DELIVERED)
    return _judged(report, chaos)


def file_chaos(ended: Ended) -> Found:
    """`tests/chaos/chaos_run.py`."""
    report = _report(ended)
    if report is None:
        return failed(ended)
    faults = Counter(report["met"]) + Counter(report["missed"])
    chaos = Chaos(report["seconds"], report["workers"] + report["clients"], faults, sum(report["met"].values()))
    chaos.sagas = Counter(report["statuses"])
    return Found(violations=list(report["troubles"]), invalid=list(invalid(report)), chaos=chaos)


DELIVERED = ("commands delivered", "replies delivered", "other messages delivered")


def _report(ended: Ended) -> dict[str, Any] | None:
    """The JSON object that a run of chaos prints at its end, if there is one."""
    lines = ended.out.strip().splitlines()
    if ended.code not in (0, 1, 2) or not lines or not lines[-1].startswith("{"):
        return None
    report: dict[str, Any] = json.loads(lines[-1])
    silent = ended.code != 0 and not report["troubles"] and not report.get("invalid")
    return None if silent else report


def _chaos(report: dict[str, Any], lives: int) -> Chaos:
    faults = Counter({kind: told["times"] for kind, told in report["faults"].items()})
    met = sum(told["sagas"] for told in report["faults"].values())
    return Chaos(report["seconds"], lives, faults, met, Counter(report["sagas"]))


def _judged(report: dict[str, Any], chaos: Chaos) -> Found:
    return Found(violations=list(report["troubles"]), invalid=list(report["invalid"]), chaos=chaos)


def _number(text: str) -> int:
    digits = text.replace(",", "")
    return int(digits) if digits.isdecimal() else 0
