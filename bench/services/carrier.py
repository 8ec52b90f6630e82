"""What the bare contender needs of a broker, and the client libraries that give it.

Each is used as its documentation advises for many messages at once: confirms are awaited together, acks are sent
together, nothing polls where the broker can push or keep a question.

Guarantees: published means confirmed by the broker, in the same durable queues that amends uses.
Must not: use anything of amends; survive a broker that goes away.
"""

from __future__ import annotations

import asyncio
import os
import traceback
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from importlib import import_module
from typing import Any, NamedTuple, Protocol


class Letter(NamedTuple):
    """On its way. id: of the saga that it is about."""

    queue: str
    id: bytes
    body: bytes


class Got(NamedTuple):
    """What came, and what the client calls it."""

    id: bytes
    body: bytes
    handle: Any


Receive = Callable[[Sequence[Got]], None]


class Carrier(Protocol):
    """One connection to a broker, in one process."""

    async def open(self, queues: Sequence[str]) -> None:
        """Connect, and see that the queues are there."""
        ...

    async def publish(self, letters: Sequence[Letter]) -> None:
        """Send; back when all of it is confirmed."""
        ...

    async def consume(self, queue: str, receive: Receive) -> None:
        """Hand over what comes, from now on. One queue for each carrier."""
        ...

    async def ack(self, got: Sequence[Got]) -> None:
        """These are done with."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...


def carrier_for(url: str, prefix: str) -> Carrier:
    """The client of a broker's URL. prefix: of the names of its queues."""
    kind = {"amqp": "rabbitmq"}.get(scheme := url.partition("://")[0], scheme)
    made: Carrier = (
        Local(prefix) if kind == "local" else import_module(f"bench.services.carrier_{kind}").Bare(url, prefix)
    )
    return made


def unending(job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """What goes on until it is cancelled. An error ends the process: there is no recovery, and nobody would know."""

    async def run() -> None:
        try:
            await job
        except Exception:  # noqa: BLE001  # whatever it is, the measurement is worth nothing
            traceback.print_exc()
            os._exit(1)

    return asyncio.get_running_loop().create_task(run())


_receivers: dict[str, Receive] = {}
_waiting: dict[str, list[Got]] = defaultdict(list)


class Local:
    """No broker: a list for each queue, in one process."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    async def open(self, queues: Sequence[str]) -> None:
        """There is nothing to connect to."""

    async def publish(self, letters: Sequence[Letter]) -> None:
        """Hand over in the next turn of the loop, all that came in this one together."""
        loop = asyncio.get_running_loop()
        for queue, id_, body in letters:
            came = _waiting[self._prefix + queue]
            if not came:
                loop.call_soon(_hand_over, self._prefix + queue)
            came.append(Got(id_, body, None))

    async def consume(self, queue: str, receive: Receive) -> None:
        """Be handed what comes."""
        _receivers[self._prefix + queue] = receive

    async def ack(self, got: Sequence[Got]) -> None:
        """Nobody asks."""

    async def close(self) -> None:
        """There is nothing to let go of."""


def _hand_over(queue: str) -> None:
    _receivers[queue](_waiting.pop(queue))
