"""Who reaches whom without a broker: nobody but those in the same process.

Guarantees: what is told of is what cannot be answered as the parts of a process are built; parts that have a broker
are not judged, since who is there is for the broker to know.
Must not: open anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from amends.run.config import Config
from amends.run.participant import Participant
from amends.transport.local import LocalTransport
from amends.transport.open import Broker, transport_for

REMEDY = "give it the others' broker= (is its variable set here?)"


class Asker(NamedTuple):
    """An orchestrator, by the name that it has for people."""

    name: str
    config: Config

    @property
    def asked(self) -> list[str]:
        """The services that do steps of its sagas."""
        plans = (saga.plan for saga in self.config.registry.by_fingerprint.values())
        return sorted({service for plan in plans for service in plan.services})


class Asked(NamedTuple):
    """A participant, likewise."""

    name: str
    participant: Participant


def hub_of(broker: Broker) -> str | None:
    """Where those meet who have no broker; None for those who have one."""
    transport = transport_for(broker)
    return transport.prefix if isinstance(transport, LocalTransport) else None


def out_of_reach(askers: Sequence[Asker], asked: Sequence[Asked]) -> list[str]:
    """What to say of the parts of one process that nobody answers, or nobody asks."""
    found = [_unanswered(one, asked) for one in askers]
    found += [_unasked(one, askers, asked) for one in asked]
    return [text for text in found if text]


def alone(config: Config) -> str:
    """What to say of an orchestrator whose steps are done by services and that has no broker; empty of others."""
    services = Asker("", config).asked
    if not services or hub_of(config.broker) is None:
        return ""
    return (
        f"{_list(services)} {_are(services)} asked without a broker: participants in the very process of the worker "
        "are reached, and no others"
    )


def _unanswered(one: Asker, asked: Sequence[Asked]) -> str:
    hub = hub_of(one.config.broker)
    if hub is None:
        return ""
    here = {other.participant.service.name for other in asked if hub_of(other.participant.broker) == hub}
    absent = [name for name in one.asked if name not in here]
    if not absent:
        return ""
    them = "it" if len(absent) == 1 else "them"
    return (
        f"{one.name} asks {_list(absent)}, and nobody will answer: it has no broker, so only participants of this "
        f"process are reached, and none here is of {them}. Name {them} to this worker too, or {REMEDY}"
    )


def _unasked(one: Asked, askers: Sequence[Asker], asked: Sequence[Asked]) -> str:
    participant = one.participant
    hub, service = hub_of(participant.broker), participant.service
    if hub is None:
        return ""
    near = [other.participant for other in asked if hub_of(other.participant.broker) == hub]
    asks = {name for other in askers if hub_of(other.config.broker) == hub for name in other.asked}
    asks |= {name for other in near for name in other.asks}
    told = {other.service.name for other in near}
    missed = sorted(participant.hears - told)
    if service.commands and service.name not in asks:
        what = (
            f"is not asked by anybody for what {service.name} does: it has no broker, so only orchestrators of this "
            "process reach it, and none here asks it"
        )
    elif missed:
        names = _list(missed)
        what = f"hears no event of {names}: it has no broker, and {names} {_are(missed)} not in this process"
    else:
        return ""
    return f"{one.name} {what}. Name the others to this worker too, or {REMEDY}"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
