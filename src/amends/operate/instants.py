"""Instants of the store as times that people read.

Guarantees: never fails: what lies beyond the calendar, a sleep of a million years, is its last second.
Must not: know how a time is shown.
"""

from __future__ import annotations

from datetime import UTC, datetime

FIRST = datetime.min.replace(tzinfo=UTC).timestamp()
LAST = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()


def utc(at: float) -> datetime:
    """Seconds since 1970 as a time."""
    return datetime.fromtimestamp(min(max(at, FIRST), LAST), UTC)
