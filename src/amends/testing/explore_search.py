"""The search: every single fault, then pairs, then longer lists from the seed; the first that is wrong, made small.

Guarantees: the same scene, budget and seed give the same runs in the same order.
Must not: stop before the single faults are through, whatever the budget.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from random import Random
from time import perf_counter

from amends.errors import DefinitionError
from amends.testing.explore_faults import MOMENTS, SIMPLEST, Fault, Faults
from amends.testing.explore_laws import Invariant, broken
from amends.testing.explore_points import further, simpler
from amends.testing.explore_report import Found, Report, found_in
from amends.testing.explore_run import Run
from amends.testing.explore_scene import Scene

Progress = Callable[[int, int], None]
LONGEST = 3  # faults in a list
DRAWS_AT_ONCE = 50  # lists that turn out to be known, before the space counts as used up
SHRINKS_MAX = 400
LINES_LESS = 4  # that a journal may have without a fault
COLLECT_AT = 50_000


@dataclass
class Search:
    """One exploration. runs: how many at most, every single fault in any case. told: how far it is, now and then."""

    scene: Scene
    invariant: Invariant | None
    runs: int
    seed: int
    told: Progress | None = None
    seen: set[frozenset[Fault]] = field(default_factory=set)
    _left: int = 0  # runs that may still be spent on making a counterexample small

    def __post_init__(self) -> None:
        """Raises DefinitionError."""
        if self.invariant is not None and (not callable(self.invariant) or iscoroutinefunction(self.invariant)):
            raise DefinitionError(
                f"invariant={self.invariant!r:.80}: a plain function of the world and the outcome is expected"
            )

    def report(self) -> Report:
        """Run until something is wrong or the budget is spent."""
        began = perf_counter()
        report = Report(self.scene.saga.name, self.seed)
        with seldom_collected():
            self._search(report)
        report.seconds = perf_counter() - began
        report.cover(self.scene)
        return report

    def _search(self, report: Report) -> None:
        for run in self._all(report):
            wrong = broken(run, self.invariant)
            report.count(run)
            if wrong:
                report.counterexample = self.smallest(run, wrong)
                break
            if self.told is not None and report.runs % 100 == 0:
                self.told(report.runs, max(self.runs, report.runs))

    def only(self, faults: Faults) -> Report:
        """The one run with these faults."""
        began = perf_counter()
        report = Report(self.scene.saga.name, self.seed, only=faults)
        run = self.scene.run(faults)
        wrong = broken(run, self.invariant)
        report.count(run)
        report.unmet = tuple(fault for fault in faults if fault not in run.met)
        report.shown = found_in(run, wrong)
        report.counterexample = report.shown if wrong else None
        report.seconds = perf_counter() - began
        report.cover(self.scene)
        return report

    def _all(self, report: Report) -> Iterator[Run]:
        base = self._run(())
        yield base
        singles = sorted(further(base), key=simplicity)
        behind: list[tuple[Faults, list[Fault]]] = []
        for fault in singles:
            run = self._run((fault,))
            yield run
            behind.append(((fault,), sorted(further(run), key=simplicity)))
        report.singles = len(singles)
        reached = [(*faults, fault) for faults, more in behind for fault in more]
        pairs = list({frozenset(pair): pair for pair in reversed(reached)}.values())[::-1]
        report.pairs_of = len(pairs)
        left = self.runs - report.runs
        if len(pairs) > left:
            chosen = set(Random(self.seed).sample(range(len(pairs)), max(left, 0)))
            pairs = [pair for place, pair in enumerate(pairs) if place in chosen]
        longer: list[tuple[Faults, list[Fault]]] = []
        for pair in pairs:
            run = self._run(pair)
            yield run
            report.pairs += 1
            if report.pairs_of < left:
                longer.append((pair, further(run)))
        yield from self._drawn(report, longer)

    def _drawn(self, report: Report, known: list[tuple[Faults, list[Fault]]]) -> Iterator[Run]:
        """Longer lists, as far as the budget goes."""
        chance = Random(self.seed)
        known = [(faults, more) for faults, more in known if more]
        misses = 0
        while known and report.runs < self.runs and misses < DRAWS_AT_ONCE:
            faults, more = chance.choice(known)
            longer = (*faults, chance.choice(more))
            if frozenset(longer) in self.seen:
                misses += 1
                continue
            misses = 0
            run = self._run(longer)
            yield run
            report.longer += 1
            further_on = further(run) if len(longer) < LONGEST else []
            if further_on:
                known.append((longer, further_on))

    def _run(self, faults: Faults) -> Run:
        self.seen.add(frozenset(faults))
        return self.scene.run(faults)

    # Shrinking

    def smallest(self, run: Run, wrong: str) -> Found:
        """The run made as small as it can be: without faults that do not matter, with the simplest kinds."""
        self._left = SHRINKS_MAX
        tried: set[Faults] = set()
        smaller = True
        while smaller:
            smaller = False
            for faults in _reduced(run):
                again = None if faults in tried else self._still_wrong(faults)
                tried.add(faults)
                if again is not None:
                    (run, wrong), smaller = again, True
                    break
        return found_in(run, wrong)

    def _still_wrong(self, faults: Faults) -> tuple[Run, str] | None:
        if self._left <= 0:
            return None
        self._left -= 1
        run = self.scene.run(faults)
        if len(run.met) < len(faults):
            return None
        wrong = broken(run, self.invariant)
        return (run, wrong) if wrong else None


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Thousands of short-lived runs are collected in fewer turns: that is a tenth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(COLLECT_AT, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _reduced(run: Run) -> Iterator[Faults]:
    """Smaller lists: a fault less, with those behind it where they are then; simpler kinds; earlier places."""
    faults = run.faults
    for place, fault in enumerate(faults):
        for lines in range(LINES_LESS):
            yield faults[:place] + tuple(_moved(later, fault, lines) for later in faults[place + 1 :])
    for place, fault in enumerate(faults):
        for simple in simpler(run, fault):
            yield (*faults[:place], simple, *faults[place + 1 :])
    for place, fault in enumerate(faults):
        if fault.number > (0 if fault.kind in MOMENTS else 1):
            yield (*faults[:place], fault._replace(number=fault.number - 1), *faults[place + 1 :])


def _moved(fault: Fault, gone: Fault, lines: int) -> Fault:
    """Where a fault stands once one before it is gone, and with it some lines of the journal and an attempt."""
    if fault.kind in MOMENTS:
        return fault._replace(number=max(fault.number - lines, 0))
    same = (fault.name, fault.phase) == (gone.name, gone.phase)
    return fault._replace(number=fault.number - 1) if same and lines and fault.number > 1 else fault


def simplicity(fault: Fault) -> int:
    """What is easy to understand comes first."""
    return SIMPLEST[fault.kind]
