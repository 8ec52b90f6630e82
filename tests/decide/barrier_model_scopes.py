"""What of the barrier's model is explored, and how much of it there is.

    python tests/decide/barrier_model_scopes.py            what the tests explore, with figures
    python tests/decide/barrier_model_scopes.py --large    more of everything, for minutes

The tests take the same table; `AMENDS_BARRIER=large` gives them the larger one.
"""

from __future__ import annotations

import sys
import time
from typing import NamedTuple

from barrier_model import Model, Orchestrator, Participant, Report, Scope, explore
from barrier_model_core import LAST, Core, remote
from barrier_model_saga import OneStep

from amends.decide.plan import PivotNode, Place

VERBS = ("retry", "skip", "resolve", "compensate", "unpark")


class Setting(NamedTuple):
    """An orchestrator and a scope. least: worlds there must be, or the model proves nothing any more."""

    orchestrator: Orchestrator
    scope: Scope
    least: int = 0

    def explored(self, participant: Participant | None = None) -> Report:
        """What is seen there."""
        return explore(Model(self.orchestrator, self.scope, participant))


ONE, BAG = Scope(rounds=1, weeks=0), Scope(rounds=1, weeks=0, sticky=False)
ROUNDS = Scope(weeks=0, failures=False)
TWO_STEPS = Scope(steps=2, rounds=1, weeks=0, failures=False)


LOST = ONE._replace(loss="rows", failures=False)


def one(*, acts: int = 0) -> Core:
    """The real core, with one step, and a local one that may send the saga back."""
    return Core(remote("a"), LAST, acts=acts, verbs=VERBS)


def two(*verbs: str) -> Core:
    """The real core, with two steps in sequence, and one act."""
    return Core(remote("a", attempts=1), remote("b", attempts=1), acts=1, verbs=verbs)


def pivoting(*, acts: int, attempts: int = 1) -> Core:
    """The real core, with a step before one that is the pivot."""
    return Core(remote("a", attempts=attempts), remote("p", Place.PIVOT, attempts), acts=acts, verbs=VERBS)


def retriable(*, acts: int) -> Core:
    """The real core, with one step after the pivot; each round takes an act."""
    return Core(PivotNode(), remote("a", Place.AFTER, 1), acts=acts, verbs=VERBS)


SMALL: dict[str, Setting] = {
    "a step": Setting(OneStep(acts=0, rounds=1), Scope(rounds=1), 15_000),
    "rounds": Setting(OneStep(), ROUNDS, 4_500),
    "rounds, and a horizon": Setting(OneStep(attempts=1, acts=1), ROUNDS._replace(weeks=1), 4_000),
    "rounds after the pivot": Setting(OneStep(retriable=True), ROUNDS, 2_000),
    "people in haste": Setting(OneStep(attempts=1, hasty=True), ROUNDS, 5_000),
    "a network that drains": Setting(OneStep(attempts=1, acts=1), BAG._replace(rounds=2, failures=False), 4_500),
    "the inbox is lost": Setting(OneStep(acts=0, rounds=1), LOST, 1_500),
    "the database is lost": Setting(OneStep(acts=0, rounds=1), LOST._replace(loss="all"), 1_400),
    "the core, a step": Setting(one(), ONE, 5_000),
    "the core, people": Setting(one(acts=2), ONE._replace(failures=False), 9_000),
    "the core, a horizon": Setting(one(), Scope(rounds=1, failures=False), 4_500),
    "the core, two steps": Setting(two("compensate", "unpark"), TWO_STEPS, 9_000),
    "the core, a pivot": Setting(pivoting(acts=1), TWO_STEPS, 2_000),
    "the core, rounds": Setting(retriable(acts=2), Scope(rounds=3, weeks=0), 5_000),
    "the core, a network that drains": Setting(one(), BAG._replace(failures=False), 5_000),
    "the core, the inbox is lost": Setting(one(), LOST, 4_900),
}
LARGE: dict[str, Setting] = {
    "a step": Setting(OneStep(attempts=3, acts=2, rounds=1), Scope(rounds=1, weeks=2), 190_000),
    "rounds": Setting(OneStep(acts=3), Scope(failures=False), 500_000),
    "three rounds": Setting(OneStep(attempts=1, acts=4, rounds=3), Scope(rounds=3, weeks=0, failures=False), 43_000),
    "rounds after the pivot": Setting(OneStep(acts=3, retriable=True), Scope(failures=False), 260_000),
    "people in haste": Setting(OneStep(acts=3, hasty=True), Scope(failures=False), 800_000),
    "a network that drains": Setting(OneStep(acts=0, rounds=1), BAG, 15_000),
    "the inbox is lost": Setting(OneStep(attempts=1), ROUNDS._replace(loss="rows"), 98_000),
    "the database is lost": Setting(OneStep(attempts=1), ROUNDS._replace(loss="all"), 85_000),
    "the core, a step": Setting(one(acts=1), ONE, 44_000),
    "the core, two steps": Setting(two(*VERBS), TWO_STEPS._replace(weeks=1), 400_000),
    "the core, a pivot": Setting(pivoting(acts=1, attempts=2), TWO_STEPS, 14_000),
    "the core, rounds": Setting(retriable(acts=2), Scope(rounds=3, failures=False), 15_000),
    "the core, a network that drains": Setting(one(), BAG, 100_000),
    "the core, the inbox is lost": Setting(one(acts=1), ONE._replace(loss="rows"), 400_000),
}


def main() -> int:
    """Print the table; 1 if something goes wrong."""
    settings = LARGE if "--large" in sys.argv else SMALL
    wrong = 0
    for name, setting in settings.items():
        began = time.process_time()
        report = setting.explored()
        sys.stdout.write(f"{name}: {report} ({time.process_time() - began:.1f} s)\n")
        sys.stdout.flush()
        if report.path:
            wrong = 1
            sys.stdout.write("".join(f"    {line}\n" for line in report.path))
    return wrong


if __name__ == "__main__":
    sys.exit(main())
