"""The stored definitions of a place.

Guarantees: those that the place has, whether or not any code that knows them runs.
Must not: register any.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import NamedTuple

from amends.operate.operations import Operations
from amends.operate.web.desks import Desk


class PlanLine(NamedTuple):
    """A stored definition. version: what its author calls this form of it, or empty."""

    name: str
    version: str
    fingerprint: str


async def plans_of(desk: Desk) -> tuple[PlanLine, ...]:
    """All of a place, by name; of one name the newest last. Raises StoreError."""
    if not isinstance(desk, Operations):
        return tuple(PlanLine(plan.name, plan.version, plan.fingerprint) for plan in desk.plans())
    await desk.session.plans.refresh(desk.session.store)
    rows = sorted(desk.session.plans.rows.values(), key=lambda row: (row.name, row.id))
    return tuple(PlanLine(row.name, _version_in(row.body), row.fingerprint) for row in rows)


@lru_cache(1000)
def _version_in(body: str) -> str:
    """The version that a stored plan says; empty where it cannot be read, which the doctor tells of."""
    try:
        found = json.loads(body)
    except ValueError:
        return ""
    return str(found.get("version") or "") if isinstance(found, dict) else ""
