"""What `amends doctor` makes of what any store has counted.

Guarantees: the same figures are told in the same words, whatever the database.
Must not: ask a database.
"""

from __future__ import annotations

from amends.store.rows import Health

LAG_SECONDS = 60.0


def schema_health(version: int, floor: int) -> Health:
    """The schema that is there."""
    return Health("ok", "schema", f"version {version}, usable from {floor} on")


def lag_health(now: float, count: int, oldest: float | None) -> Health:
    """Sagas that are due and that nobody has. oldest: since when the first is."""
    if not count or oldest is None:
        return Health("ok", "lag", "nothing is overdue")
    late = now - oldest
    return Health(_level(late), "lag", f"{count} due that nobody has, the oldest for {late:.0f} s")


def stalled_health(count: int, reason: str | None) -> Health:
    """Sagas that no worker could run. reason: of one of them."""
    if not count:
        return Health("ok", "stalled", "every open saga has a plan that fits")
    return Health("warning", "stalled", f"{count} wait for a worker with a definition that fits; one because {reason}")


def mail_health(now: float, count: int, oldest: float | None) -> Health:
    """Mail without an answer. oldest: when the first was sent."""
    if not count or oldest is None:
        return Health("ok", "mail", "every signal, cancel and act is answered")
    late = now - oldest
    return Health(_level(late), "mail", f"{count} wait for an answer, the oldest for {late:.0f} s")


def _level(late: float) -> str:
    return "warning" if late > LAG_SECONDS else "ok"
