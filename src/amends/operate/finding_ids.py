"""The beginnings of ids that amends has given: they tell where in the list their sagas stand.

Guarantees: nothing is lost where ids of one's own are written like those of amends: those lie anywhere.
Must not: act.
"""

from __future__ import annotations

from amends.run.chance import id_text
from amends.store.finding import Finder, Wanted, just_below

GIVEN_LOOK = 50  # ids that are looked at to see who gave them


async def at_place(finder: Finder, heads: Wanted, look: int) -> Wanted:
    """What is looked for, at its place where it begins like ids that amends has given. look: heads that this may be
    seen among."""
    bounds = id_range(heads.prefix)
    if bounds is None:
        return heads
    lower, upper = bounds
    there = heads._replace(before=upper, behind=lower)  # on each page the same, wherever that begins
    rows = (await finder.search(there._replace(limit=GIVEN_LOOK), look)).rows
    behind = heads.before is not None and heads.before <= lower
    if behind or not rows or any(row.key != id_text(row.id) for row in rows):
        return heads
    return there if heads.before is None else there._replace(before=min(heads.before, upper))


def id_range(prefix: str) -> tuple[bytes, bytes] | None:
    """The internal ids between which those lie that are written with this beginning; None of what is no such text."""
    digits = prefix.replace("-", "")
    written = "-".join(filter(None, (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])))
    if not 8 <= len(digits) <= 32 or prefix.rstrip("-") != written or set(digits) - set("0123456789abcdef"):
        return None
    lower, upper = bytes.fromhex(digits.ljust(32, "0")), bytes.fromhex(digits.ljust(32, "f"))
    return just_below(lower), upper if upper == b"\xff" * 16 else (int.from_bytes(upper, "big") + 1).to_bytes(16, "big")
