"""Explore: a right saga passes, a wrong one is found, and the run that shows it is small and comes again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from amends import Compensated, Completed, Context, Parked, Reject, Resource, Retry, Saga, parallel, pivot, step
from amends.errors import DefinitionError
from amends.testing import Clock, Counterexample, Exploration, explore
from amends.testing.explore_faults import Faults
from amends.testing.explore_laws import broken
from amends.testing.explore_run import Run
from amends.testing.explore_scene import Scene
from amends.testing.explore_search import Limit, Search


@dataclass(frozen=True)
class Order:
    sku: str
    cents: int


@dataclass(frozen=True)
class Payment:
    receipt: str


@dataclass
class Shop:
    """A fake shop that knows every key it has seen."""

    stock: int = 10
    reserved: set[str] = field(default_factory=set[str])
    charged: dict[str, int] = field(default_factory=dict[str, int])
    shipped: set[str] = field(default_factory=set[str])

    def reserve(self, key: str) -> None:
        if key not in self.reserved:
            self.reserved.add(key)
            self.stock -= 1

    def release(self, key: str) -> None:
        if key in self.reserved:
            self.reserved.remove(key)
            self.stock += 1


@step
async def reserve(order: Order, shop: Resource[Shop], ctx: Context) -> None:
    shop.reserve(ctx.key)


@reserve.compensation
async def release(shop: Resource[Shop], ctx: Context) -> None:
    shop.release(ctx.action_key)


@step
async def charge(order: Order, shop: Resource[Shop], ctx: Context) -> Payment:
    shop.charged[ctx.key] = order.cents
    return Payment("paid")


@charge.compensation
async def refund(shop: Resource[Shop], ctx: Context) -> None:
    shop.charged.pop(ctx.action_key, None)


@step
def ship(order: Order, shop: Resource[Shop], ctx: Context) -> None:
    shop.shipped.add(ctx.key)


@step
async def mail(payment: Payment, shop: Resource[Shop], ctx: Context) -> None:
    assert payment.receipt == "paid"


place_order = Saga("place-order", reserve, charge, pivot, parallel(ship, mail), input=Order)
ORDER = Order("book", 2_900)


def conserved(shop: Shop, outcome: object) -> None:
    """What was sold is paid for and gone; else nothing is."""
    sold = 1 if isinstance(outcome, Completed) else 0
    assert shop.stock == 10 - sold
    assert sum(shop.charged.values()) == 2_900 * sold
    assert len(shop.shipped) == sold


def test_a_right_saga_passes_every_single_fault_every_pair_and_what_the_seed_draws() -> None:
    report = explore(place_order, ORDER, world=Shop, invariant=conserved, runs=600)

    assert report.ok
    assert report.runs == 600
    assert report.singles > 20
    assert report.pairs == report.pairs_of
    assert report.pairs > 200
    assert report.longer > 0
    assert set(report.outcomes) == {"completed", "compensated"}
    assert report.steps == {"reserve", "charge", "ship", "mail"}
    assert report.compensations == {"reserve", "charge"}
    assert report.unreached == ()
    assert {"rejects", "times-out", "crash-after-effect", "cancel", "down", "slow"} <= set(report.kinds)


def test_the_same_exploration_gives_the_same_report() -> None:
    def told() -> str:
        report = explore(place_order, ORDER, world=Shop, invariant=conserved, runs=500, seed=7)
        report.seconds = 0.0
        return str(report)

    assert told() == told()


def test_every_single_fault_is_met_whatever_the_budget() -> None:
    report = explore(place_order, ORDER, world=Shop, invariant=conserved, runs=1)

    assert report.runs == report.singles + 1
    assert report.pairs == 0
    assert report.pairs_of


def test_no_list_of_faults_is_run_twice_and_every_fault_of_one_is_met() -> None:
    class Recording(Scene):
        def run(self, faults: Faults = ()) -> Run:
            made = super().run(faults)
            runs.append(made)
            return made

    runs: list[Run] = []

    Search(Recording(place_order, ORDER, Shop), conserved, Limit(runs=900), seed=3).report()

    assert len({frozenset(run.faults) for run in runs}) == len(runs) == 900
    assert [run.faults for run in runs if run.met != set(run.faults)] == []


def broken_saga() -> Saga[Order, None]:
    """Its compensation gives back one piece each time it is called."""

    @step
    async def take(order: Order, shop: Resource[Shop], ctx: Context) -> None:
        shop.reserve(ctx.key)

    @take.compensation
    async def give(shop: Resource[Shop]) -> None:
        shop.stock += 1

    return Saga("broken", take, charge, input=Order)


def stock_is_kept(shop: Shop, outcome: object) -> bool:
    return shop.stock == (9 if isinstance(outcome, Completed) else 10)


def test_a_counterexample_is_small_and_told_as_a_timeline() -> None:
    with pytest.raises(Counterexample) as caught:
        explore(broken_saga(), ORDER, world=Shop, invariant=stock_is_kept)

    found = caught.value.report.counterexample
    assert found is not None
    assert [str(fault) for fault in found.faults] == ["take:down"]
    assert "the invariant does not hold: stock_is_kept says False" in str(caught.value)
    assert any("the undo of take is done" in line for line in found.timeline)
    assert found.timeline[-1].endswith("the undo of take succeeded; COMPENSATED")


def test_what_does_not_matter_is_left_out_of_a_counterexample_and_the_rest_made_simple() -> None:
    scene = Scene(broken_saga(), ORDER, Shop)
    search = Search(scene, stock_is_kept, Limit(), seed=0)
    run = scene.run(scene.faults("charge:fails, charge#2:lost, undo:charge:fails, undo:take:crash-after-effect"))
    wrong = broken(run, stock_is_kept)
    assert wrong

    found = search.smallest(run, wrong)

    assert ", ".join(map(str, found.faults)) == "charge:rejects, undo:take:times-out"


def test_the_faults_of_a_counterexample_repeat_it() -> None:
    made = Exploration(broken_saga(), ORDER, world=Shop, invariant=stock_is_kept)
    first = made.run().counterexample
    assert first is not None

    again = made.run(only=", ".join(map(str, first.faults)))

    assert again.runs == 1
    assert again.counterexample == first


def test_a_fault_that_is_never_met_is_said() -> None:
    report = Exploration(place_order, ORDER, world=Shop).run(only="charge#7:fails")

    assert report.ok
    assert "never met: charge#7:fails" in str(report)


@pytest.mark.parametrize(
    "word",
    [
        "charge",
        "charge:explodes",
        "cancel@",
        "nonsense@3",
        "charge:cancel",
        "charge:signal-lost",
        "pay:fails",
        "charge:reply-lost",
    ],
)
def test_a_fault_that_is_none_is_refused_with_what_there_is(word: str) -> None:
    with pytest.raises(DefinitionError, match="the fault"):
        explore(place_order, ORDER, world=Shop, only=word)


def test_an_undo_that_fails_by_itself_is_found_though_the_saga_parks_honestly() -> None:
    @step
    async def take(order: Order, shop: Resource[Shop], ctx: Context) -> None:
        shop.reserve(ctx.key)

    @take.compensation
    async def give(shop: Resource[Shop], ctx: Context) -> None:
        shop.reserved.remove(ctx.action_key)

    saga = Saga("by-itself", take, charge, input=Order)

    with pytest.raises(Counterexample, match=r"the undo of take failed by itself: KeyError") as caught:
        explore(saga, ORDER, world=Shop)

    assert caught.value.report.counterexample is not None
    assert len(caught.value.report.counterexample.faults) <= 2


def test_a_saga_that_a_fault_has_parked_goes_on_once_that_is_over() -> None:
    report = explore(place_order, ORDER, world=Shop, invariant=conserved, only="charge:rejects, undo:reserve:down")

    assert report.outcomes == {"compensated": 1}
    assert "a person says: unpark" in str(report)


def test_a_no_behind_the_pivot_is_found() -> None:
    @step
    async def check(order: Order, shop: Resource[Shop]) -> None:
        if order.cents > 1_000_000:
            raise Reject("too dear")

    saga = Saga("no-behind", reserve, pivot, check, input=Order)

    with pytest.raises(Counterexample, match="check said no behind the pivot") as caught:
        explore(saga, ORDER, world=Shop)

    assert caught.value.report.counterexample is not None
    assert list(map(str, caught.value.report.counterexample.faults)) == ["check:rejects"]


def test_a_step_that_really_waits_is_explored_under_the_virtual_clock() -> None:
    @step(timeout=5)
    async def take(order: Order, shop: Resource[Shop], ctx: Context) -> None:
        async with asyncio.timeout(2):
            await asyncio.sleep(1)
            shop.reserve(ctx.key)

    @take.compensation
    async def give(shop: Resource[Shop], ctx: Context) -> None:
        await asyncio.sleep(0.5)
        shop.release(ctx.action_key)

    saga = Saga("waiting", take, charge, input=Order)

    report = explore(saga, ORDER, world=Shop, invariant=stock_is_kept, runs=200)

    assert report.ok
    assert report.compensations == {"take", "charge"}


def test_a_step_that_takes_longer_than_its_timeout_fails_as_it_does_in_production() -> None:
    @step(timeout=5, retry=Retry(attempts=2))
    async def hang(order: Order, shop: Resource[Shop]) -> None:
        await asyncio.sleep(3600)

    @hang.compensation
    async def unhang(shop: Resource[Shop]) -> None:
        pass

    report = Exploration(Saga("hanging", hang, input=Order), ORDER, world=Shop, runs=1).run(only="cancel@40")

    assert report.shown is not None
    assert isinstance(report.shown.outcome, Compensated)
    assert "it took longer than 5 s" in str(report)


@pytest.mark.parametrize("seconds", [3600, None])
def test_a_step_that_does_not_stop_when_asked_is_still_running_as_in_production(seconds: float | None) -> None:
    @step(timeout=5)
    async def stubborn(order: Order, shop: Resource[Shop]) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await (asyncio.get_running_loop().create_future() if seconds is None else asyncio.sleep(seconds))

    @stubborn.compensation
    async def nothing(shop: Resource[Shop]) -> None: ...

    with pytest.raises(Counterexample, match="stubborn failed by itself: it does not return"):
        explore(Saga("stubborn", stubborn, input=Order), ORDER, world=Shop)


def test_explore_works_inside_a_running_loop() -> None:
    async def main() -> Any:
        report = explore(place_order, ORDER, world=Shop, invariant=conserved, runs=1)
        await asyncio.sleep(0)
        return report

    assert asyncio.run(main()).ok


def test_what_stands_in_the_world_for_a_resource_is_found_by_its_type() -> None:
    @dataclass
    class Town:
        shop: Shop = field(default_factory=Shop)
        name: str = "Delft"

    class Corner(Shop):
        pass

    for world in (Town, {Shop: Shop()}, [Shop()], Corner, lambda: {Shop: Corner()}):
        assert explore(place_order, ORDER, world=world, runs=1).ok
    with pytest.raises(DefinitionError, match=r"asks for Resource.Shop.*nothing in the world.*there is: Order"):
        explore(place_order, ORDER, world=lambda: ORDER)


def test_parked_is_never_an_invariants_last_word_where_the_fault_can_be_over() -> None:
    @step(retry=Retry(attempts=3))
    async def decide(order: Order, shop: Resource[Shop], ctx: Context) -> None:
        shop.shipped.add(ctx.key)

    saga = Saga("with-a-pivot", reserve, pivot(decide), input=Order)
    seen: list[object] = []

    explore(saga, ORDER, world=Shop, invariant=lambda _, outcome: seen.append(outcome))

    assert not any(isinstance(outcome, Parked) for outcome in seen)


def test_a_law_or_a_world_that_would_have_to_be_awaited_is_refused() -> None:
    async def law(shop: Shop, outcome: object) -> None:
        raise AssertionError

    async def world() -> Shop:
        return Shop()

    with pytest.raises(DefinitionError, match=r"invariant=.*a plain function"):
        explore(place_order, ORDER, world=Shop, invariant=law)
    with pytest.raises(DefinitionError, match=r"world=.*a plain function"):
        explore(place_order, ORDER, world=world)


def test_a_law_that_cannot_be_applied_does_not_hold() -> None:
    def law(shop: Shop, outcome: object) -> None:
        raise ZeroDivisionError("of nothing")

    with pytest.raises(Counterexample, match="the invariant raised ZeroDivisionError: of nothing"):
        explore(place_order, ORDER, world=Shop, invariant=law)


def test_a_law_may_say_what_is_wrong_in_words() -> None:
    def law(shop: Shop, outcome: object) -> str:
        return "too few books" if shop.stock < 10 else ""

    with pytest.raises(Counterexample, match="the invariant does not hold: too few books"):
        explore(place_order, ORDER, world=Shop, invariant=law)


def test_a_world_may_know_the_time_of_its_run() -> None:
    seen: set[float] = set()

    def world(clock: Clock) -> Shop:
        seen.add(clock.now())
        return Shop()

    assert explore(place_order, ORDER, world=world, invariant=conserved, runs=1).ok
    assert len(seen) == 1


def test_a_world_that_needs_more_than_the_clock_is_refused() -> None:
    def world(shop: Shop, clock: Clock) -> Shop:
        return shop

    with pytest.raises(DefinitionError, match="called with nothing, or with the Clock, and needs shop, clock"):
        explore(place_order, ORDER, world=world)


def test_a_step_that_fails_without_any_fault_is_told_at_once() -> None:
    @step(retry=Retry(attempts=2))
    async def look_up(order: Order, shop: Resource[Shop]) -> None:
        raise KeyError(order.sku)

    @look_up.compensation
    async def nothing(shop: Resource[Shop]) -> None: ...

    with pytest.raises(Counterexample, match="without any fault, look_up failed by itself: KeyError: 'book'") as caught:
        explore(Saga("wrong-world", look_up, input=Order), ORDER, world=Shop)

    assert caught.value.report.runs == 1


def test_what_goes_on_and_on_is_told_at_its_beginning_and_its_end() -> None:
    @step
    async def take(order: Order, shop: Resource[Shop], ctx: Context) -> None: ...

    @take.compensation
    async def give(shop: Resource[Shop]) -> None:
        raise KeyError

    found = Exploration(Saga("on-and-on", take, input=Order), ORDER, world=Shop).run().counterexample

    assert found is not None
    told = [line.partition(" s ")[2].strip() for line in found.timeline]
    again = [line.strip() for line in found.timeline if "the same again" in line]
    assert again == ["…         the same again, 26 times"]
    assert "the undo of take raises KeyError" in told
    assert "the undo of take (attempt 30) raises KeyError" in told
    assert len(told) < 15


def test_a_step_that_is_right_at_the_second_try_has_not_failed_by_itself() -> None:
    @step
    async def knock(order: Order, shop: Resource[Shop], ctx: Context) -> None:
        if ctx.attempt == 1:
            raise Retry.after(5)

    @knock.compensation
    async def leave(shop: Resource[Shop]) -> None: ...

    assert explore(Saga("knocking", knock, input=Order), ORDER, world=Shop, runs=50).ok
