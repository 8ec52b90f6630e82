"""The watcher over a real broker: what is told while it is away is there when it is back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from travels import PATIENCE_SECONDS, Ground, Order, Town, orders, place_order

from amends import Watcher
from amends.operate.operations import operations


@pytest.fixture(params=["nats", "redis"])
def broker(request: pytest.FixtureRequest, broker_prefix: str) -> str:
    """Two that keep topics in different ways."""
    return f"{request.getfixturevalue(f'{request.param}_url')}?prefix={broker_prefix}"


def test_what_is_told_while_the_watcher_is_away_is_kept_by_the_broker(tmp_path: Path, broker: str) -> None:
    town = Town(Ground(tmp_path), broker=broker)
    watcher = Watcher(tmp_path / "watched.db", homes=[orders], sagas=[place_order], broker=broker)

    async def run(*ids: str) -> None:
        async with town.open():
            for id_ in ids:
                town.start(Order(id_, 100))
            await town.until(lambda: all(town.stand(id_) == "ended" for id_ in ids))

    async def watch(*, at_least: int) -> dict[str, str]:
        async with watcher, operations(watcher.config) as found, asyncio.timeout(PATIENCE_SECONDS):
            await watcher.session.listening()
            while len(sagas := (await found.find(statuses=["completed"])).sagas) < at_least:
                await asyncio.sleep(0.05)
            return {line.id: line.status for line in sagas}

    asyncio.run(run("before"))  # nobody has ever listened: that is told to nobody
    assert asyncio.run(watch(at_least=0)) == {}
    asyncio.run(run("away-1", "away-2"))

    assert asyncio.run(watch(at_least=2)) == {"away-1": "completed", "away-2": "completed"}
