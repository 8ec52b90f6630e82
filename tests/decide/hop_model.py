"""The choreographed hop, all interleavings: what of it is explored, and how much of it there is.

    python tests/decide/hop_model.py            what the tests explore, with figures
    python tests/decide/hop_model.py --large    more of everything, for minutes

Three services that share nothing, a home, a network that loses, doubles and delays, participants that die, attempts
that fail, a client that cancels, an operator, a service that does not know the plan. What follows from a baton is the
real code's word, what stands before an effect the real barrier. `docs/internals/model.md` says more.
"""

from __future__ import annotations

import sys
import time
from typing import NamedTuple

from hop_model_system import Model
from hop_model_world import GUARDS, Scope
from joined_model_search import Report, explore


class Setting(NamedTuple):
    """A scope. least: worlds there must be, or the model proves nothing any more."""

    scope: Scope
    least: int

    def explored(self, guards: frozenset[str] = GUARDS) -> Report:
        """What is seen there."""
        return explore(Model(self.scope, guards))


FAULTS = Scope(crashes=1, doubles=1, losses=1, delays=1)
SMALL = {
    "a crash, a duplicate, a loss, a baton sent again too early": Setting(FAULTS, 2_000),
    "a crash, a duplicate, an attempt that fails or parks": Setting(Scope(crashes=1, doubles=1, troubles=1), 35_000),
    "a crash, a loss, an attempt that fails, the next due at once": Setting(
        Scope(crashes=1, losses=1, troubles=1, delay=0.0), 30_000
    ),
    "a crash, a duplicate, a cancel": Setting(Scope(crashes=1, doubles=1, cancels=True), 20_000),
    "a crash, a loss, a cancel, a plan that a service does not know": Setting(
        Scope(crashes=1, losses=1, cancels=True, unknown="b"), 40_000
    ),
}
LARGE = {
    "twice of each fault": Setting(Scope(crashes=2, doubles=2, losses=2, delays=2), 45_000),
    "an attempt that fails or parks, a cancel": Setting(Scope(troubles=1, cancels=True), 130_000),
    "all faults, an attempt that fails or parks": Setting(FAULTS._replace(troubles=1), 650_000),
    "all faults, a cancel": Setting(FAULTS._replace(cancels=True), 390_000),
    "a crash, a loss, an attempt that fails or parks, a plan that a service does not know": Setting(
        Scope(crashes=1, losses=1, troubles=1, unknown="b"), 70_000
    ),
}


def main() -> int:
    """Print the table; 1 if something goes wrong."""
    wrong = 0
    for name, setting in (LARGE if "--large" in sys.argv else SMALL).items():
        began = time.process_time()
        report = setting.explored()
        sys.stdout.write(f"{name}: {report} ({time.process_time() - began:.1f} s)\n")
        for end, count in sorted(report.ends.items()):
            sys.stdout.write(f"    {end}: {count:,}\n")
        sys.stdout.write("".join(f"    {line}\n" for line in report.path))
        sys.stdout.flush()
        wrong |= bool(report.path)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
