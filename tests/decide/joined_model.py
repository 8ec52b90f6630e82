"""The joined model: what of it is explored, and how much of it there is.

    python tests/decide/joined_model.py            what the tests explore, with figures
    python tests/decide/joined_model.py --large    more of everything, for minutes

Workers, leases, adoption, the sequence, the mailbox, commands and replies, services, the barrier, a client and all
faults at once, every interleaving. What decides is the real core, what stands before an effect the real barrier.
`docs/internals/model.md` says what is modelled, what each guard is for, and what this does not say.
"""

from __future__ import annotations

import sys
import time
from typing import NamedTuple

from joined_model_search import Report, explore
from joined_model_system import Model
from joined_model_world import GUARDS, Scope


class Setting(NamedTuple):
    """A scope. least: worlds there must be, or the model proves nothing any more."""

    scope: Scope
    least: int

    def explored(self, guards: frozenset[str] = GUARDS) -> Report:
        """What is seen there."""
        return explore(Model(self.scope, guards))


QUIET = Scope(crashes=0, doubles=0, delays=0, cancels=False)
PIVOT = Scope("pivot", rejects="a")
SMALL = {
    "three steps, two crashes, one duplicate, one delay, a cancel": Setting(Scope(), 190_000),
    "the same, the first step the pivot": Setting(PIVOT, 21_000),
}
LARGE = {
    "three steps, three crashes, two duplicates, one delay, a cancel": Setting(Scope(crashes=3, doubles=2), 1_700_000),
    "three steps, one crash, one duplicate, two delays, a cancel": Setting(Scope(crashes=1, delays=2), 260_000),
    "any step may say no": Setting(Scope(rejects="abc"), 280_000),
    "the first step the pivot, three crashes, two duplicates, two delays": Setting(
        PIVOT._replace(crashes=3, doubles=2, delays=2), 310_000
    ),
    "nothing taken together, one crash, a cancel": Setting(
        QUIET._replace(crashes=1, cancels=True, whole=True), 225_000
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
