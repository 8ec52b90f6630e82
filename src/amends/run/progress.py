"""Telling whoever watches choreographed sagas what has happened to them.

What goes on, and what the home is told, says it all: so that goes to the watchers too, when it leaves the outbox.

Guarantees: nothing is told that is not committed; where nobody can be told, no saga suffers.
Must not: be needed by any saga.
"""

from __future__ import annotations

import asyncio
import logging
import time

from amends.decide.baton import Progress, progress_beside, progress_message
from amends.errors import TransportRefused
from amends.message import Message
from amends.run.journey import Journey
from amends.run.outbox_rows import source_of
from amends.run.sender import Sender
from amends.transport.names import progress_of

REFUSED_SECONDS = 60.0  # so long a home's watchers are not told after the broker refused it
CONFIRM_SECONDS = 5.0  # so long a row stays in the outbox for the sake of who watches
_log = logging.getLogger("amends.progress")
Told = asyncio.Future[Exception | None]


class Teller:
    """Of one participant. on: whether anybody wants to be told."""

    def __init__(self, sender: Sender, service: str, *, on: bool) -> None:
        self._sender = sender
        self._service = service
        self._on = on
        self._refused: dict[str, float] = {}  # until when, by home

    def beside(self, message: Message) -> Told | None:
        """A message leaves the outbox: tell what it says, if it says anything. The future is done when that is
        confirmed, or refused."""
        progress = progress_beside(message, self._service) if self._on else None
        return None if progress is None else self._send(progress)

    def waits(self, journey: Journey, id_: str) -> None:
        """A saga stays here, for another attempt: that is committed, and nothing goes out."""
        if self._on:
            progress = Progress(journey.saga, self._service, journey.history)
            self._send(progress_message(progress, id_, source_of(self._service), time.time()))

    async def confirmed(self, told: Told | None) -> None:
        """Wait until it is told, for a while."""
        if told is not None and not told.done():
            await asyncio.wait([told], timeout=CONFIRM_SECONDS)

    def _send(self, message: Message) -> Told | None:
        home, now = message.attributes["amendshome"], asyncio.get_running_loop().time()
        if self._refused.get(home, 0.0) > now:
            return None
        told = self._sender.send(progress_of(home), message)
        told.add_done_callback(lambda told: self._done(home, told))
        return told

    def _done(self, home: str, told: Told) -> None:
        if told.cancelled() or not isinstance(told.result(), TransportRefused):
            return
        loop = asyncio.get_running_loop()
        if home not in self._refused:
            _log.warning("whoever watches the sagas of %s cannot be told of them: %s", home, told.result())
        self._refused[home] = loop.time() + REFUSED_SECONDS
