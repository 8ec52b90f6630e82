"""The exit codes, in one table. The docs print it.

Guarantees: a code means one thing, in every verb, and never changes.
Must not: be decided anywhere else.
"""

from __future__ import annotations

from enum import IntEnum

from amends import errors


class Exit(IntEnum):
    """What a command ends with."""

    OK = 0
    BUG = 1
    USAGE = 2
    COMPENSATED = 3
    PARKED = 4
    REFUSED = 5
    NOT_FOUND = 6
    STORE = 7
    WORKER_RUNNING = 8
    NOT_ANSWERED = 9
    TROUBLE = 10
    ERRORS = 11
    INTERRUPTED = 130
    BROKEN_PIPE = 141


MEANING: dict[Exit, str] = {
    Exit.OK: "done; of a saga that was waited for: `completed`",
    Exit.BUG: "something unexpected, most likely a bug in amends; `--debug` shows where",
    Exit.USAGE: "the command, the saga's definition or a value is written wrongly; nothing was done",
    Exit.COMPENSATED: "the saga that was waited for is `compensated`",
    Exit.PARKED: "the saga that was waited for is `parked`",
    Exit.REFUSED: "refused or too late: the saga, as it stands, does not allow that",
    Exit.NOT_FOUND: "there is no saga or bulk operation with this id, or no definition with this name",
    Exit.STORE: "the database or the broker cannot be reached; or the database is damaged, or its schema does not fit",
    Exit.WORKER_RUNNING: "another worker holds this database",
    Exit.NOT_ANSWERED: "nothing came in time; what was asked or started is kept and goes on",
    Exit.TROUBLE: "`stuck --exit-code`, `contracts --check` or `explore` found something; "
    "`doctor`: a warning is the worst",
    Exit.ERRORS: "`doctor`: an error is the worst",
    Exit.INTERRUPTED: "interrupted from the keyboard; a saga that was started goes on",
    Exit.BROKEN_PIPE: "whoever read the output has gone",
}

_CODES: tuple[tuple[type[errors.AmendsError], Exit], ...] = (
    (errors.DefinitionError, Exit.USAGE),
    (errors.ValueRefused, Exit.USAGE),
    (errors.LimitExceeded, Exit.USAGE),
    (errors.UnknownSaga, Exit.NOT_FOUND),
    (errors.UnknownBulk, Exit.NOT_FOUND),
    (errors.IdConflict, Exit.REFUSED),
    (errors.TooLate, Exit.REFUSED),
    (errors.Refused, Exit.REFUSED),
    (errors.NotAnswered, Exit.NOT_ANSWERED),
    (errors.WorkerRunning, Exit.WORKER_RUNNING),
    (errors.StoreError, Exit.STORE),
    (errors.MessageRefused, Exit.USAGE),
    (errors.TransportError, Exit.STORE),
    (errors.SagaCompensated, Exit.COMPENSATED),
    (errors.SagaParked, Exit.PARKED),
)


def exit_of(error: errors.AmendsError) -> Exit:
    """The code that an error ends a command with."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.BUG)


def exit_of_status(status: str) -> Exit:
    """The code that waiting for a saga ends with."""
    codes = {"completed": Exit.OK, "compensated": Exit.COMPENSATED, "parked": Exit.PARKED}
    return codes.get(status, Exit.NOT_ANSWERED)
