"""A service that is killed with `kill -9` at the worst moments: one effect each, and a reply in the end.

Over real brokers, which deliver again what a dead process had in hand.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from participant_scene import POSTGRES_TX, Place, action, undo
from processes import Process

from amends.decide.wire import Command, Reply, Word, command_message, reply_of
from amends.message import Message
from amends.run.inbox_careful import PARKED_SECONDS
from amends.transport.base import Delivery, Send, Transport
from amends.transport.names import commands_of, replies_of
from amends.transport.open import transport_for

PATIENCE_SECONDS = 60.0
PROGRAM = str(Path(__file__).parent / "participant_process.py")


class Yard:
    """A service's database and broker, and processes of it."""

    def __init__(self, broker: str, database: str, prefix: str, stack: ExitStack) -> None:
        sign = "&" if "?" in broker else "?"
        self.broker = f"{broker}{sign}prefix={prefix}"
        self.place = Place("postgres", database, POSTGRES_TX)
        self.place.prepare()
        self._stack = stack

    def process(self, fault: str = "") -> Process:
        """A process that listens, and may be about to die."""
        environment = {"AMENDS_FAULT": fault} if fault else {}
        made = Process(PROGRAM, self.broker, self.place.url, database=Path("unused"), **environment)
        self._stack.callback(made.close)
        made.until("listening")
        return made


class Asker:
    """Whoever sends commands over the broker."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._replies: asyncio.Queue[Reply] = asyncio.Queue()

    def receive(self, deliveries: Sequence[Delivery]) -> None:
        """Replies."""
        for delivery in deliveries:
            assert delivery.message is not None
            self._replies.put_nowait(reply_of(delivery.message))
            asyncio.ensure_future(delivery.ack())  # noqa: RUF006

    async def send(self, command: Command) -> None:
        """Send a command."""
        message: Message = command_message(command, uuid.uuid4().hex, "/asker")
        assert await self._transport.publish([Send(commands_of("inventory"), message)]) == [None]

    async def reply(self) -> Reply:
        """The next reply."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._replies.get()


@asynccontextmanager
async def asking(broker: str) -> AsyncGenerator[Asker, None]:
    """Somebody who sends commands, and hears replies."""
    transport = transport_for(broker)
    await transport.open()
    try:
        await transport.prepare([commands_of("inventory"), replies_of("peer")])
        asker = Asker(transport)
        await transport.listen(replies_of("peer"), "peer", asker.receive, in_flight=100)
        yield asker
    finally:
        await transport.close()


@pytest.fixture(params=["redis", "nats"])
def yard(request: pytest.FixtureRequest, postgres_url: str, broker_prefix: str) -> Any:
    """A service over either broker."""
    soon = "claim_seconds=2"
    url = request.getfixturevalue(f"{request.param}_url")
    sign = "&" if "?" in url else "?"
    with ExitStack() as stack:
        yield Yard(f"{url}{sign}{soon}", postgres_url, broker_prefix, stack)


@pytest.mark.parametrize("fault", ["tx.before", "tx.after", "reply.after"])
def test_a_service_killed_around_its_commit_has_one_effect_and_replies_in_the_end(yard: Yard, fault: str) -> None:
    async def main() -> None:
        async with asking(yard.broker) as asker:
            dying = await asyncio.to_thread(yard.process, fault)
            await asker.send(action(sent_at=time.time()))
            assert await asyncio.to_thread(dying.wait) == -9
            await asyncio.to_thread(yard.process)

            replies = [await asker.reply()]
            if fault == "reply.after":
                replies.append(await asker.reply())
            assert {reply.word for reply in replies} == {Word.SUCCEEDED}
            assert len({reply.data for reply in replies}) == 1

            await asker.send(undo(sent_at=time.time()))
            assert (await asker.reply()).word is Word.COMPENSATED

    asyncio.run(main())
    assert yard.place.moved == [("a", 2), ("a", -2)]


def test_a_message_that_takes_its_process_down_each_time_is_bounded_and_parks_its_saga(
    yard: Yard,
) -> None:
    async def main() -> None:
        async with asking(yard.broker) as asker:
            await asker.send(action(b'{"sku":"poison"}', sent_at=time.time()))
            answered = asyncio.ensure_future(asker.reply())
            deaths = 0
            while not answered.done():
                process = await asyncio.to_thread(yard.process)
                gone = asyncio.ensure_future(asyncio.to_thread(process.wait))
                await asyncio.wait([answered, gone], return_when=asyncio.FIRST_COMPLETED)
                deaths += not answered.done()
                assert deaths < (20 if yard.broker.startswith("nats") else 10), "it is not bounded"
                process.child.kill()
                await gone

            reply = answered.result()
            assert (reply.word, reply.park) == (Word.FAILED, True)
            assert "took its process down 3 times" in reply.reason
            # The first time nobody could know; then three times with care. NATS 2.9 forgets its count now and then.
            assert deaths == 4 or (deaths > 4 and yard.broker.startswith("nats"))

            tried = await asyncio.to_thread(yard.process)
            later = time.time() + 2 * PARKED_SECONDS
            await asker.send(action(b'{"sku":"poison"}', sent_at=later, attempt=2))  # a person tries again
            assert await asyncio.to_thread(tried.wait) == -9

    asyncio.run(main())
    assert yard.place.moved == []
