"""What only the transport without a broker does: it meets on a loop, and what nobody takes is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from amends.errors import TransportAway
from amends.message import Message
from amends.transport import local
from amends.transport.base import Delivery, Destination, Send
from amends.transport.local import LocalTransport

QUEUE = Destination("inventory.commands")


def message(text: str) -> Message:
    """One with a body."""
    return Message(text, "t", "s", text.encode())


def test_another_loop_is_another_hub() -> None:
    async def send() -> None:
        transport = LocalTransport()
        await transport.open()
        assert await transport.publish([Send(QUEUE, message("m"))]) == [None]

    async def count() -> int | None:
        transport = LocalTransport()
        await transport.open()
        return await transport.lag(QUEUE, "")

    asyncio.run(send())

    assert asyncio.run(count()) == 0


def test_a_full_queue_holds_senders_back_and_takes_more_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "KEPT_MAX", 2)

    async def play() -> None:
        transport = LocalTransport()
        await transport.open()
        told = await transport.publish([Send(QUEUE, message(text)) for text in "abc"])
        assert [type(error) for error in told] == [type(None), type(None), TransportAway]

        came: asyncio.Queue[Delivery] = asyncio.Queue()

        def receive(deliveries: Sequence[Delivery]) -> None:
            for delivery in deliveries:
                came.put_nowait(delivery)

        await transport.listen(QUEUE, "", receive, in_flight=10)
        await (await came.get()).ack()

        assert await transport.publish([Send(QUEUE, message("d"))]) == [None]
        await transport.close()

    asyncio.run(play())


def test_a_listener_is_never_called_from_within_publish() -> None:
    async def play() -> None:
        transport = LocalTransport()
        await transport.open()
        publishing = False
        within: list[bool] = []
        done = asyncio.Event()

        def receive(_: Sequence[Delivery]) -> None:
            within.append(publishing)
            done.set()

        await transport.listen(QUEUE, "", receive, in_flight=10)
        publishing = True
        await transport.publish([Send(QUEUE, message("m"))])
        publishing = False

        await done.wait()
        assert within == [False]
        await transport.close()

    asyncio.run(play())
