"""An attempt that is due at once, and a message to it that would be lost: found by the hop's model."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from travelpost import Post, is_baton
from travels import Ground, Order, Town, ground_of, hurry, place_order

from amends import Completed, Retry
from amends.run import homes


@pytest.fixture(params=["sqlite", "postgres"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    """Either database."""
    return ground_of(request, tmp_path)


def test_an_attempt_that_is_due_at_once_waits_where_it_is_and_needs_no_baton_that_can_be_lost(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    monkeypatch.setattr(homes, "patience", lambda plan: 3.0)
    tries: Counter[str] = Counter()

    def says(what: str, order: str) -> None:
        tries[what] += 1
        if what == "charge" and tries[what] == 1:
            raise Retry.after(0)

    post, town = Post(monkeypatch), Town(ground, says)

    post.loses = lambda send: is_baton(send.message, "charge") and tries["charge"] == 1

    async def main() -> Any:
        async with town.open():
            town.start(Order("o-1", 100))
            return await town.apps["orders"].outcome(place_order, "o-1", timeout=20.0)

    assert asyncio.run(main()) == Completed("parcel of r-o-1")
    assert tries["charge"] == 2
