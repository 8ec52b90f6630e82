"""The committer: what those hear whose decisions are written together, and in which context."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from engine import Order, engine, until, virtually
from onlooker import Onlooker

from amends import Context, Orchestrator, Saga, sleep, step
from amends.observe.events import BatchWritten, Event
from amends.observe.hub import Hub
from amends.run.committer import Committer
from amends.store.base import Fate, Write

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
seen: list[str] = []


@step(readonly=True)
async def look(order: Order) -> None:
    """Sees whose it is."""
    seen.append(tenant.get())


@step(readonly=True)
def look_again(order: Order, ctx: Context) -> None:
    """Likewise, in a thread."""
    seen.append(tenant.get())


looks = Saga("looks", look, sleep(5.0), look_again, input=Order)


def quiet(event: Event) -> None:
    """An observer with nothing to say."""


def built(*observers: Any) -> Orchestrator:
    """An orchestrator whose opener is somebody."""
    made = engine(looks)
    made.config = replace(made.config, observers=observers)
    return made


@pytest.mark.parametrize("observers", [(), (quiet,)], ids=["unobserved", "observed"])
def test_a_step_sees_the_context_that_the_orchestrator_was_entered_in_whoever_starts_its_saga(
    observers: tuple[Any, ...],
) -> None:
    seen.clear()

    async def request(orchestrator: Orchestrator, number: int) -> None:
        tenant.set(f"request {number}")
        await orchestrator.run(looks, Order(number))

    async def main() -> None:
        tenant.set("the opener")
        async with built(*observers) as orchestrator:
            await asyncio.gather(*(request(orchestrator, number) for number in range(3)))

    virtually(main())
    assert seen == ["the opener"] * 6


def test_what_an_observer_sets_while_it_is_told_what_is_written_is_seen_by_no_step_of_another_saga() -> None:
    seen.clear()

    def on_written(event: Event) -> None:
        if isinstance(event, BatchWritten):
            tenant.set("an observer")

    async def main() -> None:
        async with built(on_written) as orchestrator:
            for number in range(3):
                await orchestrator.run(looks, Order(number))

    virtually(main())
    assert seen == ["nobody"] * 6


class Told:
    """A store that says of each saga what it is told to."""

    def __init__(self, *fates: Fate) -> None:
        self.fates = fates

    def now(self) -> float:
        return 1.0

    async def commit(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        return list(self.fates[: len(writes)])

    commit_aside = commit


def committed(*fates: Fate, hub: Hub, told: list[Any]) -> None:
    """Have one decision for each fate written together; the first that hears of it raises."""

    def hears(number: int, fate: Fate) -> None:
        told.append((number, fate))
        if number == 0:
            raise asyncio.CancelledError

    async def main() -> None:
        store: Any = Told(*fates)
        committer = Committer(store, 1, 100, hub, retired=lambda: None, broken=lambda _: None)
        for number in range(len(fates)):
            committer.submit(Write(bytes([number]), 1, number, b"[]"), partial(hears, number))
        await until(lambda: len(told) == len(fates))
        await committer.drain()

    virtually(main())


def test_a_cancellation_out_of_what_one_saga_does_keeps_no_other_from_hearing_its_fate(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = list[Any]()

    committed(Fate.WRITTEN, Fate.WRITTEN, Fate.LOST, hub=Hub(), told=told)

    assert told == [(0, Fate.WRITTEN), (1, Fate.WRITTEN), (2, Fate.LOST)]


@pytest.mark.parametrize(
    ("fates", "counts"),
    [((Fate.WRITTEN, Fate.LOST, Fate.WRITTEN), [2]), ((Fate.LOST,), []), ((Fate.WRITTEN,), [1])],
)
def test_a_batch_is_told_with_what_it_wrote_and_not_where_it_wrote_nothing(
    fates: tuple[Fate, ...], counts: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    onlooker = Onlooker()

    committed(*fates, hub=Hub([onlooker]), told=[])

    assert [event.writes for event in onlooker.of(BatchWritten)] == counts
