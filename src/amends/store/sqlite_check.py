"""What `amends doctor` looks at in a SQLite file.

Guarantees: reads only.
Must not: repair anything.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

from amends.store import sqlite_file
from amends.store.base import Health
from amends.store.doctor import LAG_SECONDS, lag_health, mail_health, schema_health, stalled_health
from amends.store.sqlite_file import SQL, schema_of

SPACE_BYTES = 100 * 1024 * 1024


def check_file(connection: sqlite3.Connection, path: Path, namespace: int, now: float) -> list[Health]:
    """Every line, good or bad."""
    return [
        _library(connection),
        _integrity(connection, path),
        schema_health(*schema_of(connection)),
        _space(path),
        lag_health(now, *connection.execute(SQL["doctor_lag"], (namespace, now)).fetchone()),
        stalled_health(*connection.execute(SQL["doctor_stalled"], (namespace,)).fetchone()),
        mail_health(now, *connection.execute(SQL["doctor_mail"], (namespace,)).fetchone()),
        _clock(connection, namespace, now),
    ]


def _library(connection: sqlite3.Connection) -> Health:
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    version = sqlite3.sqlite_version
    if sqlite_file.library_is_fixed():
        return Health("ok", "library", f"SQLite {version}, journal mode {mode}")
    if mode == "wal":
        return Health("error", "library", f"SQLite {version} can corrupt a WAL file: close all that uses it")
    detail = f"SQLite {version}, journal mode {mode}: its WAL has a defect (fixed in 3.51.3) and is not used"
    return Health("ok", "library", detail)


def _integrity(connection: sqlite3.Connection, path: Path) -> Health:
    try:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
    except sqlite3.DatabaseError as error:
        found = [str(error)]
    if found == ["ok"]:
        size = os.path.getsize(path)
        return Health("ok", "integrity", f"{path}, {size:,} bytes, every page and index is sound")
    return Health("error", "integrity", f"{path} is damaged: {'; '.join(found)}. Keep a copy and restore a backup")


def _space(path: Path) -> Health:
    free = shutil.disk_usage(path.parent).free
    level = "ok" if free >= SPACE_BYTES else "warning"
    return Health(level, "space", f"{free:,} bytes free beside the file")


def _clock(connection: sqlite3.Connection, namespace: int, now: float) -> Health:
    newest = connection.execute(SQL["doctor_clock"], (namespace,)).fetchone()[0]
    ahead = 0.0 if newest is None else newest - now
    if ahead <= LAG_SECONDS:
        return Health("ok", "clock", "nothing here comes from a later time")
    detail = f"it was set back: a saga was written {ahead:.0f} s from now. What waits since then waits that much longer"
    return Health("warning", "clock", detail)
