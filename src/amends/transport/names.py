"""The names of destinations, and what they are called at a broker: computed here and nowhere else.

Guarantees: two destinations, two groups and two prefixes never share a name at a broker; all brokers take the names.
Must not: know a broker's own rules beyond the letters that all of them take.
"""

from __future__ import annotations

import re
import time

from amends.errors import TransportRefused
from amends.message import rfc3339
from amends.transport.base import Destination, Kind

PREFIX = "amends"
NAME_MAX = 220  # with prefix and group; brokers take 249 at least, and what adapters put behind it is short
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]+")
REASON_MAX = 1000

DEAD_REASON = "amendsdeadreason"
DEAD_FROM = "amendsdeadfrom"
DEAD_GROUP = "amendsdeadgroup"
DEAD_TIME = "amendsdeadtime"


def commands_of(service: str) -> Destination:
    """Where the commands for a service go, and the notices that sagas have ended."""
    return Destination(f"{service}.commands")


def replies_of(orchestrator: str) -> Destination:
    """Where the replies to an orchestrator go, all its workers together."""
    return Destination(f"{orchestrator}.replies")


def events_of(service: str) -> Destination:
    """Where the events of a service go."""
    return Destination(f"{service}.events", Kind.TOPIC)


def progress_of(home: str) -> Destination:
    """Where the progress of the choreographed sagas goes that a service has started: to whoever watches."""
    return Destination(f"{home}.progress", Kind.TOPIC)


def dead_of(destination: Destination) -> Destination:
    """Where the dead letters of a destination go: a queue, also where it is a topic. Its own are itself."""
    return destination if destination.name.endswith(".dead") else Destination(f"{destination.name}.dead")


def at_broker(prefix: str, destination: Destination) -> str:
    """What a destination is called at the broker. Raises TransportRefused for a name that no broker takes."""
    name = f"{prefix}.{destination.name}"
    if not _NAME.fullmatch(destination.name) or len(name) > NAME_MAX:
        raise TransportRefused(
            f"{destination.name!r:.200} is no name of a destination: letters, digits, - and _ between dots, "
            f"at most {NAME_MAX} characters with the prefix"
        )
    return name


def group_at_broker(prefix: str, source: Destination, group: str, sign: str = "@") -> str:
    """What a group's share of a destination is called at the broker: the queue itself, as a queue has one group, or
    the topic with the group behind a sign that no name of a destination has."""
    name = at_broker(prefix, source)
    if source.kind is Kind.QUEUE:
        return name
    if not _NAME.fullmatch(group) or len(name) + len(group) > NAME_MAX:
        raise TransportRefused(
            f"{group!r:.200} is no name of a group: letters, digits, - and _ between dots, "
            f"at most {NAME_MAX} characters with the topic's name and the prefix"
        )
    return f"{name}{sign}{group}"


def check_prefix(prefix: str) -> str:
    """The prefix. Raises TransportRefused for one that no broker takes."""
    if not _NAME.fullmatch(prefix) or len(prefix) > 60:
        raise TransportRefused(
            f"prefix={prefix!r:.80}: letters, digits, - and _ between dots, at most 60, are expected"
        )
    return prefix


def dead_attributes(source: Destination, group: str, reason: str) -> dict[str, str]:
    """What a dead letter says beside what the message said: why it is one, where it came from, and when."""
    told = {
        DEAD_REASON: _UNFIT.sub(" ", reason)[:REASON_MAX],
        DEAD_FROM: source.name,
        DEAD_TIME: rfc3339(time.time()),
    }
    if source.kind is Kind.TOPIC:
        told[DEAD_GROUP] = group
    return told
