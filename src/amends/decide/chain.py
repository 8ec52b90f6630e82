"""The chain that an event stands in: what it came of, as attributes of its message.

    placed -> reserved -> paid          one correlation; each but the first has the id of the one before as its cause

Guarantees: whatever a message leaves away has a meaning: one that says nothing begins a chain of its own.
Must not: judge how long a chain may be; whoever hears of an event has a limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from amends.decide.wire import number_in
from amends.message import Message

CORRELATION, CAUSATION, HOPS = "amendscorrelation", "amendscausation", "amendshops"
HOPS_MAX = 999_999_999
NAMES = (CORRELATION, CAUSATION, HOPS)


class Chain(NamedTuple):
    """correlation: what all events of a chain share; empty where it is the event's own id. causation: the id of the
    message that led to this one; empty of the first. hops: how many events led to it, one after the other."""

    correlation: str = ""
    causation: str = ""
    hops: int = 0

    def after(self, id_: str) -> Chain:
        """Of what the event with this id leads to."""
        return Chain(self.correlation, id_, min(self.hops + 1, HOPS_MAX))

    def attributes(self, id_: str) -> Mapping[str, str]:
        """As the event with this id says it."""
        made = {CORRELATION: self.correlation or id_}
        if self.causation:
            made[CAUSATION] = self.causation
        if self.hops:
            made[HOPS] = str(self.hops)
        return made


def chain_of(message: Message) -> Chain:
    """Where an event stands. Raises MessageRefused."""
    given = message.attributes
    correlation = given.get(CORRELATION) or message.id
    return Chain(correlation, given.get(CAUSATION, ""), number_in(given, HOPS, 0, HOPS_MAX))
