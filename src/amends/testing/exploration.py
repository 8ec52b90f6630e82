"""`explore`: a saga, run through every fault, until something is wrong or nothing is.

    explore(place_order, Order("book", 1, 2_900), world=Shop, invariant=conserved)

Guarantees: the same arguments give the same runs.
Must not: reach a network, a database or a thread; the world is the user's fake of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from amends.define.nodes import Signal
from amends.define.saga import Saga
from amends.errors import DefinitionError
from amends.operate.cli.quote import quoted
from amends.testing.explore_budget import BUDGET
from amends.testing.explore_faults import Faults, spelled
from amends.testing.explore_report import Report
from amends.testing.explore_scene import Scene
from amends.testing.explore_search import Limit, Progress, Search
from amends.testing.explore_services import Given

I = TypeVar("I")  # noqa: E741  # the input, as in the documented signatures
Style = Literal["orchestrated", "choreographed"]


class Counterexample(AssertionError):
    """A run in which something is wrong. `report` has it, and what was run before."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


@dataclass(frozen=True)
class Exploration:
    """A saga and all that is needed to explore it, as a value that a command line can name.

    saga, input: what is run. world: makes the fake of the outside that steps reach through their resources; a function
        or class that is called for every run, or a value that is copied. invariant: is called with the world and the
        outcome of every run; it raises, or returns False or a text, where something is wrong.
    signals: what the saga's waits get. meanwhile: functions of yours that happen beside it, at any time.
    services: who does its commands: participants, or fakes by command, `{reserve: (do, undo)}`, which are given what
        they are about and the world. style: "orchestrated" or "choreographed".
    runs, seconds: how many at most, and for how long; 2,000 runs unless this or `pytest --amends-explore` says
        otherwise. Single faults are always all run. seed: of what is drawn where there are more.
    """

    saga: Saga[Any, Any]
    input: Any
    world: object = None
    invariant: Callable[[Any, Any], Any] | None = None
    signals: Mapping[Signal[Any], Any] = field(default_factory=dict[Signal[Any], Any])
    meanwhile: Sequence[Callable[..., Any]] = ()
    services: Given | None = None
    style: Style = "orchestrated"
    runs: int | None = None
    seconds: float | None = None
    seed: int = 0

    def run(
        self,
        *,
        only: str = "",
        runs: int | None = None,
        seconds: float | None = None,
        seed: int | None = None,
        told: Progress | None = None,
    ) -> Report:
        """Explore; what is wrong is in the report. only: one run, with these faults. told: how far it is.

        Raises DefinitionError, and ValueRefused for an input that cannot be stored.
        """
        limit = _limit(Limit(runs, seconds), Limit(self.runs, self.seconds))
        scene = Scene(self.saga, self.input, self.world, self.signals, self.meanwhile, self.services, self.style)
        try:
            search = Search(scene, self.invariant, limit, self.seed if seed is None else seed, told)
            faults = scene.faults(only) or _only_of_pytest(scene)
            report = search.only(faults) if faults else search.report()
        finally:
            scene.close()
        if report.counterexample is not None:
            report.command = again(report.counterexample.faults)
        return report


def explore(
    saga: Saga[I, Any],
    input: I,
    /,
    *,
    world: object = None,
    invariant: Callable[[Any, Any], Any] | None = None,
    signals: Mapping[Signal[Any], Any] | None = None,
    meanwhile: Sequence[Callable[..., Any]] = (),
    services: Given | None = None,
    style: Style = "orchestrated",
    runs: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    only: str = "",
) -> Report:
    """Run a saga through every single fault, through pairs and more of them within a budget, and say what was met.

    The parameters are those of `Exploration`. only: one run, with these faults, such as "charge_card:times-out".

    Raises Counterexample, an AssertionError, for the first run in which something is wrong, made as small as it can be.
    """
    __tracebackhide__ = True
    made = Exploration(saga, input, world, invariant, signals or {}, meanwhile, services, style, runs, seconds, seed)
    report = made.run(only=only)
    if not report.ok:
        raise Counterexample(report)
    return report


def again(faults: Faults) -> str:
    """The line that repeats a run: of pytest's where a test made it, else of the program's."""
    test, words = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0], spelled(faults)
    if test:
        return quoted(["pytest", test, *([f"--amends-only={words}"] if words else [])])
    return f'explore(…, only="{words}")' if words else "explore(…)"


def _limit(*given: Limit) -> Limit:
    """The first that says anything, else what is in force. Raises DefinitionError."""
    limit = next((one for one in given if one != Limit()), Limit(BUDGET.runs, BUDGET.seconds))
    runs, seconds = limit
    if (runs is not None and runs < 1) or (seconds is not None and not seconds > 0):
        raise DefinitionError(f"runs={runs!r}, seconds={seconds!r}: more than nothing is expected")
    return limit


def _only_of_pytest(scene: Scene) -> Faults:
    """The faults of `pytest --amends-only`; none where they are of another exploration in that test."""
    try:
        return scene.faults(BUDGET.only)
    except DefinitionError:
        return ()
