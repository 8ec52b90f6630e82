"""PostgreSQL's errors, in words that say what to do.

What may pass (a lost connection, a failover, a deadlock, a serialization failure, a full disk) is
StoreUnavailable: whoever wrote it tries again, and finds what was written after all. What no
repetition mends is SchemaMismatch or StoreDamaged.

Guarantees: every text names the database, and none its password.
Must not: call an uncertain write done, or undone.
"""

from __future__ import annotations

import asyncpg

from amends.errors import SchemaMismatch, StoreDamaged, StoreError, StoreUnavailable

LOCK_TIMEOUT = "55P03"
LOST = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, EOFError, TimeoutError)
FAILED = (asyncpg.PostgresError, *LOST)
_WORDS = {
    LOCK_TIMEOUT: "another transaction holds a row that is to be written; it is tried again",
    "28P01": "the password is not right; check the database's URL",
    "28000": "the server lets this user in from nowhere here; check the URL and pg_hba.conf",
    "3D000": "there is no such database; create it, or check the URL",
    "42501": "this user may not do that; grant it the rights to the schema `amends` (see Operating, PostgreSQL)",
    "53100": "its disk is full; nothing is lost, and work goes on when there is space",
    "53300": "it has no connection left; make its pool larger, or those of its clients smaller",
    "25006": "this server takes no writes: it is a standby, or read-only; point the URL at the primary",
}
_SIGNS = {  # of what has no code of its own
    "unsupported startup parameter": "a pooler such as PgBouncer stands between: add ?pooling=transaction to the URL",
    "unrecognized configuration parameter": "the server does not know an option of the URL; check what is behind the ?",
}
ELSEWHERE = {"25006", "57P01", "57P02", "57P03"}  # this server is not, or no longer, the one to talk to
_MISSING = {"42P01", "42703", "3F000", "42883"}
_DAMAGED = {"XX001", "XX002"}
_REFUSED = {"22", "23", "54"}  # classes: what is no such value, what breaks a constraint, what is too large


class LockNotHad(StoreUnavailable):
    """A lock was not to be had in time: nothing was written."""


class ValuesRefused(StoreUnavailable):
    """The server does not take what was to be written: nothing was. Who commits for many finds out whose it is;
    to all others it is as any other trouble of the store's."""


def translate(error: BaseException, place: str) -> StoreError:
    """What to raise instead."""
    state = getattr(error, "sqlstate", None)
    if state == LOCK_TIMEOUT:
        return LockNotHad(f"{place}: {_WORDS[state]}")
    if state in _MISSING:
        return SchemaMismatch(
            f"{place}: {error}. The tables of amends are missing or older than this code: run `amends db upgrade`"
        )
    if state is not None and state[:2] in _REFUSED:
        return ValuesRefused(f"{place} refuses what is to be written: {error}")
    if state in _DAMAGED:
        return StoreDamaged(f"{place} is damaged: {error}. Stop what uses it, and restore a backup")
    words = _WORDS.get(state or "") or next((said for sign, said in _SIGNS.items() if sign in str(error)), None)
    if words is not None:
        return StoreUnavailable(f"{place}: {words} ({error})")
    if isinstance(error, TimeoutError):
        return StoreUnavailable(f"{place} did not answer in time")
    return StoreUnavailable(f"{place}: {str(error) or type(error).__name__}")
