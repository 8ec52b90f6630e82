"""The sender: the one way of a process's messages to its broker.

What is to be sent while a batch is on its way goes out with the next: no timer, and no waiting for company.
What the broker has not confirmed is sent again, with growing pauses, until it is confirmed, refused for good,
or forgotten because there is too much of it.

Guarantees: a future is told once: None when the broker has confirmed, else why it never will. Nothing is sent
by anybody who has not committed first. A destination that confirms nothing, while others do, makes nobody else wait.
Must not: know what a message is about.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from amends import fault
from amends.errors import TransportAway, TransportRefused
from amends.message import Message
from amends.transport.base import Destination, Forgetful, Send, Transport

BATCH = 500
PAUSE_FIRST_SECONDS = 0.05
PAUSE_LAST_SECONDS = 2.0
WAITING_MAX = 100_000  # of a lane; beyond it the oldest are given up: whoever sent them sends again by their own clock
_log = logging.getLogger("amends.sender")
Told = asyncio.Future[Exception | None]
Refused = Callable[[TransportRefused], object]


class _Entry(NamedTuple):
    send: Send
    told: Told | None
    refused: Refused | None = None


class _Lane:
    """Messages that go out one batch after the other."""

    def __init__(self) -> None:
        self.queue: deque[_Entry] = deque()
        self.pump: asyncio.Task[None] | None = None


class Sender:
    """One per process and broker."""

    def __init__(self, transport: Transport, *, waiting_max: int = WAITING_MAX) -> None:
        self._transport = transport
        self._waiting_max = waiting_max
        self._main = _Lane()
        self._aside: dict[Destination, _Lane] = {}  # of those that confirmed nothing, while others did
        self._closed = False
        self.sent: int = 0  # confirmed, since the beginning
        self.refused: int = 0

    @property
    def away(self) -> str:
        """Why nothing goes out at the moment; empty if it does."""
        return self._transport.away

    @property
    def forgetful(self) -> bool:
        """Whether what was confirmed is gone with this process."""
        return isinstance(self._transport, Forgetful)

    async def handled(self, to: Destination, id_: str) -> None:
        """Where it is forgetful, wait until a message was handled; elsewhere the confirm is all there is."""
        if isinstance(self._transport, Forgetful):
            await self._transport.handled(to, id_)

    @property
    def waiting(self) -> int:
        """How many messages are not on their way yet."""
        return sum(len(lane.queue) for lane in self._lanes)

    def post(self, to: Destination, message: Message, refused: Refused | None = None) -> None:
        """Send a message, and do not wait to hear what became of it. refused: is called if the broker never will
        take it."""
        self._put(_Entry(Send(to, message), None, refused))

    def send(self, to: Destination, message: Message) -> Told:
        """Send a message; the future gives None when the broker has confirmed it, else TransportRefused, or
        TransportAway where it was given up."""
        told: Told = asyncio.get_running_loop().create_future()
        self._put(_Entry(Send(to, message), told))
        return told

    async def drain(self) -> None:
        """Wait until everything that was given is confirmed or refused."""
        while pumps := self._pumps:
            await asyncio.wait(pumps)

    async def close(self) -> None:
        """Send nothing more."""
        self._closed = True
        pumps = self._pumps
        for pump in pumps:
            pump.cancel()
        if pumps:
            await asyncio.wait(pumps)
        for lane in self._lanes:
            _give_up(lane, len(lane.queue))

    @property
    def _lanes(self) -> list[_Lane]:
        return [self._main, *self._aside.values()]

    @property
    def _pumps(self) -> list[asyncio.Task[None]]:
        return [lane.pump for lane in self._lanes if lane.pump is not None]

    def _put(self, entry: _Entry) -> None:
        lane = self._aside.get(entry.send.to, self._main)
        lane.queue.append(entry)
        too_many = len(lane.queue) - (0 if self._closed else self._waiting_max)
        if too_many > 0:
            _give_up(lane, too_many)
        self._start(lane)

    def _start(self, lane: _Lane) -> None:
        if lane.pump is None and not self._closed:
            lane.pump = asyncio.get_running_loop().create_task(self._run(lane), name="amends-sender")

    async def _run(self, lane: _Lane) -> None:
        batch: list[_Entry] = []
        pause = PAUSE_FIRST_SECONDS
        try:
            while lane.queue:
                batch = self._next(lane)
                if not batch:
                    break
                fault.point("send.before")
                told = await self._publish([entry.send for entry in batch])
                fault.point("send.after")
                left, size = self._settle(batch, told), len(batch)
                batch = []
                if len(left) < size:
                    pause = PAUSE_FIRST_SECONDS
                    self._set_aside(lane, left)
                else:
                    lane.queue.extend(left)  # behind the others, who may be luckier
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, PAUSE_LAST_SECONDS)
        finally:
            lane.queue.extendleft(reversed(batch))
            lane.pump = None
            if lane is not self._main and not lane.queue:
                self._aside = {to: one for to, one in self._aside.items() if one is not lane}

    def _next(self, lane: _Lane) -> list[_Entry]:
        """What goes out together. What was put beside others for a destination that confirms nothing goes aside too."""
        batch: list[_Entry] = []
        while lane.queue and len(batch) < BATCH:
            entry = lane.queue.popleft()
            own = self._aside.get(entry.send.to, lane) if lane is self._main else lane
            if own is lane:
                batch.append(entry)
            else:
                own.queue.append(entry)
                self._start(own)
        return batch

    def _set_aside(self, lane: _Lane, left: list[_Entry]) -> None:
        """The broker is there, and these destinations have confirmed nothing: they no longer go with the others."""
        for entry in left:
            own = lane if lane is not self._main else self._aside.setdefault(entry.send.to, _Lane())
            own.queue.append(entry)
            self._start(own)

    async def _publish(self, sends: list[Send]) -> list[Exception | None]:
        try:
            return await self._transport.publish(sends)
        except Exception as error:  # noqa: BLE001  # a transport is not to raise here; nothing may be lost if it does
            _log.exception("messages could not be published: this is a bug in the transport")
            return [TransportAway(f"{type(error).__name__}: {error}")] * len(sends)

    def _settle(self, batch: list[_Entry], told: list[Exception | None]) -> list[_Entry]:
        """Say what became of each; gives those to be sent again."""
        left: list[_Entry] = []
        for entry, error in zip(batch, told, strict=True):
            if error is None:
                self.sent += 1
                _tell(entry, None)
            elif isinstance(error, TransportRefused):
                self.refused += 1
                _log.error("a message to %s is refused: %s", entry.send.to.name, error)
                _tell(entry, error)
                if entry.refused is not None:
                    entry.refused(error)
            else:
                left.append(entry)
        return left


def _give_up(lane: _Lane, count: int) -> None:
    """Forget the oldest."""
    for _ in range(count):
        _tell(lane.queue.popleft(), TransportAway("there was too much to send, or the process was leaving"))


def _tell(entry: _Entry, error: Exception | None) -> None:
    if entry.told is not None and not entry.told.done():
        entry.told.set_result(error)
