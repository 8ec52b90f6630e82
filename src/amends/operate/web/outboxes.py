"""How far the outboxes of those services are behind whose homes are shown.

Guarantees: all are asked at once; one whose database does not answer in time is told as such, and is waited for no
longer.
Must not: publish anything.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from amends.errors import AmendsError
from amends.operate.operations import Operations
from amends.operate.values import Lag
from amends.operate.web.desks import Desks

ASKED_SECONDS = 2.0


class Outbox(NamedTuple):
    """One service's. lag: None where its database does not answer."""

    service: str
    lag: Lag | None


async def outboxes_of(desks: Desks) -> list[Outbox]:
    """Those of all services that are shown, in the order in which those were given."""
    return await asyncio.gather(*(_outbox(desks, name) for name in desks.names if name))


async def _outbox(desks: Desks, service: str) -> Outbox:
    try:
        async with asyncio.timeout(ASKED_SECONDS):
            desk = await desks.one(service).desk()
            return Outbox(service, None if isinstance(desk, Operations) else await desk.outbox())
    except (AmendsError, TimeoutError):
        return Outbox(service, None)
