"""The barrier: what a service, or a transactional step, does with a command that arrives.

One row per saga, step address and round holds both halves of the step. It is created or
locked first, in the handler's own transaction, and read only then; this module says what
follows from it. The idea of a barrier row inside the business transaction is DTM's; the
outcomes apart from success, the stored result and the rounds are ours.

Guarantees: at most one effect of an action, none after its compensation, whatever is
duplicated, delayed or reordered.
Must not: read or write the row, nor a clock; the shell does.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from amends.decide.events import ACTION, Phase
from amends.decide.wire import Word

HORIZON_SECONDS = 7 * 24 * 3600.0  # how long a row is kept beyond its saga's end, and a command is obeyed


class Kept(StrEnum):
    """What a row says of the action."""

    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    TOMBSTONE = "tombstone"  # the action never ran, and never will


class Entry(NamedTuple):
    """An inbox row.

    missing: a compensation came for a success that nobody here knows of. command: what the action
    was asked, encoded; its compensation is given this and `result`, never what arrives with it.
    """

    action: Kept
    compensated: bool = False
    missing: bool = False
    result: bytes | None = None
    reason: str = ""
    command: bytes | None = None


class Verdict(StrEnum):
    """What to do. All but the last end the command without calling the handler."""

    EXPIRED = "expired"  # older than what the inbox remembers: no effect
    REPLAY = "replay"  # answer as before, from the row
    FENCED = "fenced"  # an action that comes too late: no effect
    EARLIER_OPEN = "earlier open"  # an earlier round has its effect still: no effect
    VOID = "void"  # a compensation that finds nothing to undo
    MISSING = "missing"  # a compensation for an effect that should be there and is not
    RUN = "run"  # call the handler, then store the outcome


class Ruling(NamedTuple):
    """A verdict, and what to write beside it.

    entry: the row as it is to be, if it changes. tombstones: lower rounds that have no row and get a
    tombstone before the handler is called, from the highest down, so that no two commands wait for each
    other. Where somebody else has such a row in hand, that is waited for, and then all rounds are read and
    judged anew: an action of a lower round may just have been committed.
    """

    verdict: Verdict
    entry: Entry | None = None
    tombstones: tuple[int, ...] = ()


class Arrival(NamedTuple):
    """What the barrier looks at in a command.

    sent_at: an instant of the sender. closed: rounds up to it were closed by a person. known: of a
    compensation, whether the sender knows that the action succeeded.
    """

    phase: Phase
    round: int
    sent_at: float
    closed: int = 0
    known: bool = False


def expired(sent_at: float, now: float, horizon_seconds: float = HORIZON_SECONDS) -> bool:
    """Whether a command is older than what the inbox remembers. A time that is no number is."""
    return not sent_at >= now - horizon_seconds


def arrives(
    command: Arrival, rows: Mapping[int, Entry], now: float, horizon_seconds: float = HORIZON_SECONDS
) -> Ruling:
    """What to do with a command: the whole table, the first line that fits. rows: of this saga and step, by
    round, read after the command's own was created or locked; without it where it was created."""
    if expired(command.sent_at, now, horizon_seconds):
        return Ruling(Verdict.EXPIRED)
    entry = rows.get(command.round)
    if command.phase is ACTION:
        others = {round_: row for round_, row in rows.items() if round_ != command.round}
        return action_arrives(entry, others, command.round, command.closed)
    return undo_arrives(entry, succeeded=command.known)


def action_arrives(entry: Entry | None, rounds: Mapping[int, Entry], round_: int, closed_round: int = 0) -> Ruling:
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
    return Ruling(Verdict.RUN, tombstones=tuple(lower for lower in range(round_ - 1, 0, -1) if lower not in rounds))


def undo_arrives(entry: Entry | None, *, succeeded: bool) -> Ruling:
    """A compensation's command. `succeeded`: the sender knows that the action worked."""
    if entry is None or entry.action is Kept.TOMBSTONE:
        if succeeded or (entry is not None and entry.missing):
            return Ruling(Verdict.MISSING, Entry(Kept.TOMBSTONE, missing=True))
        return Ruling(Verdict.VOID, Entry(Kept.TOMBSTONE) if entry is None else None)
    if entry.action is Kept.REJECTED:
        return Ruling(Verdict.VOID)
    return Ruling(Verdict.REPLAY if entry.compensated else Verdict.RUN)


_WORDS = {
    Verdict.EXPIRED: Word.EXPIRED,
    Verdict.FENCED: Word.FENCED,
    Verdict.EARLIER_OPEN: Word.EARLIER_OPEN,
    Verdict.VOID: Word.VOID,
    Verdict.MISSING: Word.MISSING,
}


def answer(verdict: Verdict, stored: Entry | None) -> Word:
    """What the sender is told. stored: for `replay` the row as it was read; for `run` the row that the
    handler's outcome was stored in, None where it was rolled back: an action that met trouble, or a
    compensation that failed in whatever way."""
    word = _WORDS.get(verdict)
    if word is not None:
        return word
    if stored is None:
        return Word.FAILED
    if stored.compensated:
        return Word.COMPENSATED
    return Word.REJECTED if stored.action is Kept.REJECTED else Word.SUCCEEDED
