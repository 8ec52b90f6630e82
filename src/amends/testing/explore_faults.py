"""Faults as words: what goes wrong in a run, and where.

    charge_card:times-out                   the first attempt of a step
    charge_card#2:fails                     its second attempt
    undo:reserve_stock:crash-after-effect   an attempt of its compensation
    cancel@3                                behind line 3 of the journal
    approval:lost                           a signal

Guarantees: a fault is a value; what is written is read back as the same one.
Must not: make anything happen; the run does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from amends.decide.events import Phase
from amends.errors import DefinitionError


class Kind(StrEnum):
    """What goes wrong, the simplest first."""

    REJECTS = "rejects"  # a definite no, and no effect
    FAILS = "fails"  # an error before anything happened; the next attempt works
    DOWN = "down"  # an error before anything happened, every time
    TIMES_OUT = "times-out"  # it happens, and no answer comes; the next attempt works
    LOST = "lost"  # it happens, no answer comes, and from then on every attempt fails
    CRASH_BEFORE = "crash-before-effect"  # the worker dies before it happens
    CRASH_AFTER = "crash-after-effect"  # it happens, and the worker dies before that is written
    SLOW = "slow"  # it happens, and its answer is heard after all that its siblings do
    COMMAND_LOST = "command-lost"  # a command never arrives
    COMMAND_TWICE = "command-twice"  # it arrives twice
    COMMAND_LATE = "command-late"  # it arrives after it was sent again
    COMMAND_LAST = "command-last"  # it arrives when all else is over
    REPLY_LOST = "reply-lost"
    REPLY_TWICE = "reply-twice"
    REPLY_LATE = "reply-late"  # after the command was sent again
    SWAPPED = "swapped"  # siblings are called in the other order
    CANCEL = "cancel"  # somebody cancels
    DEADLINE = "deadline"  # the saga's deadline comes
    ACT = "act"  # one of the user's own `meanwhile`
    SIGNAL_LOST = "signal-lost"
    SIGNAL_EARLY = "signal-early"  # before the saga waits for it
    SIGNAL_TWICE = "signal-twice"
    SIGNAL_LATE = "signal-late"  # after the wait is over


MOMENTS = frozenset({Kind.CANCEL, Kind.DEADLINE, Kind.ACT, Kind.SWAPPED})
SIGNALS = frozenset({Kind.SIGNAL_LOST, Kind.SIGNAL_EARLY, Kind.SIGNAL_TWICE, Kind.SIGNAL_LATE})
ATTEMPTS = frozenset(Kind) - MOMENTS - SIGNALS
TRAVELLING = frozenset(kind for kind in Kind if kind.startswith(("command-", "reply-")))
SIMPLEST = {kind: place for place, kind in enumerate(Kind)}
_ATTEMPT = re.compile(r"(?:(undo):)?([^:#@\s]+)(?:#(\d+))?:([a-z-]+)")
_MOMENT = re.compile(r"([^:#@\s]+)@(\d+)")


class Fault(NamedTuple):
    """One thing that goes wrong. name: a step's address, a signal or an act. number: of the attempt, from 1, or of the
    line in the journal."""

    kind: Kind
    name: str = ""
    phase: Phase = Phase.ACTION
    number: int = 1

    def __str__(self) -> str:
        if self.kind in MOMENTS:
            return f"{self.name or self.kind}@{self.number}"
        undo = "undo:" if self.phase is Phase.UNDO else ""
        again = f"#{self.number}" if self.number > 1 else ""
        return f"{undo}{self.name}{again}:{self.kind.removeprefix('signal-') if self.kind in SIGNALS else self.kind}"

    @property
    def label(self) -> str:
        """What goes wrong, wherever it is."""
        return self.name if self.kind is Kind.ACT else str(self.kind)


Faults = tuple[Fault, ...]


def spelled(faults: Iterable[Fault]) -> str:
    """Faults as one string, as `only=` takes them."""
    return ", ".join(map(str, faults))


def read(text: str, signals: Iterable[str] = (), acts: Iterable[str] = ()) -> Faults:
    """Faults as they are written, with commas between them. Raises DefinitionError."""
    return tuple(_one(word.strip(), signals, acts) for word in text.split(",") if word.strip())


def _one(word: str, signals: Iterable[str], acts: Iterable[str]) -> Fault:
    moment = _MOMENT.fullmatch(word)
    if moment is not None:
        name, number = moment[1], int(moment[2])
        if name in (Kind.CANCEL, Kind.DEADLINE, Kind.SWAPPED):
            return Fault(Kind(name), number=number)
        if name in acts:
            return Fault(Kind.ACT, name, number=number)
        known = ", ".join(["cancel", "deadline", "swapped", *acts])
        raise DefinitionError(f"the fault {word!r}: what happens behind a line of the journal is one of {known}")
    attempt = _ATTEMPT.fullmatch(word)
    if attempt is None:
        raise DefinitionError(
            f"the fault {word!r}: such as charge_card:times-out, undo:charge_card#2:fails or cancel@3"
        )
    undo, name, again, kind = attempt.groups()
    wanted = f"signal-{kind}" if name in signals and not undo else kind
    fitting = [known for known in Kind if known in (SIGNALS if wanted != kind else ATTEMPTS)]
    if wanted not in fitting:
        known = ", ".join(known.removeprefix("signal-") for known in fitting)
        raise DefinitionError(f"the fault {word!r}: {kind!r} is none of {known}")
    return Fault(Kind(wanted), name, Phase.UNDO if undo else Phase.ACTION, int(again or 1))
