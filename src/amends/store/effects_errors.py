"""What a driver's error says about a step's transaction, whichever driver it is.

Connection loss, serialization failures, deadlocks, full disks and restarts pass: nothing of the
transaction stayed, and it is tried again. Everything else that a step meets is the step's own.

Guarantees: only errors of database drivers are looked at; a ConnectionError of an HTTP client is the
step's own.
Must not: import a driver.
"""

from __future__ import annotations

from collections.abc import Iterator

from amends.errors import AmendsError, SchemaMismatch, StoreError, StoreUnavailable

DRIVERS = frozenset({"asyncpg", "psycopg", "psycopg2", "psycopg_pool", "sqlalchemy", "django", "pg8000"})
CANCELLED = "57014"
LOCK_NOT_HAD = "55P03"
FAILED_BEFORE = "25P02"  # a statement of this transaction failed, and whoever ran it went on
_PASSES = {
    "25006": "this server takes no writes: it is a standby, or read-only; point the URL at the primary",
    "40001": "another transaction came first",
    "40P01": "two transactions waited for each other",
    LOCK_NOT_HAD: "another transaction holds a row that is to be written",
    "57P01": "the server is stopping, or somebody ended the session",
    "57P02": "the server crashed and comes back",
    "57P03": "the server is starting",
    "25P03": "the transaction was idle for too long",
}
_CLASSES = {"08": "the connection was lost", "53": "it lacks disk, memory or connections"}
_NO_SAVEPOINT = {"3B001", "25P01"}
_MISSING = {"42P01", "42703", "3F000"}


class EndedItself(AmendsError):
    """A step has ended its transaction itself."""

    code = "ended-itself"


def state(error: BaseException) -> str | None:
    """The SQLSTATE of a driver's error, or of the one behind it."""
    for known in _drivers(error):
        found = getattr(known, "sqlstate", None) or getattr(known, "pgcode", None)
        if isinstance(found, str):
            return found
    return None


def passes(error: BaseException, *, lost: bool) -> bool:
    """Whether an error says nothing about the step. `lost`: the connection is gone."""
    found = state(error)
    if found is not None:
        return found in _PASSES or found[:2] in _CLASSES
    # asyncpg has read that its session was ended, and has not yet seen the connection close
    return any(lost or type(known).__name__ == "InternalClientError" for known in _drivers(error))


def definite(error: BaseException) -> bool:
    """Whether the server has answered a COMMIT with this error, and so has committed nothing."""
    found = state(error)
    return found is not None and (found == CANCELLED or found[:2] not in ("08", "57"))


def no_savepoint(error: BaseException) -> bool:
    """Whether the savepoint, and so the transaction, was not there any more."""
    return state(error) in _NO_SAVEPOINT


def translate(error: BaseException, place: str) -> StoreError:
    """What to raise for an error that one of our own statements met."""
    found = state(error)
    if found in _MISSING:
        return SchemaMismatch(f"{place}: {error}. The inbox is missing: run `amends db upgrade`")
    words = _PASSES.get(found or "") or _CLASSES.get((found or "")[:2])
    said = str(error) or type(error).__name__
    return StoreUnavailable(f"{place}: {words} ({said})" if words else f"{place}: {said}")


def _drivers(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from, as far as they are drivers'. An error of one's own that was
    raised `from` a driver's counts as that."""
    seen = 0
    next_: BaseException | None = error
    while next_ is not None and seen < 10:
        seen += 1
        if type(next_).__module__.partition(".")[0] in DRIVERS:
            yield next_
        original = getattr(next_, "orig", None)
        next_ = original if isinstance(original, BaseException) else next_.__cause__
