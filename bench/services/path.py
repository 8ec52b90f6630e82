"""The engine's side of remote steps alone: `python -m bench.services.path`, microseconds a saga, store and services
apart.

The order saga of three services, on a store that keeps nothing and over the transport within the process, where
services that do nothing answer in the next turn of the loop. What is left is what amends costs the orchestrator: the
core, the codec, commands as messages, replies and their tokens, acks.

Guarantees: each figure is the best of many short rounds of processor time, by turns with plain Python, as in
`bench.profile_path`; what the answering costs is measured by itself and told.
Must not: judge.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from collections.abc import Sequence

from amends import Orchestrator
from amends.decide.wire import Reply, Word, command_of, reply_message
from amends.message import Message
from amends.transport.base import Delivery, Destination, Send
from amends.transport.local import LocalTransport
from amends.transport.names import commands_of
from bench.measure import run_many
from bench.order import ORDER
from bench.profile_path import NullStore, _plain
from bench.services.bare import PARTS, _encode
from bench.services.shop import SAGAS

SAGA = SAGAS[len(PARTS)]


class Echo:
    """All three services. seen: the last command."""

    def __init__(self) -> None:
        self.transport = LocalTransport()
        self.seen: Message | None = None
        self._answers = {part.step: _encode(part.answer) for part in PARTS}

    async def open(self) -> None:
        """Listen."""
        await self.transport.open()
        for part in PARTS:
            await self.transport.listen(commands_of(part.service), part.service, self._receive, in_flight=10_000)

    def answer(self, message: Message) -> Send:
        """The reply to a command."""
        _, namespace, saga, key, step, phase, *_ = asked = command_of(message)
        reply = Reply(namespace, saga, key, step, phase, Word.SUCCEEDED, asked.token, self._answers[step])
        made = reply_message(reply, asked.type, f"r-{message.id}", "/bench", asked.sent_at, {})
        return Send(Destination(asked.reply_to), made)

    def _receive(self, deliveries: Sequence[Delivery]) -> None:
        sends = []
        for delivery in deliveries:
            message = delivery.message
            if message is not None and message.attributes.get("amendskind") == "action":
                self.seen = message
                sends.append(self.answer(message))
        asyncio.ensure_future(self._send(deliveries, sends))  # noqa: RUF006

    async def _send(self, deliveries: Sequence[Delivery], sends: Sequence[Send]) -> None:
        await self.transport.publish(sends)
        for delivery in deliveries:
            await delivery.ack()


async def measure(in_flight: int, sagas: int, rounds: int) -> dict[str, float]:
    """Microseconds: of a saga, of answering its commands, of plain Python."""
    best = dict.fromkeys(("saga", "answers", "plain"), float("inf"))
    async with Orchestrator(NullStore(), sagas=[SAGA]) as orchestrator:
        echo = Echo()
        await echo.open()
        await orchestrator.run(SAGA, ORDER)
        command = echo.seen
        assert command is not None
        for _ in range(rounds):
            gc.collect()
            since = time.process_time()
            await run_many(lambda: orchestrator.run(SAGA, ORDER), in_flight, sagas)
            best["saga"] = min(best["saga"], (time.process_time() - since) / sagas * 1e6)
            since = time.process_time()
            for _ in range(sagas * len(PARTS)):
                echo.answer(command)
            best["answers"] = min(best["answers"], (time.process_time() - since) / sagas * 1e6)
            best["plain"] = min(best["plain"], _plain())
        await echo.transport.close()
    return best


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--in-flight", type=int, default=100)
    parser.add_argument("--sagas", type=int, default=500, help="sagas in a round")
    parser.add_argument("--rounds", type=int, default=20, help="rounds, of which the best counts")
    given = parser.parse_args()
    best = asyncio.run(measure(given.in_flight, given.sagas, given.rounds))
    print(f"Python {sys.version.split()[0]}, {given.in_flight} in flight, microseconds of processor time each")
    print(f"{'plain Python: a call, a tuple, a small copy':<60}{best['plain']:>10.2f}")
    print(f"{'a saga of three remote steps, answers included':<60}{best['saga']:>10.2f}")
    print(f"{'of it, making the three answers':<60}{best['answers']:>10.2f}")


if __name__ == "__main__":
    main()
