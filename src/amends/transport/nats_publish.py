"""Publishing to JetStream: all messages of a batch at once, each confirmed by the stream that keeps it.

Guarantees: a message that is refused is refused by itself; a missing stream is made, where that is allowed, and what
was sent to it is sent again. A dead letter is confirmed, or reported as not kept.
Must not: send a message again whose fate is unknown: that is for whoever asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from amends.errors import TransportAway, TransportError, TransportRefused
from amends.message import headers
from amends.transport.base import Destination, Send
from amends.transport.door import unfit
from amends.transport.names import at_broker, dead_attributes, dead_of
from amends.transport.nats_client import header_block
from amends.transport.nats_link import NOBODY, Link, Question
from amends.transport.nats_places import Places, confirmed

if TYPE_CHECKING:
    from amends.transport.nats_delivery import NatsDelivery

MESSAGE_ID = "Nats-Msg-Id"
_DEAD_BYTES = 4096  # of what the server takes, kept free for what a dead letter says beside its message
_SHORT_REASON = 100


class Publisher:
    """Of one transport."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._options = link.options
        self._places = Places(link)

    async def publish(self, sends: Sequence[Send]) -> list[Exception | None]:
        """Send messages; for each None once it is confirmed."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._options.publish_seconds
        if await self._link.ready(self._options.publish_seconds) is None:
            return [TransportAway(self._link.away)] * len(sends)
        told: list[Exception | None] = [None] * len(sends)
        questions: dict[int, Question] = {}
        for index, send in enumerate(sends):
            made = self._question(send)
            if isinstance(made, Question):
                questions[index] = made
            else:
                told[index] = made
        for again in (True, False):
            homeless = await self._ask(questions, told, end - loop.time())
            if not homeless:
                break
            places = await self._homes({sends[index].to for index in homeless}, again)
            for index in homeless:
                told[index] = places[sends[index].to]
            questions = {index: questions[index] for index in homeless if told[index] is None}
            if not questions:
                break
        return told

    async def bury(self, delivery: NatsDelivery, source: Destination, group: str, reason: str) -> bool:
        """Keep what came with the dead letters; whether that is confirmed."""
        grave = dead_of(source)
        why = dead_attributes(source, group, reason)
        made = self._dead(delivery, grave, why)
        if isinstance(made, TransportError):
            made = self._dead(delivery, grave, dead_attributes(source, group, ascii(reason)[:_SHORT_REASON]))
        if isinstance(made, TransportError):
            return False
        told: list[Exception | None] = [None]
        for again in (True, False):
            if not await self._ask({0: made}, told, self._options.publish_seconds):
                return told[0] is None
            if (await self._homes({grave}, again))[grave] is not None:
                return False
        return False

    async def _ask(self, questions: dict[int, Question], told: list[Exception | None], seconds: float) -> list[int]:
        """Send; notes why each is not confirmed, and gives those whose stream is missing."""
        answers = await self._link.ask(list(questions.values()), max(seconds, 0.0))
        homeless: list[int] = []
        for index, answer in zip(questions, answers, strict=True):
            if answer is None:
                why = self._link.away or f"no confirm within {self._options.publish_seconds:g} s"
                told[index] = TransportAway(why)
            elif answer.status == NOBODY:
                homeless.append(index)
            else:
                told[index] = confirmed(answer)
        return homeless

    async def _homes(self, places: set[Destination], again: bool) -> dict[Destination, Exception | None]:
        """Why each of these destinations cannot be had; None for those that are there now."""
        found: dict[Destination, Exception | None] = {}
        for place in places:
            try:
                await self._places.stream(place)
                found[place] = None if again else TransportAway(f"nobody takes what is sent to {place.name}")
            except TransportError as error:
                found[place] = error
        return found

    def _question(self, send: Send) -> Question | TransportError:
        """A message as it is sent; why it cannot be."""
        message = send.message
        error = unfit(message, self._options.message_bytes)
        if error is not None:
            return error
        try:
            subject = at_broker(self._options.prefix, send.to)
        except TransportRefused as refused:
            return refused
        told = headers(message)
        told[MESSAGE_ID] = told["ce-id"]
        return self._sized(Question(subject, message.data, header_block(told)), _DEAD_BYTES)

    def _dead(self, delivery: NatsDelivery, grave: Destination, why: dict[str, str]) -> Question | TransportError:
        """What came as a dead letter: with its own headers where it is no message of ours."""
        message = delivery.message
        if message is None:
            told = {**delivery.headers, **{f"amends-{name.removeprefix('amends')}": text for name, text in why.items()}}
            told = {
                name: _plain(text) for name, text in told.items() if name.isascii() and not name.startswith("Nats-")
            }
        else:
            told = headers(message._replace(attributes={**message.attributes, **why}))
            told[MESSAGE_ID] = told["ce-id"]
        subject = at_broker(self._options.prefix, grave)
        return self._sized(Question(subject, delivery.data, header_block(told)), 0)

    def _sized(self, question: Question, kept_free: int) -> Question | TransportError:
        client = self._link.client
        most = client.max_payload if client is not None else 0
        size = len(question.headers) + len(question.data)
        if client is not None and size > most - kept_free:
            return TransportRefused(
                f"it has {size} bytes with its headers; the server takes {most}, of which {kept_free} are kept free "
                "for what a dead letter says beside (max_payload of the server)"
            )
        return question


def _plain(text: str) -> str:
    """A foreign header's value, so that it is one again."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)
