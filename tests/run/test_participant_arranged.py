"""A participant that cannot hear everything hears what it can; its duties outlive what goes wrong in one pass."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from engine import virtually
from participant_scene import Peer, action

from amends import Participant, Service
from amends.decide.wire import Word
from amends.errors import TransportRefused
from amends.run.inbox_upkeep import Upkeep
from amends.run.outbox import Outbox
from amends.run.sender import Sender
from amends.transport.local import LocalTransport


@dataclass(frozen=True)
class Count:
    """A command."""

    sku: str
    many: int


@dataclass(frozen=True)
class Told:
    """An event of a service that this one may not hear."""

    number: int


@pytest.mark.parametrize("error", [TransportRefused("you may not make it"), OSError()], ids=["refused", "broken"])
def test_an_event_that_is_not_to_be_had_holds_up_no_command(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory, others = Service("inventory"), Service("others")
    count = inventory.command("reserve-stock", Count, reply=int, compensation=False)
    told = others.event("told", Told)
    app = Participant(inventory, database=f"sqlite:///{tmp_path}/a.db")

    @app.handles(count)
    async def counting(command: Count, tx: sqlite3.Connection) -> int:
        return command.many

    @app.on(told)
    async def hear(event: Told, tx: sqlite3.Connection) -> None: ...

    prepare = LocalTransport.prepare

    async def picky(self: LocalTransport, destinations: Any) -> None:
        if any(destination.name == "others.events" for destination in destinations):
            raise error
        await prepare(self, destinations)

    monkeypatch.setattr(LocalTransport, "prepare", picky)

    async def main() -> Word:
        peer = Peer()
        await peer.open()
        async with app:
            word = await peer.word(action())
        await peer.transport.close()
        return word

    assert asyncio.run(main()) is Word.SUCCEEDED


class Breaking:
    """A database that answers with what nobody expects, the first few times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.asked: list[str] = []

    async def ask(self, name: str, *_: object) -> list[tuple[int, int]]:
        self.asked.append(name)
        if len(self.asked) <= self.times:
            raise LookupError("no such column")
        return [] if name == "claim" else [(0, 0)]


def test_the_sweep_and_the_clean_up_go_on_after_whatever_goes_wrong(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> tuple[int, int, str, str]:
        sweeping: Any = Breaking(2)
        cleaning: Any = Breaking(2)
        outbox = Outbox(sweeping, Sender(LocalTransport()), "inventory")
        outbox._sender._transport.away = ""  # type: ignore[misc]
        upkeep = Upkeep(cleaning, "inventory", 60.0, 60.0)
        duties = [asyncio.create_task(outbox.run()), asyncio.create_task(upkeep.run())]
        await asyncio.sleep(600)
        for duty in duties:
            duty.cancel()
        await asyncio.wait(duties)
        return len(sweeping.asked), len(cleaning.asked), outbox.failed, upkeep.failed

    with caplog.at_level(logging.CRITICAL, "amends"):
        sweeps, cleans, unswept, uncleaned = virtually(main())
    assert sweeps > 3
    assert cleans > 3
    assert (unswept, uncleaned) == ("", "")
