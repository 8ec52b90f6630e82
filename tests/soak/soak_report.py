"""The report of a soak: what was run, how much, and whether it is valid.

Guarantees: a violation is never left out, a part that did not run or proved nothing makes the report invalid; it can be
written at any moment.
Must not: forgive; only chaos that met too little is run again with other dice, and then says so.
"""

from __future__ import annotations

import shlex
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from soak_parts import Part
from soak_run import ROOT, Result
from soak_said import Chaos

MISSED = "there was too little time for it"


@dataclass
class Report:
    """What is known so far."""

    hours: float
    seed: int
    machine: list[str]
    parts: tuple[Part, ...]
    absent: tuple[Part, ...] = ()
    only: str = ""
    rounds: int = 0
    results: list[Result] = field(default_factory=list)
    state: str = "it is not over yet"
    began: float = field(default_factory=time.monotonic)
    date: str = field(default_factory=lambda: datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"))

    @property
    def violations(self) -> list[str]:
        """All of them, each with the command that showed it."""
        return [
            f"{result.part.name}: {sentence}\n    `{again(result)}`\n    its log: {result.log}"
            + (f"; its records: {result.records}" if result.records else "")
            for result in self.results
            for sentence in result.found.violations
        ]

    @property
    def invalid(self) -> list[str]:
        """Why it proves less than it should."""
        found = [] if self.state == "" else [self.state]
        ran = {result.part.name for result in self.results}
        found += [f"{part.name}: {MISSED}" for part in self.parts if part.name not in ran]
        for number, result in enumerate(self.results):
            if result.found.invalid and not self._repeated(number):
                found += [f"{result.part.name}: {why}" for why in result.found.invalid]
        return found

    def _repeated(self, number: int) -> bool:
        """Whether it was chaos that met too little, and the same with other dice right after it was well."""
        one = self.results[number]
        later = next((other for other in self.results[number + 1 :] if other.part.name == one.part.name), None)
        return one.found.chaos is not None and later is not None and not later.found.invalid

    @property
    def code(self) -> int:
        """The exit code: 1 where something is wrong, 2 where it proves too little."""
        return 1 if self.violations else 2 if self.invalid else 0

    @property
    def verdict(self) -> str:
        """The first line and the last."""
        held = f"{len(self.violations)} violations"
        return f"**{held}; the report is {'INVALID' if self.invalid else 'valid'}.**"

    @property
    def command(self) -> str:
        """What was asked for."""
        if self.only:
            return f"python tests/soak/soak.py --hours {self.hours:g} --only {self.only!r}"
        return f"make soak HOURS={self.hours:g}"

    def text(self) -> str:
        """All of it, in Markdown."""
        took = (time.monotonic() - self.began) / 60
        lines = [
            self.verdict,
            "",
            f"`{self.command}`, {self.date}: {took:.0f} min, rounds: {self.rounds}, seeds from {self.seed}.",
            "",
            *self.machine,
            "",
            self._total(),
            "",
            *self._parts(),
            *self._chaos(),
            *self._faults(),
        ]
        if repeated := sum(bool(r.found.invalid) and self._repeated(n) for n, r in enumerate(self.results)):
            lines += ["", f"{repeated} runs of chaos met too little, and were run again with other dice."]
        if self.absent:
            lines += ["", "Not there yet: " + ", ".join(part.name for part in self.absent) + "."]
        lines += [
            "",
            *(f"- INVALID: {why}" for why in self.invalid),
            *(f"- VIOLATION: {what}" for what in self.violations),
        ]
        return "\n".join(lines).rstrip() + "\n"

    def _total(self) -> str:
        """All in one sentence."""
        counts = sum((result.found.counts for result in self.results), Counter[str]())
        runs = [result.found.chaos for result in self.results if result.found.chaos is not None]
        counts["sagas"] += sum(run.sagas.total() for run in runs)
        counts["faults on real processes"] = sum(run.faults.total() for run in runs)
        counts["effects checked"] = sum(run.effects for run in runs)
        said = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        return f"In all: {said or 'nothing yet'}."

    def _parts(self) -> Iterator[str]:
        yield from ("| part | runs | minutes | what was run | violations |", "|---|---:|---:|---|---:|")
        for part in self.parts:
            mine = [result for result in self.results if result.part.name == part.name]
            counts = sum((result.found.counts for result in mine), Counter[str]())
            minutes = sum(result.ended.seconds for result in mine) / 60
            said = ", ".join(f"{count:,} {name}" for name, count in counts.items())
            if "seeds" in counts:
                said += f"; {counts['seeds'] / max(minutes * 60, 0.001):.0f} seeds a second"
            if not said:
                said = "; ".join(result.job.what for result in mine)
            wrong = sum(len(result.found.violations) for result in mine)
            yield f"| {part.name} | {len(mine)} | {minutes:.1f} | {said} | {wrong} |"

    def _chaos(self) -> Iterator[str]:
        found: dict[str, list[Chaos]] = defaultdict(list)
        for result in self.results:
            if result.found.chaos is not None:
                found[result.part.name].append(result.found.chaos)
        if not found:
            return
        yield from (
            "",
            "| chaos | runs | seconds of faults | lives of processes | faults | kinds | sagas in flight that they met "
            "| completed | compensated | parked | messages | calls | effects checked |",
            "|---|" + "---:|" * 12,
        )
        yield from (_row(name, runs) for name, runs in found.items())
        yield _row("all", [run for runs in found.values() for run in runs])

    def _faults(self) -> Iterator[str]:
        faults = sum((r.found.chaos.faults for r in self.results if r.found.chaos is not None), Counter[str]())
        if faults:
            yield from ("", "| fault | times |", "|---|---:|")
            yield from (f"| {_words(name)} | {count:,} |" for name, count in sorted(faults.items()))


def _row(name: str, runs: Iterable[Chaos]) -> str:
    """A line about one place."""
    runs = list(runs)
    sagas = sum((run.sagas for run in runs), Counter[str]())
    faults = sum((run.faults for run in runs), Counter[str]())
    numbers = [
        len(runs),
        round(sum(run.seconds for run in runs)),
        sum(run.lives for run in runs),
        faults.total(),
        len(faults),
        sum(run.met for run in runs),
        *(sagas[status] for status in ("completed", "compensated", "parked")),
        sum(run.messages for run in runs),
        sum(run.calls for run in runs),
        sum(run.effects for run in runs),
    ]
    return f"| {name} | " + " | ".join(f"{number:,}" if number else "" for number in numbers) + " |"


def _words(name: str) -> str:
    """The name of a fault; on a file it is that of a function."""
    return name if " " in name else name.replace("_", " ")


def again(result: Result) -> str:
    """The command that repeats it, as far as it repeats itself."""
    words = [word for word in result.job.command if "{" not in word]
    variables = [f"{name}={value}" for name, value in result.job.environment.items()]
    return shlex.join([*variables, "python", *words[1:]])


BEGINS, ENDS = "<!-- soak: the last valid report -->", "<!-- end -->"


def into_page(text: str, page: Path = ROOT / "docs/internals/soak.md") -> None:
    """Put a report where the page has one."""
    before, _, rest = page.read_text().partition(BEGINS)
    after = rest.partition(ENDS)[2]
    page.write_text(f"{before}{BEGINS}\n\n{text}\n{ENDS}{after}")
