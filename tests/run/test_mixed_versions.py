"""Workers of two versions of one saga side by side, as during every deploy."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from engine import Order, database, engine, virtually
from test_ownership import abandoned

from amends import Completed, Context, Saga, Settings, pivot, sleep, step

SAGAS = 40
NAP_SECONDS = 10.0
RAN: Counter[str] = Counter()  # saga:step


def note(ctx: Context) -> None:
    RAN[f"{ctx.saga_id}:{ctx.step}"] += 1


@step
async def first(order: Order, ctx: Context) -> None:
    note(ctx)
    await asyncio.sleep(0.5)


@first.compensation
async def undo_first() -> None: ...


@step
async def added(order: Order, ctx: Context) -> None:
    note(ctx)


@added.compensation
async def undo_added() -> None: ...


old = Saga("order", first, pivot, input=Order)
new = Saga("order", first, pivot, added, input=Order)
NAP = (sleep(timedelta(seconds=NAP_SECONDS)),)
old_nap = Saga("nap", *NAP, first, pivot, input=Order)
new_nap = Saga("nap", *NAP, first, pivot, added.named("added_to_nap"), input=Order)


def test_a_saga_runs_on_the_version_that_it_was_started_on_as_long_as_a_worker_has_it() -> None:
    RAN.clear()

    async def main() -> list[Any]:
        on = database()
        async with engine(old, on=on), engine(new, on=on), engine(new, on=on).client() as client:
            handles = []
            for number in range(SAGAS):
                handles.append(await client.start(new, Order(), id=f"new-{number}"))
                await asyncio.sleep(1.1)  # also over the looks at what others run
            return [await handle.outcome() for handle in handles]

    assert virtually(main()) == [Completed(None)] * SAGAS
    assert [number for number in range(SAGAS) if RAN[f"new-{number}:added"] != 1] == []


def test_when_the_last_worker_of_a_version_leaves_the_next_version_takes_over_within_seconds() -> None:
    RAN.clear()

    async def main() -> tuple[Any, float]:
        on = database()
        began = asyncio.get_running_loop().time()
        async with engine(new_nap, on=on) as later:
            async with engine(old_nap, on=on) as former:
                await former.start(old_nap, Order(), id="one")
                await asyncio.sleep(NAP_SECONDS / 2)
            return await later.handle(new_nap, "one").outcome(), asyncio.get_running_loop().time() - began

    outcome, took = virtually(main())
    assert outcome == Completed(None)
    assert RAN["one:added_to_nap"] == 1, "it has moved to the version that is there"
    assert took < NAP_SECONDS + 6


def test_what_a_dead_worker_held_is_not_taken_back_to_an_older_version_while_its_own_has_a_worker() -> None:
    RAN.clear()

    async def main() -> Any:
        on = database()
        lease = Settings(lease_seconds=15)
        async with engine(old, on=on, settings=lease):
            async with abandoned(engine(new, on=on, settings=lease)) as dead:
                await dead.start(new, Order(), id="one")
            await asyncio.sleep(1)
            async with engine(new, on=on, settings=lease) as heir:
                return await heir.handle(new, "one").outcome(timeout=120)

    assert virtually(main()) == Completed(None)
    assert RAN["one:added"] == 1


def test_a_version_that_no_worker_has_any_more_is_run_by_the_one_that_fits() -> None:
    """Also going back to the release before."""
    RAN.clear()

    async def main() -> Any:
        on = database()
        async with engine(new, on=on).client() as client:
            await client.start(new, Order(), id="one")
        async with engine(old, on=on) as before:
            return await before.handle(old, "one").outcome(timeout=60)

    assert virtually(main()) == Completed(None)
    assert RAN["one:first"] == 1
    assert RAN["one:added"] == 0


@pytest.mark.parametrize("named", ["new", "old"])
def test_a_form_that_stays_registered_just_as_it_was_runs_its_own_sagas_and_the_new_one_is_started(named: str) -> None:
    """But a version= given to the old form makes another one of it."""
    RAN.clear()
    stays = Saga("nap", *NAP, first, pivot, input=Order, version="1" if named == "old" else "")
    changed = Saga("nap", added.named("before"), pivot, *NAP, first, input=Order, version="2" if named == "new" else "")

    async def main() -> tuple[Any, str]:
        on = database()
        async with engine(old_nap, on=on) as before:
            await before.start(old_nap, Order(), id="one")
            await asyncio.sleep(NAP_SECONDS / 2)  # in the midst of it
        async with engine(stays, changed, on=on) as after:
            await after.start(changed, Order(), id="two")
            await asyncio.sleep(NAP_SECONDS * 3)
            head = await after.session.store.head("one")
            assert head is not None
            return await after.handle(changed, "two").outcome(), head.stalled or head.status

    outcome, one = virtually(main())
    assert outcome == Completed(None)
    assert RAN["two:before"] == 1
    assert (one == "completed") is (named == "new")
