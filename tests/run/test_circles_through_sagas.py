"""An event that starts a saga that tells an event: such a circle ends where one of events alone does."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest
from travels import PATIENCE_SECONDS

from amends import Participant, Retry, Saga, Service, Settings, pivot
from amends.decide.events import Started
from amends.run import hops, journal, outbox

HOPS = 4


@dataclass(frozen=True)
class Refill:
    number: int


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long."""
    monkeypatch.setattr(hops, "SWEEP_SECONDS", 0.1)
    monkeypatch.setattr(outbox, "SWEEP_SECONDS", 0.1)
    monkeypatch.setattr(outbox, "GRACE_SECONDS", 0.2)


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "where a hop has waited"])
def test_a_circle_of_events_and_sagas_ends_at_the_limit_of_hops(tmp_path: Path, waits: bool) -> None:
    shop, depot = Service("shop"), Service("depot")
    fill = depot.command("fill", Refill, compensation=False)
    filled = depot.event("filled", Refill, key=lambda event: str(event.number))
    failed: set[int] = set()

    @fill.request(retry=Retry(attempts=2, first_delay=0.01))
    def ask(refill: Refill) -> Refill:
        return refill

    refill_all = Saga("refill", pivot(ask), input=Refill)
    limit = Settings(event_hops=HOPS)
    home = Participant(shop, database=f"sqlite:///{tmp_path / 'shop.db'}", sagas=[refill_all], settings=limit)
    store = Participant(depot, database=f"sqlite:///{tmp_path / 'depot.db'}", sagas=[refill_all], settings=limit)

    @store.handles(fill)
    async def on_fill(command: Refill, tx: sqlite3.Connection) -> None:
        if waits and command.number not in failed:
            failed.add(command.number)
            raise ValueError("not yet")
        await store.publish(filled, command, within=tx)

    @home.on(filled)
    async def on_filled(event: Refill, tx: sqlite3.Connection) -> None:
        await home.start(refill_all, Refill(event.number + 1), within=tx, id=f"refill-{event.number + 1}")

    async def main() -> None:
        async with home, store, asyncio.timeout(PATIENCE_SECONDS):
            await home.session.listening()
            await store.session.listening()
            with sqlite3.connect(tmp_path / "shop.db", timeout=30) as connection:
                home.start(refill_all, Refill(0), within=connection, id="refill-0")
            connection.close()
            while not home.figures.circling:
                await asyncio.sleep(0.01)

    asyncio.run(main())
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        count = connection.execute("SELECT count(*) FROM amends_home").fetchone()[0]
    connection.close()
    assert count == HOPS + 2  # the first, and one for each event that may have none to four before it


def test_a_journal_says_how_many_events_led_to_a_saga_only_where_some_did() -> None:
    none, some = Started(b"1", None), Started(b"1", 2.5, 3)

    assert journal.encode(1.0, 0, [none]) == b'[1.0,0,[["started",1,null]]]'
    assert journal.decode(journal.encode(1.0, 0, [none, some])).events == (none, some)
