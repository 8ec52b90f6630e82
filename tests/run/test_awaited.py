"""Who waits at home for a choreographed saga to end: told by the word, and not by everybody else's."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from travels import Ground, Order, Town, place_order

from amends import Completed
from amends.errors import NotRunning
from amends.run import awaited

MANY = 20


@pytest.fixture
def town(tmp_path: Path) -> Town:
    """On SQLite."""
    return Town(Ground(tmp_path))


def test_many_who_wait_look_at_the_database_once_each(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awaited, "LOOK_SECONDS", 3600.0)
    asked: Counter[str] = Counter()

    async def main() -> list[Any]:
        async with town.open():
            orders = town.apps["orders"]
            real = orders.session.homes._transactions.ask

            async def ask(name: str, *values: object) -> Any:
                asked[name] += 1
                return await real(name, *values)

            orders.session.homes._transactions.ask = ask  # type: ignore[method-assign]
            keys = [f"o-{number}" for number in range(MANY)]
            for key in keys:
                town.start(Order(key, 100))
            async with asyncio.TaskGroup() as group:
                waiting = [group.create_task(orders.outcome(place_order, key, timeout=30.0)) for key in keys]
            return [task.result() for task in waiting]

    outcomes = asyncio.run(main())
    assert all(isinstance(outcome, Completed) for outcome in outcomes)
    assert asked["home_at"] == MANY
    assert asked["home_settled"] == 0


def test_who_waits_hears_of_what_another_process_was_told(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awaited.Awaited, "hear", _deaf(awaited.Awaited.hear))

    async def main() -> Any:
        async with town.open():
            town.start(Order("o-1", 100))
            return await town.apps["orders"].outcome(place_order, "o-1", timeout=30.0)

    assert isinstance(asyncio.run(main()), Completed)


def test_who_still_waits_when_the_participant_leaves_is_told_so(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awaited, "LOOK_SECONDS", 3600.0)

    async def main() -> None:
        async with town.open():
            homes = town.apps["orders"].session.homes
            with homes._awaited.waiting("o-1") as told:
                await homes.close()
                await told

    with pytest.raises(NotRunning, match="orders has left"):
        asyncio.run(main())


def _deaf(hear: Any) -> Any:
    """The word itself is heard by another process; only the common look tells."""

    def instead(self: awaited.Awaited, key: str, settled: awaited.Settled) -> None:
        task = asyncio.current_task()
        if task is not None and task.get_name() == "amends-awaited":
            hear(self, key, settled)

    return instead
