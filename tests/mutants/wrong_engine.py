"""The twenty ways in which saga systems are wrong, as engines of ours with just that wrong.

Each says what is wrong, which promise that breaks, and which check of the suite catches it: a test that is there for
the rule, and knows nothing of this. They are put in place by monkeypatch, in a test or in the processes it starts.

Guarantees: `WRONG` holds all twenty once the modules `wrong_…` are imported, some more than once: on another store, in
processes.
Must not: be caught by a check that was made for that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

Put = Callable[[pytest.MonkeyPatch], None]
PROCESS = Path(__file__).parent / "process"
NAME = "AMENDS_WRONG"  # in the environment of processes: which one
CATALOGUE = (
    "no fence check",
    "id-cursor relay",
    "ack before commit",
    "compensation intent after send",
    "timeout = failed",
    "lease by local clock",
    "publish before commit",
    "inbox outside the transaction",
    "blind retry of ambiguous commit",
    "cancel overwrites completed",
    "only finished siblings undone",
    "failed undo reported as compensated",
    "non-atomic start key",
    "deferred SQLite writes",
    "timer re-queued each tick",
    "status from a stale cache",
    "version pin ignored",
    "reply accepted from any sender",
    "no back-off cap",
    "redelivery counter on the delivery id",
)


@dataclass(frozen=True)
class Wrong:
    """Something wrong, and what catches it.

    number: in the catalogue, from 1. breaks: the promises. check: a test of the suite. says: part of what that says, so
    that it is not caught by accident. needs: fixtures of servers. soak: not every day. processes: in those it starts.
    """

    number: int
    change: Put
    breaks: str
    check: str
    says: str
    needs: tuple[str, ...] = ()
    soak: bool = False
    processes: bool = False

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.number:02}-{self.change.__name__}{'-in-processes' if self.processes else ''}"

    @property
    def words(self) -> str:
        """What is wrong, in a sentence."""
        return " ".join((self.change.__doc__ or "").split())

    def put(self, patch: pytest.MonkeyPatch) -> None:
        """Have it so, here or in the processes that are started from here."""
        if not self.processes:
            self.change(patch)
            return
        patch.setenv(NAME, self.change.__name__)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(PROCESS), os.environ.get("PYTHONPATH", "")]))
        for name, module in list(sys.modules.items()):
            if name.endswith("test_postgres_processes"):
                patch.setattr(module, "CLOCK", PROCESS)  # it has its own way of having something imported


WRONG: list[Wrong] = []


def wrong(
    number: int,
    breaks: str,
    check: str,
    says: str,
    needs: tuple[str, ...] = (),
    *,
    soak: bool = False,
    processes: bool = False,
) -> Callable[[Put], Put]:
    """One more of them."""

    def keep(change: Put) -> Put:
        WRONG.append(Wrong(number, change, breaks, check, says, needs, soak, processes))
        return change

    return keep
