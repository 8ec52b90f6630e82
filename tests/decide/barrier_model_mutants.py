"""Wrong participants, each with one rule of the barrier taken away, for the model to find out.

A rule whose absence nobody finds out is not needed, or the model is blind.
"""

from __future__ import annotations

from collections.abc import Mapping

from barrier_model import Command, Lock, Participant

from amends.decide.barrier import Arrival, Entry, Kept, Ruling, Verdict, arrives
from amends.decide.events import ACTION, UNDO

Rows = Mapping[int, Entry]


def _row_per_phase(command: Command) -> Lock:
    """DTM's way: an action and its compensation do not wait for each other."""
    return (command.step, command.round, command.phase)


def _no_tombstone(command: Arrival, rows: Rows, now: float) -> Ruling:
    """A compensation that finds nothing leaves nothing."""
    ruling = arrives(command, rows, now)
    return Ruling(Verdict.VOID) if ruling.verdict is Verdict.VOID else ruling


def _undoes_nothing(command: Arrival, rows: Rows, now: float) -> Ruling:
    """A compensation that finds nothing is run all the same, with None."""
    ruling = arrives(command, rows, now)
    nothing = command.phase is UNDO and command.round not in rows and ruling.verdict is not Verdict.EXPIRED
    return Ruling(Verdict.RUN) if nothing else ruling


def _blind_to_higher_rounds(command: Arrival, rows: Rows, now: float) -> Ruling:
    return arrives(command, {round_: row for round_, row in rows.items() if round_ <= command.round}, now)


def _blind_to_lower_rounds(command: Arrival, rows: Rows, now: float) -> Ruling:
    """An earlier round that stands holds up nothing."""
    return arrives(command._replace(closed=command.round), rows, now)


def _deaf_to_the_operator(command: Arrival, rows: Rows, now: float) -> Ruling:
    """A round that was closed by hand holds up the next for ever."""
    return arrives(command._replace(closed=0), rows, now)


def _acts_on_what_is_old(command: Arrival, rows: Rows, now: float) -> Ruling:
    return arrives(command._replace(sent_at=now), rows, now)


def _acts_again(command: Arrival, rows: Rows, now: float) -> Ruling:
    """What was done is done again, as if it were a new command."""
    done = command.phase is ACTION and command.round in rows and rows[command.round].action is Kept.SUCCEEDED
    rows = {round_: row for round_, row in rows.items() if not (done and round_ == command.round)}
    return arrives(command, rows, now)


def _undoes_again(command: Arrival, rows: Rows, now: float) -> Ruling:
    if command.phase is UNDO:
        rows = {round_: row._replace(compensated=False) for round_, row in rows.items()}
    return arrives(command, rows, now)


def _nothing_is_missing(command: Arrival, rows: Rows, now: float) -> Ruling:
    """A success that is not there is taken for one that never was."""
    return arrives(command._replace(known=False), rows, now)


def _forgets_what_was_undone(command: Arrival, rows: Rows, now: float) -> Ruling:
    """The row of a compensated action is answered like that of one that stands."""
    if command.phase is ACTION:
        own = {round_: row._replace(compensated=False) for round_, row in rows.items() if round_ == command.round}
        rows = {**rows, **own}
    return arrives(command, rows, now)


ROW_PER_PHASE = Participant(lock=_row_per_phase)
NO_TOMBSTONE = Participant(judge=_no_tombstone)
UNDOES_NOTHING = Participant(judge=_undoes_nothing)
BLIND_TO_HIGHER_ROUNDS = Participant(judge=_blind_to_higher_rounds)
BLIND_TO_LOWER_ROUNDS = Participant(judge=_blind_to_lower_rounds)
BURIES_NOTHING = Participant(buries=False)
DEAF_TO_THE_OPERATOR = Participant(judge=_deaf_to_the_operator)
ACTS_ON_WHAT_IS_OLD = Participant(judge=_acts_on_what_is_old)
ACTS_AGAIN = Participant(judge=_acts_again)
UNDOES_AGAIN = Participant(judge=_undoes_again)
NOTHING_IS_MISSING = Participant(judge=_nothing_is_missing)
FORGETS_WHAT_WAS_UNDONE = Participant(judge=_forgets_what_was_undone)
FORGETS_REJECTIONS = Participant(keeps_rejections=False)
