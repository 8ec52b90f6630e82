"""How all sagas fare: what is open, what ended, how fast, what went wrong, how late the timers are, and who works."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from test_finding import Order, asks, at_work, orders, payments, play, some

from amends import Orchestrator
from amends.operate import as_json, health, overview
from amends.operate.operations import Operations, operations
from amends.operate.values import Ends, Lag, Overview, Trouble


def per_minute(seen: Overview) -> Mapping[str, int]:
    """What the last hour's minutes come to."""
    rates = seen.rates
    assert {len(row) for row in (rates.started, rates.completed, rates.compensated, rates.parked)} == {60}
    return {
        "started": sum(rates.started[-2:]),
        "completed": sum(rates.completed[-2:]),
        "compensated": sum(rates.compensated[-2:]),
        "parked": sum(rates.parked[-2:]),
    }


@pytest.mark.parametrize("kept", ["memory", "sqlite"])
def test_an_overview_tells_what_is_open_what_ended_and_what_went_wrong(kept: str, tmp_path: Path) -> None:
    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        await some(orchestrator)

        seen = await found.overview()

        assert seen.counts == {"running": 1, "compensating": 0, "parked": 2}
        assert {trouble: count for trouble, count in seen.troubles.items() if count} == {"parked": 2, "waiting": 1}
        assert (seen.stuck, seen.troubles_more) == (3, False)
        assert seen.hour == seen.day == Ends(1, 1, False)
        assert per_minute(seen) == {"started": 5, "completed": 1, "compensated": 1, "parked": 2}
        assert [(group.saga, group.step, group.count) for group in seen.groups] == [("orders", "pay", 2)]
        assert (seen.outbox, seen.timers.waiting) == (None, 0)
        [worker] = seen.workers
        assert (worker.alive, worker.sagas, worker.owned <= 1) == (True, ("asks", "orders", "payments"), True)
        assert seen.workers == await found.workers()
        shape = as_json.overview(seen)
        assert shape["open"] == {"running": 1, "compensating": 0, "parked": 2}
        assert (shape["stuck"], shape["troubles"]["parked"], shape["troubles"]["slow"]) == (3, 2, 0)
        assert (shape["groups"][0]["count"], len(shape["per_minute"]["started"])) == (2, 60)

    play(scene, "memory://" if kept == "memory" else f"sqlite:///{tmp_path}/orders.db")


def test_whatever_is_listed_as_stuck_is_counted_with_its_trouble(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/orders.db"

    async def counted() -> Mapping[Trouble, int]:
        async with operations(url) as found:
            seen, again, listed = await found.overview(), await found.overview(), (await found.stuck()).lines
        assert Counter(seen.troubles) == Counter(again.troubles) == Counter(line.trouble for line in listed)
        return {trouble: count for trouble, count in seen.troubles.items() if count}

    async def main() -> None:
        async with at_work(url) as (orchestrator, _):
            await some(orchestrator)
            assert await counted() == {Trouble.PARKED: 2, Trouble.WAITING: 1}
        assert await counted() == {Trouble.PARKED: 2, Trouble.STRANDED: 1}

    asyncio.run(main())


def test_what_no_longer_waits_for_a_signal_is_not_counted_as_if_it_did() -> None:
    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        await some(orchestrator)
        assert (await found.overview()).troubles[Trouble.WAITING] == 1
        [line] = (await found.stuck(troubles=[Trouble.WAITING])).lines

        await found.cancel(line.saga.id, actor="ada", reason="nobody answers")
        while (await found.show(line.saga.id)).line.status != "compensated":
            await asyncio.sleep(0.005)

        assert (await found.overview()).troubles[Trouble.WAITING] == 0

    play(scene)


def test_where_no_more_are_counted_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(health, "LOOK_MAX", 1)
    url = f"sqlite:///{tmp_path}/orders.db"

    async def main() -> None:
        async with at_work(url) as (orchestrator, _):
            await some(orchestrator)
        async with operations(url) as found:
            seen = await found.overview()

        assert (seen.troubles[Trouble.STRANDED], seen.troubles_more) == (1, True)

    asyncio.run(main())


def test_what_was_not_counted_to_its_end_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "RATE_LOOK_MAX", 1)
    monkeypatch.setattr(overview, "ENDS_LOOK_MAX", 1)

    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        await some(orchestrator)

        seen = await found.overview()

        assert (seen.hour, seen.day) == (Ends(0, 1, True), Ends(0, 1, True))  # the newest end is that of order-2
        assert seen.at - 60 < seen.rates.since <= seen.at

    play(scene)


def test_what_is_due_and_nobody_takes_is_the_lag_of_the_timers(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/orders.db"

    async def main() -> None:
        async with at_work(url) as (orchestrator, _):
            await some(orchestrator)
        client = Orchestrator(url, sagas=[orders, asks, payments])
        async with client.client():
            await client.start(orders, Order("tea", 6), id="order-6")
            await client.start(orders, Order("tea", 6), id="order-7")
        async with operations(url) as found:
            seen = await found.overview()
            assert seen.timers.waiting == 2
            assert 0 <= seen.timers.lag_seconds < 60
            assert (seen.workers, await found.workers()) == ((), ())

    asyncio.run(main())


def test_an_empty_database_has_an_overview_of_nothing() -> None:
    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        seen = await found.overview()

        assert seen.counts == {"running": 0, "compensating": 0, "parked": 0}
        assert (seen.hour, seen.groups, seen.timers) == (Ends(0, 0, False), (), Lag(0.0, 0))
        assert set(per_minute(seen).values()) == {0}

    play(scene)
