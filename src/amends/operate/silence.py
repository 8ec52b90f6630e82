"""Silence, in words: which service has not reacted to a choreographed saga, and since when.

Guarantees: a service is named only where the plan says that it is its turn.
Must not: judge whether a saga is silent; `run/crew.py` does.
"""

from __future__ import annotations

from amends.decide.choreography import NO_REPLY_SECONDS
from amends.decide.events import Phase
from amends.decide.plan import Plan
from amends.decide.watching import Holder, holder
from amends.operate.instants import utc
from amends.run import journal
from amends.run.session import state_of
from amends.store.base import Loaded


def silence(plan: Plan, loaded: Loaded) -> str:
    """Who did not react to a saga."""
    held = holder(plan, state_of(loaded))
    since = _instant(journal.decode(loaded.rows[-1]).at)
    if held is None:
        return f"nothing was heard of it since {since}"
    half = held.address if held.phase is Phase.ACTION else f"the undo of {held.address}"
    if not held.service:
        return f"whoever does {half} did not react: it is their turn since {since}, and the watcher has no such plan"
    return f"{held.service} did not react: {_turn(held, half, since)}"


def _turn(held: Holder, half: str, since: str) -> str:
    if held.again is not None:
        return f"{half} ({held.command}) was to be tried again at {_instant(held.again)}"
    return f"{half} ({held.command}) is its turn since {since}"


def awaited(due: float | None) -> float | None:
    """Until when something is waited for; None where that is no time that anybody waits."""
    return None if due is None or due >= NO_REPLY_SECONDS else due


def _instant(at: float) -> str:
    return utc(at).strftime("%Y-%m-%d %H:%M:%S UTC")
