"""A saga with nobody in the middle: forward, back, again, and what is done only once."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from travels import Order, Town

from amends.decide.state import Status
from amends.run import homes, hops, outbox


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long."""
    monkeypatch.setattr(hops, "SWEEP_SECONDS", 0.1)
    monkeypatch.setattr(homes, "SWEEP_SECONDS", 0.1)
    monkeypatch.setattr(outbox, "SWEEP_SECONDS", 0.1)
    monkeypatch.setattr(outbox, "GRACE_SECONDS", 0.2)


def test_each_service_does_its_part_and_triggers_the_next(tmp_path: Path) -> None:
    town = Town(tmp_path)

    async def main() -> None:
        async with town.open():
            town.start(Order("o-1", 100))
            await town.until(lambda: town.stand("o-1") == "ended")

    asyncio.run(main())
    assert town.state("o-1").status is Status.COMPLETED
    assert town.done("inventory") == [("reserve", "o-1"), ("ship", "o-1")]
    assert town.done("payment") == [("charge", "o-1")]


def test_a_rejection_turns_the_baton_round(tmp_path: Path) -> None:
    town = Town(tmp_path)

    async def main() -> None:
        async with town.open():
            town.start(Order("o-1", 5000))
            await town.until(lambda: town.stand("o-1") == "ended")

    asyncio.run(main())
    assert town.state("o-1").status is Status.COMPENSATED
    assert town.done("inventory") == [("reserve", "o-1"), ("release", "o-1")]
    assert town.done("payment") == []


def test_an_attempt_that_fails_is_made_again_where_it_failed(tmp_path: Path) -> None:
    failed = Counter[str]()

    def says(what: str, order: str) -> None:
        failed[what] += 1
        if what == "charge" and failed[what] < 3:
            raise ValueError("flaky")

    town = Town(tmp_path, says)

    async def main() -> None:
        async with town.open():
            town.start(Order("o-1", 100))
            await town.until(lambda: town.stand("o-1") == "ended")

    asyncio.run(main())
    assert town.state("o-1").status is Status.COMPLETED
    assert failed["charge"] == 3
    assert town.done("payment") == [("charge", "o-1")]


def test_one_whose_attempts_are_used_up_turns_back(tmp_path: Path) -> None:
    def says(what: str, order: str) -> None:
        if what == "charge":
            raise ValueError("broken")

    town = Town(tmp_path, says)

    async def main() -> None:
        async with town.open():
            town.start(Order("o-1", 100))
            await town.until(lambda: town.stand("o-1") == "ended")

    asyncio.run(main())
    assert town.state("o-1").status is Status.COMPENSATED
    assert town.done("inventory") == [("reserve", "o-1"), ("release", "o-1")]
    assert town.done("payment") == []
