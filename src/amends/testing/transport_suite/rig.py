"""What the rules of the suite are played with: a broker, transports to it, and inboxes that wait for what comes.

Guarantees: everything that a rule opened is closed; every rule has a prefix of its own, so that nothing of another
reaches it, on whatever broker they share.
Must not: know any particular broker.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import quote

import pytest

from amends.message import Message
from amends.testing.transport_suite.line import Line, ProxyLine
from amends.transport.base import Delivery, Destination, Kind, Listening, Send, Transport
from amends.transport.open import transport_for

WAIT_SECONDS = 60.0  # for what must come; only a broken transport, or a broken broker, waits that long
QUIET_SECONDS = 0.3  # for what must not come, where nothing can be sent behind it that must
INSTANT = 1_700_000_000.123456

Garbage = Callable[[str, Destination], Awaitable[None]]
"""Puts something that is no message of ours into a queue; it is given the prefix."""


@dataclass(frozen=True)
class Broker:
    """What the suite has to know of a broker and of the transport to it.

    url: of the broker, with an option or without. connect: the transport of a URL, not open yet.
    survives: messages outlive the processes; else all of it lives in one. counts: `times` is 2 or more when a message
    comes again; else it may be 0. ordered: one listener gets a key's messages in order at first.
    creates: destinations can be made and missing. claim: options of the URL that make a claim of the broker as short
    as possible, and claim_seconds how long it then lasts; 0 where claims last as long as connections.
    message_bytes: more is refused; given to the URL where the transport bounds it.
    garbage: how something foreign gets into a queue; None where nothing can. wrong_login: the URL with a password that
    is wrong, `wrong-secret`; None where there are none. line: gives a line to the broker that can be cut; by default a
    TCP proxy before the first host and port of the URL. settled_seconds: how old a destination must be to outlive a
    broker that is killed.
    """

    url: str
    connect: Callable[[str], Transport] = transport_for
    survives: bool = True
    counts: bool = True
    ordered: bool = True
    creates: bool = True
    claim: Mapping[str, str] = field(default_factory=dict)
    claim_seconds: float = 0.0
    message_bytes: int = 1_100_000
    bounds_messages: bool = True
    garbage: Garbage | None = None
    wrong_login: str | None = None
    line: Callable[[], Line] | None = None
    settled_seconds: float = 0.0

    def url_with(self, options: Mapping[str, str], url: str = "") -> str:
        """The URL with options."""
        base = url or self.url
        told = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
        return f"{base}{'&' if '?' in base else '?'}{told}" if told else base


class Restartable(Protocol):
    """A broker that a rule may kill and start again. It keeps its address and its data."""

    @property
    def url(self) -> str:
        """Where it is."""
        ...

    def start(self) -> None:
        """Start it; it takes connections when this returns."""
        ...

    def stop(self) -> None:
        """Stop it in its own good time."""
        ...

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        ...

    def pause(self) -> None:
        """Let it do nothing any more, while its connections stay open."""
        ...

    def resume(self) -> None:
        """Let it go on."""
        ...


class Inbox:
    """Keeps what a listener received."""

    def __init__(self) -> None:
        self.all: list[Delivery] = []
        self.listening: Listening
        self._taken = 0
        self._came = asyncio.Event()

    def receive(self, deliveries: Sequence[Delivery]) -> None:
        """What the transport calls."""
        assert deliveries, "a listener is called with nothing"
        self.all.extend(deliveries)
        self._came.set()

    @property
    def new(self) -> list[Delivery]:
        """What came and was not taken yet."""
        return self.all[self._taken :]

    async def until(self, number: int) -> None:
        """Wait until so many are there that were not taken."""
        async with asyncio.timeout(WAIT_SECONDS):
            while len(self.new) < number:
                self._came.clear()
                await self._came.wait()

    async def next(self) -> Delivery:
        """The next one."""
        return (await self.some(1))[0]

    async def some(self, number: int) -> list[Delivery]:
        """The next ones; no more than may be in flight."""
        await self.until(number)
        found = self.new[:number]
        self._taken += number
        return found

    async def these(self, *texts: str) -> list[Delivery]:
        """The next ones, which are these, in whatever order they come."""
        found = {text_of(delivery): delivery for delivery in await self.some(len(texts))}
        return [found[text] for text in texts]

    async def acked(self, number: int) -> list[Delivery]:
        """The next ones, each acked as it comes."""
        return [await self._acked() for _ in range(number)]

    async def _acked(self) -> Delivery:
        delivery = await self.next()
        await delivery.ack()
        return delivery

    async def acked_until(self, text: str) -> list[str]:
        """Ack what comes until this comes; the texts of all that came, this one too."""
        texts: list[str] = []
        while text not in texts:
            texts.append(text_of((await self.acked(1))[0]))
        return texts

    async def all_of(self, texts: Sequence[str]) -> list[str]:
        """Ack what comes until all of these came; what came, in order."""
        left, came = set(texts), []
        while left:
            came.append(text_of((await self.acked(1))[0]))
            left.discard(came[-1])
        return came


class Rig:
    """One rule's share of a broker."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.prefix: str = f"suite-{secrets.token_hex(6)}"
        self.queue: Destination = Destination("inventory.commands")
        self.topic: Destination = Destination("inventory.events", Kind.TOPIC)
        self._names = count(1)
        self._open: list[Transport] = []
        self._lines: list[Line] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(transport.close() for transport in self._open))
        for line in self._lines:
            await line.close()

    def needs(self, has: object, why: str) -> None:
        """Skip what a broker cannot have."""
        if not has:
            pytest.skip(why)

    def closed(self, *, url: str = "", **options: str) -> Transport:
        """A transport that is not open yet."""
        chosen = {"prefix": self.prefix, **self.broker.claim, **options}
        made = self.broker.connect(self.broker.url_with(chosen, url))
        self._open.append(made)
        return made

    async def transport(self, *, url: str = "", **options: str) -> Transport:
        """A transport to the broker, open."""
        made = self.closed(url=url, **options)
        await made.open()
        return made

    async def line(self) -> Line:
        """A line to the broker that can be cut."""
        self.needs(self.broker.survives, "nothing lies between those who share a process")
        line = self.broker.line() if self.broker.line else ProxyLine(self.broker.url)
        self._lines.append(line)
        await line.open()
        return line

    async def listen(
        self, transport: Transport, source: Destination | None = None, group: str = "billing", *, in_flight: int = 100
    ) -> Inbox:
        """Listen to a destination, by default the queue."""
        inbox = Inbox()
        inbox.listening = await transport.listen(source or self.queue, group, inbox.receive, in_flight=in_flight)
        return inbox

    def message(self, text: str | None = None, **fields: Any) -> Message:
        """A message. text: its body; by default one that no other has."""
        number = next(self._names)
        body = f"message {number}" if text is None else text
        told: dict[str, Any] = {"data": body.encode(), "time": INSTANT, **fields}
        return Message(f"{self.prefix}-{number}", "suite.told", "suite", **told)

    async def send(self, transport: Transport, *texts: str, to: Destination | None = None) -> None:
        """Publish messages; all of them must be confirmed. One that may not have come is sent again."""
        await self.sent(transport, [self.message(text) for text in texts], to)

    async def sent(self, transport: Transport, messages: Sequence[Message], to: Destination | None = None) -> None:
        """The same with messages that are made already."""
        told = await transport.publish([Send(to or self.queue, message) for message in messages])
        assert told == [None] * len(messages), [error for error in told if error is not None][:3]


def text_of(delivery: Delivery) -> str:
    """The body of what came."""
    assert delivery.message is not None, delivery.flaw
    return delivery.message.data.decode()


def texts_of(deliveries: Sequence[Delivery]) -> list[str]:
    """The bodies of what came."""
    return [text_of(delivery) for delivery in deliveries]


async def eventually(condition: Callable[[], bool], pause_seconds: float = 0.02) -> None:
    """Wait for a condition; a test fails where it does not come true."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():
            await asyncio.sleep(pause_seconds)


def rule(play: Callable[[Any, Rig], Awaitable[None]]) -> Callable[[Any, Broker], None]:
    """A rule as a test: on a loop of its own, with a rig."""

    def test(self: object, broker: Broker) -> None:
        async def run() -> None:
            async with Rig(broker) as rig:
                await play(self, rig)

        asyncio.run(run())

    test.__name__ = play.__name__
    test.__qualname__ = play.__qualname__
    test.__doc__ = play.__doc__
    test.__module__ = play.__module__
    return test
