"""The barrier: what a service, or a transactional step, does with a command that arrives.

One row per saga, step address and round holds both halves of the step. It is created or
locked first, in the handler's own transaction, and read only then; this module says what
follows from it. The idea of a barrier row inside the business transaction is DTM's; the
outcomes apart from success, the stored result and the rounds are ours.

Guarantees: at most one effect of an action, none after its compensation, whatever is
duplicated, delayed or reordered.
Must not: read or write the row; the shell does.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Kept(StrEnum):
    """What a row says of the action."""

    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    TOMBSTONE = "tombstone"  # the action never ran, and never will


class Entry(NamedTuple):
    """An inbox row. `missing`: a compensation came for a success that nobody here knows of."""

    action: Kept
    compensated: bool = False
    missing: bool = False
    result: bytes | None = None
    reason: str = ""


class Verdict(StrEnum):
    """What to do. The first four end the command without calling the handler."""

    REPLAY = "replay"  # answer as before, from the row
    FENCED = "fenced"  # an action that comes too late: no effect
    EARLIER_OPEN = "earlier open"  # an earlier round has its effect still: no effect
    VOID = "void"  # a compensation that finds nothing to undo
    MISSING = "missing"  # a compensation for an effect that should be there and is not
    RUN = "run"  # call the handler, then store the outcome


class Ruling(NamedTuple):
    """A verdict, and the row to write beside it, if it changes."""

    verdict: Verdict
    entry: Entry | None = None


def action_arrives(entry: Entry | None, rounds: dict[int, Entry], round_: int, closed_round: int = 0) -> Ruling:
    """An action's command. `rounds`: the rows of this step's other rounds; `closed_round`:
    rounds up to it were closed by a person."""
    if any(other > round_ for other in rounds):
        return Ruling(Verdict.FENCED)
    if entry is not None:
        if entry.action is Kept.TOMBSTONE or entry.compensated:
            return Ruling(Verdict.FENCED)
        return Ruling(Verdict.REPLAY)
    for other, kept in rounds.items():
        if closed_round < other < round_ and kept.action is Kept.SUCCEEDED and not kept.compensated:
            return Ruling(Verdict.EARLIER_OPEN)
    return Ruling(Verdict.RUN)


def undo_arrives(entry: Entry | None, *, succeeded: bool) -> Ruling:
    """A compensation's command. `succeeded`: the sender knows that the action worked."""
    if entry is None or entry.action is Kept.TOMBSTONE:
        if succeeded or (entry is not None and entry.missing):
            return Ruling(Verdict.MISSING, Entry(Kept.TOMBSTONE, missing=True))
        return Ruling(Verdict.VOID, Entry(Kept.TOMBSTONE) if entry is None else None)
    if entry.action is Kept.REJECTED:
        return Ruling(Verdict.VOID)
    return Ruling(Verdict.REPLAY if entry.compensated else Verdict.RUN)
