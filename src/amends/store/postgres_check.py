"""What `amends doctor` looks at in a PostgreSQL database.

Guarantees: reads only.
Must not: repair anything.
"""

from __future__ import annotations

import time

from amends.store.base import Health
from amends.store.doctor import lag_health, mail_health, schema_health, stalled_health
from amends.store.postgres_line import Lines
from amends.store.postgres_place import Place

OLD_TRANSACTION_SECONDS = 60.0
CLOCK_SECONDS = 1.0


async def check_server(lines: Lines, place: Place, namespace: int, schema: tuple[int, int]) -> list[Health]:
    """Every line, good or bad."""
    settings = {row[0]: row[1] for row in await lines.fetch("doctor_settings")}
    version, standby, _, now = (await lines.fetch("server"))[0]
    return [
        _server(place, version, standby=standby),
        _durable(settings),
        _vacuum(settings),
        schema_health(*schema),
        _listening(place),
        lag_health(now, *(await lines.fetch("doctor_lag", namespace))[0]),
        stalled_health(*(await lines.fetch("doctor_stalled", namespace))[0]),
        mail_health(now, *(await lines.fetch("doctor_mail", namespace))[0]),
        await _transactions(lines),
        _clock(now),
    ]


def _server(place: Place, version: int, *, standby: bool) -> Health:
    number = f"PostgreSQL {version // 10000}.{version % 10000}"
    if standby:
        return Health("error", "server", f"{place}, {number}: a standby takes no writes; point the URL at the primary")
    return Health("ok", "server", f"{place}, {number}")


def _durable(settings: dict[str, str]) -> Health:
    bad = [name for name in ("synchronous_commit", "fsync", "full_page_writes") if settings.get(name) == "off"]
    if bad:
        return Health("error", "durability", f"{', '.join(bad)} = off: what is acknowledged can be lost. Turn it on")
    return Health("ok", "durability", f"synchronous_commit = {settings.get('synchronous_commit')}, fsync = on")


def _vacuum(settings: dict[str, str]) -> Health:
    if settings.get("autovacuum") == "off":
        return Health("warning", "vacuum", "autovacuum = off: the tables will bloat, and plans go wrong")
    return Health("ok", "vacuum", "autovacuum = on")


def _listening(place: Place) -> Health:
    if place.direct is None:
        return Health("ok", "hints", "no direct way around the pooler: starts from elsewhere are found by polls")
    return Health("ok", "hints", "LISTEN and NOTIFY")


async def _transactions(lines: Lines) -> Health:
    for pid, user, program, age in await lines.fetch("doctor_old_transaction"):
        if age >= OLD_TRANSACTION_SECONDS:
            text = (
                f"process {pid} ({user}{', ' * bool(program)}{program}) left one open {age:.0f} s ago, and keeps what "
                f"it wrote from all others; to end it: SELECT pg_terminate_backend({pid})"
            )
            return Health("warning", "transactions", text)
    unseen = (await lines.fetch("doctor_unseen"))[0][0]
    if unseen:
        text = f"none of this user's is left open; {unseen} sessions of others are hidden without pg_read_all_stats"
        return Health("ok", "transactions", text)
    return Health("ok", "transactions", "none is left open")


def _clock(now: float) -> Health:
    ahead = time.time() - now
    if abs(ahead) < CLOCK_SECONDS:
        return Health("ok", "clock", "this machine's and the server's agree")
    return Health("ok", "clock", f"this machine's is {ahead:+.0f} s off the server's; only the server's counts")
