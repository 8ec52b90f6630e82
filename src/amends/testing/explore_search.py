"""The search: every single fault, then pairs, then longer lists; the first that is wrong, made small.

Guarantees: the same scene, budget and seed give the same runs in the same order.
Must not: stop before the single faults are through, whatever the budget.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import iscoroutinefunction
from random import Random
from time import perf_counter
from typing import NamedTuple

from amends.errors import DefinitionError
from amends.testing.explore_faults import MOMENTS, SIMPLEST, Fault, Faults
from amends.testing.explore_laws import Invariant, broken
from amends.testing.explore_points import further, simpler
from amends.testing.explore_report import Found, Level, Report, found_in
from amends.testing.explore_run import Run
from amends.testing.explore_scene import Scene
from amends.testing.explore_world import check_takes

Progress = Callable[[int, int], None]
LONGEST = 5  # faults in a list
LISTED_MAX = 50_000  # lists that are counted, and put in order, at once; beyond it they are drawn
KEPT_MAX = 20_000  # runs of which it is kept what may come behind them
DRAWS_AT_ONCE = 50  # lists that turn out to be known, before the space counts as used up
TOLD_SECONDS = 0.1
SHRINKS_MAX = 400
LINES_LESS = 4  # that a journal may have without a fault
COLLECT_AT = 50_000
ELSEWHERE = "but the same run was right before: something is kept outside of the world, or is drawn by lot"
Behind = list[tuple[Faults, list[Fault]]]


class Limit(NamedTuple):
    """When a search ends, if nothing is wrong. None: not for that reason."""

    runs: int | None = None
    seconds: float | None = None


@dataclass
class Search:
    """One exploration. limit: of its runs and its time; every single fault is run in any case. told: how far it is, now
    and then."""

    scene: Scene
    invariant: Invariant | None
    limit: Limit
    seed: int
    told: Progress | None = None
    _left: int = 0  # runs that may still be spent on making a counterexample small
    _began: float = 0.0
    _told_at: float = 0.0

    def __post_init__(self) -> None:
        """Raises DefinitionError."""
        if self.invariant is not None and (not callable(self.invariant) or iscoroutinefunction(self.invariant)):
            raise DefinitionError(
                f"invariant={self.invariant!r:.80}: a plain function of the world and the outcome is expected"
            )
        if self.invariant is not None:
            check_takes(self.invariant, "invariant=", "the world", "the outcome")

    def report(self) -> Report:
        """Run until something is wrong or the budget is spent."""
        self._began = self._told_at = perf_counter()
        report = Report(self.scene.saga.name, self.seed)
        with seldom_collected():
            self._search(report)
        report.seconds = perf_counter() - self._began
        report.cover(self.scene)
        return report

    def _search(self, report: Report) -> None:
        for run in self._all(report):
            wrong = broken(run, self.invariant)
            report.count(run)
            if wrong:
                report.counterexample = self.smallest(run, wrong)
                break
            if self.told is not None:
                self._tell(report.runs, self.told)

    def _tell(self, runs: int, told: Progress) -> None:
        """How far it is: of the runs, or of as many as the time may do for."""
        now = perf_counter()
        if now - self._told_at < TOLD_SECONDS:
            return
        self._told_at = now
        of = [] if self.limit.runs is None else [self.limit.runs]
        if self.limit.seconds is not None:
            of.append(round(runs * self.limit.seconds / (now - self._began)))
        told(runs, max(min(of, default=runs), runs))

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
        """All runs: without a fault, with one, with two of them, and so on, as far as the budget goes."""
        base = self.scene.run()
        yield base
        behind: Behind = [((), sorted(further(base), key=simplicity))]
        for length in range(1, LONGEST + 1):
            level = Level(length)
            report.levels.append(level)
            lists = self._lists(report, level, behind)
            further_on: Behind = []
            for faults in lists:
                run = self.scene.run(faults)
                yield run
                level.run += 1
                if length < LONGEST and len(further_on) < KEPT_MAX and self._goes_beyond(level, report):
                    more = further(run)
                    further_on.append((faults, sorted(more, key=simplicity) if length == 1 else more))
            if level.run != level.of:
                return
            if level.run > len(further_on):  # not all that is behind it is known
                report.levels.append(Level(length + 1))
                return
            behind = [(faults, more) for faults, more in further_on if more]

    def _goes_beyond(self, level: Level, report: Report) -> bool:
        """Whether lists may be run that are longer than those of a level."""
        most = self.limit.runs
        return level.faults == 1 or (
            level.of is not None and (most is None or report.runs + level.of - level.run < most)
        )

    def _lists(self, report: Report, level: Level, behind: Behind) -> Iterator[Faults]:
        """The lists of one length: all of them where that is within the budget, else what the seed draws."""
        if sum(len(more) for _, more in behind) > LISTED_MAX:
            yield from self._drawn(report, level, behind)
            return
        reached = [(*faults, fault) for faults, more in behind for fault in more]
        lists = list({frozenset(one): one for one in reversed(reached)}.values())[::-1]
        level.of = len(lists)
        if level.faults > 1:
            lists = self._within(lists, self.limit.runs, report.runs)
        for one in lists:
            if level.faults > 1 and self._spent(report):
                return
            yield one

    def _within(self, lists: list[Faults], most: int | None, done: int) -> list[Faults]:
        """As many as the budget has, the simplest first; where it has time only, in an order of the seed's."""
        chance = Random(self.seed)
        if most is None:
            return chance.sample(lists, len(lists))
        left = max(most - done, 0)
        if len(lists) <= left:
            return lists
        chosen = set(chance.sample(range(len(lists)), left))
        return [one for place, one in enumerate(lists) if place in chosen]

    def _drawn(self, report: Report, level: Level, behind: Behind) -> Iterator[Faults]:
        """Lists of which there are too many to be counted."""
        chance, seen, misses = Random(self.seed), set[int](), 0
        while misses < DRAWS_AT_ONCE and not self._spent(report):
            faults, more = chance.choice(behind)
            longer = (*faults, chance.choice(more))
            known = hash(frozenset(longer))
            misses = misses + 1 if known in seen else 0
            if known not in seen:
                seen.add(known)
                yield longer

    def _spent(self, report: Report) -> bool:
        runs, seconds = self.limit
        return (runs is not None and report.runs >= runs) or (
            seconds is not None and perf_counter() - self._began >= seconds
        )

    # Shrinking

    def smallest(self, run: Run, wrong: str) -> Found:
        """The run made as small as it can be: without faults that do not matter, with the simplest kinds."""
        self._left = SHRINKS_MAX
        if self._still_wrong(run.faults) is None:
            return found_in(run, f"{wrong}; {ELSEWHERE}")
        tried: set[Faults] = set()
        first, smaller = not run.faults, True
        while smaller:
            smaller = False
            for faults in _reduced(run):
                again = None if faults in tried else self._still_wrong(faults)
                tried.add(faults)
                if again is not None:
                    (run, wrong), smaller = again, True
                    break
        return found_in(run, wrong if run.faults or first else f"{wrong}; {ELSEWHERE}")

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
