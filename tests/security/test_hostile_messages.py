"""F59, F66, F69: a message that nobody honest could have sent is put aside once, and stops nothing that comes after it.

`tests/fuzz` tries the decoders; here they stand in a service at work, with its database.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fuzz_mutate import spoiled
from fuzz_targets import targets
from security_scene import done
from travels import PATIENCE_SECONDS, Ground, Order, Town, place_order

from amends.decide.baton import Baton, Saga, Stand, Told, baton_message, word_message
from amends.decide.events import Phase
from amends.message import Message
from amends.testing.unreliable_strange import garbage
from amends.transport.base import Send
from amends.transport.names import commands_of
from amends.transport.open import transport_for

SAGA = Saga(bytes(16), "strange", place_order.program.plan.name, place_order.program.plan.fingerprint, "orders")
DEEP = b"[" * 2000 + b"]" * 2000
HISTORIES = {
    "nothing": b"[]",
    "rows of nothing": b"[[1.0,0,[]],[1.0,0,[]]]",
    "no events": b"[[1.0,0,[[]]]]",
    "no JSON": b"[[1.0,0,",
    "no UTF-8": b'[[1.0,0,[["started","\xff"]]]]',
    "a NUL": b'[[1.0,0,[["started","\x00"]]]]',
    "too deep": b'[[1.0,0,[["started",' + DEEP + b"]]]]",
    "fields of other types": b'[[1.0,0,[["started",null],["issued",5,"action"],["skipped",7]]]]',
    "steps of another plan": b'[[1.0,0,[["started",{"id":"x","cents":1}],["sent","nowhere","action",2.0]]]]',
    "an end": b'[[1.0,0,[["started",{"id":"x","cents":1}],["completed"]]]]',
    "a step before its time": b'[[1.0,0,[["started",{"id":"x","cents":1}],["sent","ship","action",9e9]]]]',
    "instants beyond the calendar": b'[[1e300,0,[["started",{"id":"x","cents":1}],["sent","reserve","action",-1e99]]]]',
}


def batons(history: bytes) -> list[Message]:
    """One for each step and half, of just now."""
    places = [
        ("reserve", "inventory.reserve-stock"),
        ("ship", "inventory.ship-goods"),
        ("charge", "payment.charge-card"),
    ]
    made = []
    for number, (step, type_) in enumerate(places):
        for phase in Phase:
            baton = Baton(SAGA, type_, step, phase, 1, history, time.time())
            made.append(baton_message(baton, f"b-{number}-{phase}", "/strange"))
    return made


async def _tell(messages: list[Message], to: str) -> None:
    transport = transport_for(None)
    await transport.open()
    try:
        assert await transport.publish([Send(commands_of(to), one) for one in messages]) == [None] * len(messages)
    finally:
        await transport.close()


@pytest.fixture
def town(tmp_path: Path) -> Town:
    """Three services, each with a file of its own."""
    return Town(Ground(tmp_path))


@pytest.mark.parametrize("name", HISTORIES)
def test_a_history_that_none_can_have_is_put_aside_once(
    town: Town, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    messages = batons(HISTORIES[name])
    told = [Told(SAGA, stand, "inventory", HISTORIES[name]) for stand in Stand]
    words = [word_message(one, f"w-{one.stand}", "/strange", 1.0) for one in told]

    async def main() -> None:
        async with town.open():
            await _tell(messages, "inventory")
            await _tell(words, "orders")
            inventory, orders = (town.apps[one].session for one in ("inventory", "orders"))
            await asyncio.to_thread(town.start, Order("o-1", 100))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while town.stand("o-1") != "ended":
                    await asyncio.sleep(0.05)
                while inventory.figures.refused + inventory.figures.handled < len(messages):
                    await asyncio.sleep(0.05)
            assert orders.trouble == ""

    done(main())

    assert not [record.getMessage() for record in caplog.records if record.exc_info], "nothing that nobody foresaw"


def test_what_is_spoiled_stops_no_service(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    dice = Random(20_261_126)
    seeds: list[Any] = next(target.seeds for target in targets() if target.name == "baton")
    like = batons(seeds[3])
    made = []
    for number in range(150):
        message = garbage(dice.choice(like), dice) if number % 3 == 0 else dice.choice(like)
        data = spoiled(dice.choice(seeds), dice.choice(seeds), dice)[:20_000]
        given = {name: value for name, value in message.attributes.items() if dice.random() < 0.97}
        made.append(message._replace(id=f"s-{number}", data=data, attributes=given))

    async def main() -> None:
        async with town.open():
            for to in ("inventory", "orders"):
                await _tell(made, to)
            await asyncio.to_thread(town.start, Order("o-1", 100))
            async with asyncio.timeout(2 * PATIENCE_SECONDS):
                while town.stand("o-1") != "ended":
                    await asyncio.sleep(0.05)
            assert town.apps["inventory"].session.trouble == ""

    done(main())

    assert not [record.getMessage() for record in caplog.records if record.exc_info], "nothing that nobody foresaw"
