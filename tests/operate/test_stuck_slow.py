"""What a worker has and nothing happens with is among the stuck, once it takes much longer than it may."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from shop_floor import Floor

from amends import Orchestrator, Saga, sleep, step
from amends.operate.operations import Operations
from amends.operate.values import StuckPage, Trouble

ORDERS = "--database=sqlite:///orders.db"


@dataclass(frozen=True)
class Order:
    sku: str


def test_a_saga_with_which_nothing_happens_is_slow_and_one_that_sleeps_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def looked_at(later: float) -> StuckPage:
        begun, go_on = asyncio.Event(), asyncio.Event()

        @step(readonly=True, timeout=50)
        async def look(order: Order) -> None:
            begun.set()
            await go_on.wait()

        busy, patient = Saga("busy", look, input=Order), Saga("patient", sleep(100_000), input=Order)
        orchestrator = Orchestrator(f"sqlite:///{tmp_path}/{later}.db", sagas=[busy, patient])
        async with orchestrator:
            await orchestrator.start(busy, Order("tea"), id="busy-1")
            await orchestrator.start(patient, Order("tea"), id="patient-1")
            await begun.wait()
            with monkeypatch.context() as patch:
                patch.setattr(orchestrator.session.store, "now", lambda: time.time() + later)
                page = await Operations(orchestrator.session).stuck(troubles=[Trouble.SLOW])
            go_on.set()
        return page

    # 50 s for the attempt and as long to return: three times that is late.
    soon, late = asyncio.run(looked_at(280.0)), asyncio.run(looked_at(320.0))

    assert soon.lines == ()
    (line,) = late.lines
    assert (line.saga.id, line.trouble) == ("busy-1", Trouble.SLOW)
    assert "nothing has happened for 32" in line.why


def test_what_has_just_become_so_is_left_out_where_only_what_is_older_is_wanted(floor: Floor) -> None:
    floor.park("order-1")

    assert floor.amends("stuck", ORDERS, "--longer-than=1h", "--exit-code").code == 0
    assert floor.ok("stuck", ORDERS, "--longer-than=0s", "--json").data["sagas"][0]["id"] == "order-1"
    assert floor.amends("stuck", ORDERS, "--longer-than=1").code == 2
