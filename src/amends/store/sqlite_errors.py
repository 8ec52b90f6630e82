"""SQLite's errors, in words that say what to do.

Three kinds. What may pass (busy, a full disk, a quota, rights) is StoreUnavailable: whoever
wrote it tries again. What does not pass by itself is StoreDamaged, and ends the worker: a
damaged file, a file that was taken away, and a failed fsync, after which nobody knows what is
on the disk until the file is opened anew. Tables of somebody else's are SchemaMismatch.

Guarantees: every text names the file.
Must not: call an uncertain write done.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from amends.errors import SchemaMismatch, StoreDamaged, StoreError, StoreUnavailable

_UNSURE = {
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_DIR_FSYNC,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
    sqlite3.SQLITE_IOERR_DATA,
}
_GONE = {sqlite3.SQLITE_READONLY_DBMOVED}
_NEEDS_FILE = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def translate(error: sqlite3.Error, path: Path | str) -> StoreError:
    """What to raise instead."""
    extended = getattr(error, "sqlite_errorcode", 0) or 0
    code = extended & 0xFF
    if extended in _UNSURE:
        return StoreDamaged(
            f"the disk under {path} failed ({_name(error)}): what it holds of the last transaction is uncertain. Look "
            "at the disk, then start again; what was acknowledged is there, and the rest is settled from the file"
        )
    if extended in _GONE or (code in _NEEDS_FILE and not os.path.exists(path)):
        return moved(path)
    if code in _DAMAGED:
        return StoreDamaged(
            f"{path} is damaged or is no database ({error}). Stop everything that uses it, keep a copy, and restore a "
            f"backup, or try `sqlite3 {path} .recover`"
        )
    return _passing(error, code, path)


def moved(path: Path | str) -> StoreDamaged:
    """The file is not where it was when it was opened."""
    return StoreDamaged(
        f"{path} was deleted, moved or replaced while it was in use; what was acknowledged is in the file that was "
        "there. Put it back, or start again with the one that is there now"
    )


def _passing(error: sqlite3.Error, code: int, path: Path | str) -> StoreError:
    if code == sqlite3.SQLITE_FULL:
        return StoreUnavailable(f"the disk of {path} is full; nothing is lost, and work goes on when there is space")
    if code in _BUSY:
        return StoreUnavailable(f"{path} is locked by a transaction of another process or connection; nothing is lost")
    if code == sqlite3.SQLITE_READONLY:
        return StoreUnavailable(f"{path} is read-only: change its permissions or its mount")
    if code == sqlite3.SQLITE_CANTOPEN:
        return StoreUnavailable(f"{path} cannot be opened: check that it is a file, in a directory that can be written")
    if code == sqlite3.SQLITE_IOERR:
        return StoreUnavailable(f"{path} cannot be read or written ({_name(error)}): look at the disk and its quota")
    if "no such table" in str(error) or "no such column" in str(error):
        return SchemaMismatch(f"{path}: {error}. Its tables are not as amends left them; restore a backup")
    return StoreUnavailable(f"{path}: {error}")


def _name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", "") or str(error)
