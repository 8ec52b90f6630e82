"""What an exploration has to say: how much was run, what was met, and the first run that is wrong.

Guarantees: a counterexample is told as a timeline, with the faults that repeat it.
Must not: judge.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from amends.decide.events import Phase
from amends.decide.plan import EachNode, Plan, StepNode, stem_of, walk
from amends.testing.explore_faults import Faults, spelled
from amends.testing.explore_laws import outcome_in
from amends.testing.explore_run import Run
from amends.testing.explore_scene import Scene
from amends.testing.explore_story import story_of


@dataclass(frozen=True)
class Found:
    """One run, told. wrong: what is wrong with it; empty if nothing is. outcome: how the saga ended."""

    faults: Faults
    wrong: str
    outcome: object
    timeline: tuple[str, ...]
    world: str

    def __str__(self) -> str:
        lines = [self.wrong or "nothing is wrong", "", *(f"    {line}" for line in self.timeline), ""]
        lines += [f"    outcome: {self.outcome}", f"    world:   {self.world}"]
        return "\n".join(lines)


def found_in(run: Run, wrong: str) -> Found:
    """A run as a value."""
    return Found(run.faults, wrong, outcome_in(run), tuple(story_of(run)), f"{run.world!r:.2000}")


@dataclass
class Level:
    """Lists of so many faults: how many were run, of how many; None where there are too many to be counted."""

    faults: int
    run: int = 0
    of: int | None = None


@dataclass
class Report:
    """What was explored.

    outcomes, kinds: how many runs ended so, how many met such a fault. levels: how many lists of one fault, of two, and
    so on were run, of how many. steps, compensations: those that were called; unreached: those that never were.
    unanswered: waits that nobody answers. counterexample: the first wrong run. command: a line that repeats it.
    """

    saga: str
    seed: int
    only: Faults = ()
    runs: int = 0
    seconds: float = 0.0
    levels: list[Level] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    steps: set[str] = field(default_factory=set)
    compensations: set[str] = field(default_factory=set)
    unreached: tuple[str, ...] = ()
    unanswered: tuple[str, ...] = ()
    unmet: Faults = ()
    shown: Found | None = None
    counterexample: Found | None = None
    command: str = ""

    @property
    def ok(self) -> bool:
        """Whether no run was wrong."""
        return self.counterexample is None

    @property
    def singles(self) -> int:
        """How many single faults there are. Each was run, unless something was wrong before."""
        return self._level(1).of or 0

    @property
    def pairs(self) -> int:
        """How many pairs of faults were run."""
        return self._level(2).run

    @property
    def pairs_of(self) -> int | None:
        """How many there are; None if nobody counted."""
        return self._level(2).of

    @property
    def longer(self) -> int:
        """How many longer lists were run."""
        return sum(level.run for level in self.levels if level.faults > 2)

    @property
    def exhaustive(self) -> int:
        """Of how many faults at once every list was run that there is."""
        whole = [level.faults for level in self.levels if level.run == level.of]
        return max(whole, default=0) if self.ok else 0

    def _level(self, faults: int) -> Level:
        return next((level for level in self.levels if level.faults == faults), Level(faults))

    def count(self, run: Run) -> None:
        """Take a run in."""
        self.runs += 1
        self.outcomes["open" if run.state is None or not run.at_rest else str(run.state.status)] += 1
        for fault in run.met:
            self.kinds[fault.label] += 1
        for address, phase in run.called:
            (self.compensations if phase is Phase.UNDO else self.steps).add(stem_of(address))

    def cover(self, scene: Scene) -> None:
        """Say what was never called."""
        answered = dict(scene.signals)
        self.unanswered = () if scene.acts else tuple(name for name in scene.program.signals if name not in answered)
        steps, undone = _functions(scene.plan)
        missing = [name for name in steps if name not in self.steps]
        self.unreached = (*missing, *(f"undo:{name}" for name in undone if name not in self.compensations))

    def __str__(self) -> str:
        lines = [f"{self.saga}: {self.runs:,} runs in {self.seconds:.1f} s{self._rate()}, seed {self.seed}"]
        if self.only:
            lines = [f"{self.saga}: one run, with {spelled(self.only)}"]
        else:
            lines.append(f"  faults: {self._extent()}")
            lines += [f"  {self._exhaustive()}"] if self.ok else []
        lines.append(f"  outcomes: {_counted(self.outcomes)}")
        lines.append(f"  steps: {_named(self.steps)}; compensations: {_named(self.compensations)}")
        if self.kinds:
            lines.append(f"  met: {_counted(self.kinds)}")
        if self.unreached and not self.only and self.ok:
            lines.append(f"  never called: {', '.join(self.unreached)}")
        if self.unanswered and not self.only and self.ok:
            lines.append(f"  never answered: {', '.join(self.unanswered)}; say with signals= what it gets")
        if self.unmet:
            lines.append(f"  never met: {spelled(self.unmet)}")
        shown = self.counterexample or self.shown
        if shown is not None:
            lines += ["", self._told(shown)]
        return "\n".join(lines)

    def _rate(self) -> str:
        return f" ({self.runs / self.seconds:,.0f} a second)" if self.seconds > 0 else ""

    def _extent(self) -> str:
        if self.counterexample is not None:
            return f"stopped at the first run that is wrong, number {self.runs:,}"
        parts = [f"every single one ({self.singles:,})"]
        parts += [_counted_lists(level) for level in self.levels if level.faults > 1 and (level.run or level.of)]
        return ", ".join(parts)

    def _exhaustive(self) -> str:
        """Up to where nothing was left out."""
        last = self.levels[-1] if self.levels else Level(0)
        if last.run != last.of:
            beyond = f"of longer lists seed {self.seed} drew some" if last.run else "longer lists were not run"
            return f"exhaustive up to {_at_once(self.exhaustive)}; {beyond}"
        if last.of == 0:
            return "exhaustive: there are no other lists of faults"
        return f"exhaustive up to {_at_once(self.exhaustive)}; longer lists are not made"

    def _told(self, shown: Found) -> str:
        if not shown.wrong:
            return str(shown)
        given = spelled(shown.faults) or "no fault at all"
        text = f"WRONG with {given}: {shown}"
        return text + (f"\n\n    run it again: {self.command}" if self.command else "")


def _counted_lists(level: Level) -> str:
    """How many lists of one length were run."""
    name = "pairs" if level.faults == 2 else f"lists of {level.faults}"
    if level.of is None:
        return f"{level.run:,} {name}, of more than can be counted"
    return f"all {level.run:,} {name}" if level.run == level.of else f"{level.run:,} of {level.of:,} {name}"


def _at_once(faults: int) -> str:
    return "single faults" if faults == 1 else f"{faults} faults at once"


def _functions(plan: Plan) -> tuple[list[str], list[str]]:
    """The names of all steps, and of those with a compensation."""
    nodes = [node.step if isinstance(node, EachNode) else node for node in walk(plan.root)]
    steps = [node for node in nodes if isinstance(node, StepNode)]
    return [node.address for node in steps], [node.address for node in steps if node.compensated]


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def _named(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
