"""The transport: what every carrier of messages must do.

The words. A *destination* is where messages are sent: a *queue*, whose messages go to one of those who
listen, or a *topic*, of which every *group* of listeners gets each message, one of the group at a time.
A *delivery* is one arrival of a message; it is over when it is acked.

Guarantees that every implementation gives, and the conformance suite checks:
- `publish` says `None` of a message only after the broker has confirmed that it keeps it.
- A message that was confirmed is delivered until it is acked, again and again if need be: after a crash,
  after a lost connection, after `retry`. It may come twice, late, and in any order.
- A delivery that is not acked holds nothing up but its share of `in_flight`, however long the work takes,
  as long as the process lives and its loop runs: claims and leases of the broker are kept alive.
- A broker that is away raises nothing at listeners: they are there again when it is, and so is what they missed.
- Of one key, the first deliveries come in the order of publishing, where the broker can (Kafka, a single
  listener on a queue); nobody may rely on it.
Must not: look into a message's data, or know what its attributes mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol, runtime_checkable

from amends.message import Message


class Kind(StrEnum):
    """Of a destination."""

    QUEUE = "queue"  # each message to one listener
    TOPIC = "topic"  # each message to every group


class Destination(NamedTuple):
    """Where messages go. name: dotted lower-case parts, such as `inventory.commands`; a transport puts its
    prefix before it. kind: a queue or a topic."""

    name: str
    kind: Kind = Kind.QUEUE


class Send(NamedTuple):
    """A message on its way to a destination."""

    to: Destination
    message: Message


class Delivery(Protocol):
    """One arrival of a message."""

    message: Message | None
    """None where what came is no message of ours: see `flaw`."""
    flaw: str
    """Why it is none; empty if it is."""
    times: int
    """How often it was delivered, this time included, where the broker counts; 1 where it was never
    delivered before, 2 where that is all that is known, 0 where nobody knows."""

    async def ack(self) -> None:
        """It is done with: it does not come again. Raises nothing: an ack that is lost makes it come again."""
        ...

    async def retry(self, after_seconds: float = 0.0) -> None:
        """Have it come again, to whoever listens, about so much later. Raises nothing."""
        ...

    async def bury(self, reason: str) -> None:
        """It can never be handled: keep it aside, with the reason, in the dead letters of its destination
        (`<destination>.dead`), confirmed, and ack it. Where it cannot be kept it is retried."""
        ...


Receive = Callable[[Sequence[Delivery]], None]
"""Called on the loop with what came, at least one, as it comes; returns at once and raises nothing."""


class Listening(Protocol):
    """A listener at work."""

    async def stop(self) -> None:
        """Receive nothing more. What was delivered and is not acked may still be until the transport closes; what
        is not acked by then comes to others, or, where the broker cannot wait, before. May be called twice."""
        ...


class Transport(Protocol):
    """One connection to a carrier, in one process, on one loop.

    All methods but `open` wait out a broker that is away as their docstrings say.
    """

    @property
    def prefix(self) -> str:
        """Of every name at the broker; `amends` unless `?prefix=` says otherwise."""
        ...

    @property
    def away(self) -> str:
        """Why nothing can be published at the moment; empty if it can. Never waits."""
        ...

    async def open(self) -> None:
        """Connect. A broker that is away now is waited for in the background: only what cannot be mended by
        waiting (credentials, a URL that makes no sense, no such driver) raises TransportRefused."""
        ...

    async def close(self) -> None:
        """Stop listening, let what is on its way be confirmed for a moment, and disconnect. May be called twice."""
        ...

    async def publish(self, sends: Sequence[Send]) -> list[Exception | None]:
        """Send messages, all at once; for each None once the broker has confirmed it, else why it may not have
        come: TransportAway (nobody knows; sending again is right), or TransportRefused (it never will: too big,
        forbidden, no such destination). Gives up waiting after `publish_seconds` of the URL (10)."""
        ...

    async def listen(self, source: Destination, group: str, receive: Receive, *, in_flight: int) -> Listening:
        """Receive what comes to a destination, as one of a group, at most `in_flight` messages that are not
        acked yet. A queue has one group, whatever its name. Where the destination is missing it is made, or,
        where that is forbidden (`?create=no`, or no permission), TransportRefused names what is missing.
        A group gets what is published after it listened for the first time."""
        ...

    async def prepare(self, destinations: Sequence[Destination]) -> None:
        """See that destinations are there, or make them: what is sent to a queue before anybody listens
        is kept. Raises TransportRefused as `listen` does."""
        ...

    async def lag(self, source: Destination, group: str) -> int | None:
        """About how many messages wait for a group; None where nobody knows."""
        ...


@runtime_checkable
class Forgetful(Protocol):
    """A transport that keeps nothing beyond its process, so that its confirm is worth no more than that. Who must
    not lose a message of a topic keeps it until it was handled."""

    async def handled(self, to: Destination, id_: str) -> None:
        """Wait until every group that listened when a message was published is done with it."""
        ...
