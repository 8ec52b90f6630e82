"""A connection whose other end is gone without a word, as after a silent fail-over, is found out by the kernel.

Guarantees: what is sent and not received, and an answer that nobody sends any more, end a connection of our own within
half a minute, where the system offers that.
Must not: say what becomes of who waited; that is a lost connection like any other.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

IDLE_SECONDS, BETWEEN_SECONDS, PROBES = 10, 5, 4
UNHEARD_SECONDS = IDLE_SECONDS + BETWEEN_SECONDS * PROBES
LIBPQ: dict[str, Any] = {  # the same, as a connection of psycopg is told
    "keepalives": 1,
    "keepalives_idle": IDLE_SECONDS,
    "keepalives_interval": BETWEEN_SECONDS,
    "keepalives_count": PROBES,
    "tcp_user_timeout": UNHEARD_SECONDS * 1000,
}
_OPTIONS = (
    ("TCP_KEEPIDLE", IDLE_SECONDS),
    ("TCP_KEEPINTVL", BETWEEN_SECONDS),
    ("TCP_KEEPCNT", PROBES),
    ("TCP_USER_TIMEOUT", UNHEARD_SECONDS * 1000),
)


async def watch(connection: Any) -> None:
    """Have the kernel look after a connection of asyncpg's, which offers no way to ask for it."""
    transport = getattr(connection, "_transport", None)
    made = None if transport is None else transport.get_extra_info("socket")
    if made is None or made.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with suppress(OSError):  # a system that will not is no worse than before
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _OPTIONS:
            if hasattr(socket, name):
                made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
