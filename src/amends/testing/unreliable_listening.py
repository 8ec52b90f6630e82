"""The receiving side of an unreliable network: deliveries that come twice, late, in another order, or again.

Guarantees: what is passed on is what came; a listener that was stopped is given nothing more.
Must not: draw lots; it is told.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from amends.message import Message
from amends.testing.unreliable_held import Shuffled
from amends.transport.base import Delivery, Listening, Receive

AGAIN_SECONDS = 0.02  # after a lost ack


class UnreliableDelivery:
    """One arrival, as its receiver sees it. loses_ack: asked at an ack; None of a second copy, which is nobody's to
    end."""

    def __init__(self, real: Delivery, loses_ack: Callable[[], bool] | None) -> None:
        self.message: Message | None = real.message
        self.flaw: str = real.flaw
        self.times: int = real.times
        self._real = real
        self._loses_ack = loses_ack

    async def ack(self) -> None:
        if self._loses_ack is None:
            return
        if self._loses_ack():
            await self._real.retry(AGAIN_SECONDS)
        else:
            await self._real.ack()

    async def retry(self, after_seconds: float = 0.0) -> None:
        if self._loses_ack is not None:
            await self._real.retry(after_seconds)

    async def bury(self, reason: str) -> None:
        if self._loses_ack is not None:
            await self._real.bury(reason)


class UnreliableListening:
    """One listener at work."""

    def __init__(self, dice: Random, receive: Receive) -> None:
        self.receive: Receive = receive
        self.buffer: Shuffled[Delivery] = Shuffled(dice, receive)
        self.open: bool = True
        self.real: Listening | None = None

    async def stop(self) -> None:
        self.open = False
        self.buffer.drop()
        if self.real is not None:
            await self.real.stop()
