"""A participant that cannot hear everything hears what it can."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from participant_scene import Peer, action

from amends import Participant, Service
from amends.decide.wire import Word
from amends.errors import TransportRefused
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
