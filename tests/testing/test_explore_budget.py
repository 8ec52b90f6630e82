"""How far an exploration goes, what it says of that, and the line that repeats what it found."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from test_pytest_plugin import pytest_in

from amends import Completed, Context, Resource, Retry, Saga, step
from amends.errors import DefinitionError
from amends.testing import Counterexample, Exploration, Report, explore
from amends.testing.explore_budget import limit_of
from amends.testing.explore_faults import Faults
from amends.testing.explore_run import Run
from amends.testing.explore_scene import Scene
from amends.testing.explore_search import Limit, Search


@dataclass
class Till:
    paid: set[str] = field(default_factory=set[str])


@step(retry=Retry(attempts=2))
async def pay(cents: int, till: Resource[Till], ctx: Context) -> None:
    till.paid.add(ctx.key)


@pay.compensation(retry=Retry(attempts=2))
async def pay_back(till: Resource[Till], ctx: Context) -> None:
    till.paid.discard(ctx.action_key)


@step(retry=Retry(attempts=2), readonly=True)
async def look(cents: int) -> None: ...


SELL = Saga("sell", pay, look, input=int)
GLANCE = Saga("glance", look, input=int)


def paid(till: Till, outcome: object) -> bool:
    return len(till.paid) == (1 if isinstance(outcome, Completed) else 0)


def passing_seconds(monkeypatch: pytest.MonkeyPatch, each: float) -> None:
    """The clock goes on so much each time it is looked at."""
    ticks = count()
    monkeypatch.setattr("amends.testing.explore_search.perf_counter", lambda: next(ticks) * each)


class Recording(Scene):
    """Remembers its runs."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.lists: list[Faults] = []

    def run(self, faults: Faults = ()) -> Run:
        self.lists.append(faults)
        return super().run(faults)


def lists_of(limit: Limit, seed: int = 0, saga: Saga[int, None] = SELL) -> tuple[list[Faults], Report]:
    scene = Recording(saga, 5, Till)
    report = Search(scene, None if saga is GLANCE else paid, limit, seed).report()
    return scene.lists, report


# How far


def test_a_time_that_is_over_ends_it_but_every_single_fault_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    passing_seconds(monkeypatch, each=1.0)

    report = explore(SELL, 5, world=Till, invariant=paid, seconds=0.5)

    assert report.runs == report.singles + 1
    assert report.exhaustive == 1
    assert "exhaustive up to single faults; longer lists were not run" in str(report)


def test_where_there_is_time_only_there_are_as_many_runs_as_it_does_for(monkeypatch: pytest.MonkeyPatch) -> None:
    passing_seconds(monkeypatch, each=0.001)

    report = explore(SELL, 5, world=Till, invariant=paid, seconds=1.5)

    assert report.runs > 700


def test_whichever_is_over_first_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    passing_seconds(monkeypatch, each=0.001)

    assert explore(SELL, 5, world=Till, runs=200, seconds=3600).runs == 200
    assert explore(SELL, 5, world=Till, runs=1_000_000, seconds=0.2).runs < 300


def test_more_time_runs_what_less_time_ran_and_more(monkeypatch: pytest.MonkeyPatch) -> None:
    passing_seconds(monkeypatch, each=0.001)
    shorter, _ = lists_of(Limit(seconds=0.15), seed=5)
    longer, _ = lists_of(Limit(seconds=0.3), seed=5)

    assert len(shorter) < len(longer)
    assert longer[: len(shorter)] == shorter


def test_another_seed_draws_other_lists_and_the_same_one_the_same() -> None:
    first, _ = lists_of(Limit(runs=300), seed=1)
    again, _ = lists_of(Limit(runs=300), seed=1)
    other, _ = lists_of(Limit(runs=300), seed=2)

    assert first == again != other


@pytest.mark.parametrize("given", [{"runs": 0}, {"seconds": 0.0}, {"seconds": -1.0}, {"seconds": float("nan")}])
def test_nothing_is_no_budget(given: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="more than nothing is expected"):
        explore(SELL, 5, world=Till, **given)


@pytest.mark.parametrize(
    ("text", "limit"), [("7", (7, None)), ("30s", (None, 30.0)), ("1.5m", (None, 90.0)), ("8h", (None, 28_800.0))]
)
def test_a_budget_as_it_is_written(text: str, limit: tuple[int | None, float | None]) -> None:
    assert limit_of(text) == limit


@pytest.mark.parametrize("text", ["", "0", "-1", "s", "0s", "3d", "infs", "nans", "1e9"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whatever it says: the plugin says what is expected
        limit_of(text)


# What is said of it


def test_a_budget_for_everything_is_exhaustive_and_says_up_to_where() -> None:
    lists, report = lists_of(Limit(runs=1_000_000), saga=GLANCE)

    assert report.runs > 20
    assert len({frozenset(faults) for faults in lists}) == len(lists) == report.runs
    assert all(level.run == level.of for level in report.levels)
    assert re.search(
        r"exhaustive(: there are no other lists| up to 5 faults at once; longer lists are not)", str(report)
    )


def test_a_level_that_is_not_through_is_told_with_how_many_there_are() -> None:
    _, report = lists_of(Limit(runs=100))

    assert report.pairs_of is not None
    assert report.exhaustive == 1
    assert f"{report.pairs} of {report.pairs_of} pairs" in str(report)
    assert report.pairs == 100 - 1 - report.singles


def test_lists_that_are_too_many_to_be_counted_are_drawn_and_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amends.testing.explore_search.LISTED_MAX", 500)

    lists, report = lists_of(Limit(runs=600))

    assert "lists of 3, of more than can be counted" in str(report)
    assert report.exhaustive == 2
    assert len({frozenset(faults) for faults in lists}) == len(lists) == 600


def test_a_budget_that_is_over_with_a_level_says_that_the_next_was_not_run() -> None:
    _, whole = lists_of(Limit(runs=300))
    _, report = lists_of(Limit(runs=1 + whole.singles + whole.pairs))

    assert report.exhaustive == 2
    assert "exhaustive up to 2 faults at once; longer lists were not run" in str(report)


def test_nothing_is_said_to_be_exhaustive_where_something_was_wrong() -> None:
    report = Exploration(SELL, 5, world=Till, invariant=lambda till, _: not till.paid).run()

    assert report.exhaustive == 0
    assert "exhaustive" not in str(report).partition("WRONG")[0]


# The line that repeats it


SUITE = """
from dataclasses import dataclass

import pytest

from amends import Completed, Context, Resource, Saga, Service, step
from amends.testing import explore


class Till:
    def __init__(self) -> None:
        self.cents = 0


@dataclass(frozen=True)
class Order:
    cents: int


bank = Service("bank")
pay = bank.command("pay", int, reply=int)


def request(order: Order) -> int:
    return order.cents


ask = pay.request(name="pay")(request)
again = pay.request(name="again")(request)
sell = Saga("sell", ask, again, input=Order)


def take(cents: int, till: Till) -> int:
    till.cents += cents
    return cents


def give_too_much(cents: int, taken: int, till: Till) -> None:
    till.cents -= taken + 1


def conserved(till: Till, outcome: object) -> bool:
    return till.cents == (10 if isinstance(outcome, Completed) else 0)


@pytest.fixture
def world():
    return lambda: Till()


@pytest.mark.parametrize("style", ["orchestrated", "choreographed"])
def test_selling(world, style) -> None:
    explore(sell, Order(5), world=world, invariant=conserved, services={pay: (take, give_too_much)}, style=style)
"""


def test_the_line_that_a_test_prints_repeats_the_one_run(tmp_path: Path) -> None:
    printed = pytest_in(tmp_path, SUITE)
    lines = list(dict.fromkeys(re.findall(r"run it again: pytest (.+)", printed)))

    assert "2 failed" in printed
    assert len(lines) == 2
    for line in lines:
        again = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *shlex.split(line)]
        done = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert "1 failed" in done.stdout, done.stdout
        assert "sell: one run, with" in done.stdout
        assert "the invariant does not hold: conserved says False" in done.stdout


def test_outside_of_pytest_it_is_what_stands_in_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_CURRENT_TEST")

    def honest(till: Till, outcome: object) -> bool:
        return isinstance(outcome, Completed)

    with pytest.raises(Counterexample) as caught:
        explore(SELL, 5, world=Till, invariant=honest)
    said = re.search(r'run it again: explore\(…, only="(.+)"\)', str(caught.value))
    assert said is not None

    with pytest.raises(Counterexample) as again:
        explore(SELL, 5, world=Till, invariant=honest, only=said[1])

    assert again.value.report.counterexample == caught.value.report.counterexample
