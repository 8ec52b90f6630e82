"""`amends explore`: what it names, what it prints, what it ends with."""

from __future__ import annotations

import io
import itertools
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from shop_floor import Floor, Result

LAWS = """
from dataclasses import dataclass, field
from amends import Completed, Context, Resource, Saga, step
from amends.testing import Exploration

@dataclass(frozen=True)
class Order:
    cents: int = 5

@dataclass
class Bank:
    paid: dict[str, int] = field(default_factory=dict)

@step
def charge(order: Order, bank: Resource[Bank], ctx: Context) -> None:
    bank.paid[ctx.key] = order.cents

@charge.compensation
def refund(bank: Resource[Bank], ctx: Context) -> None:
    bank.paid.pop(ctx.action_key, None)

@step(readonly=True)
def check(order: Order) -> None:
    pass

sell = Saga("sell", charge, check, input=Order)
other = Saga("other", charge, input=Order)

def paid(bank, outcome):
    return sum(bank.paid.values()) == (5 if isinstance(outcome, Completed) else 0)

def never_paid(bank, outcome):
    return not bank.paid

selling = Exploration(sell, Order(), world=Bank, invariant=paid)
twin = Exploration(sell, Order(), world=Bank, invariant=never_paid)
"""
ONE = LAWS.replace("twin =", "_ =")


NUMBERS = itertools.count()


class Bench:
    """A directory with modules of laws, and the verb."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self.made: list[str] = []

    def module(self, text: str) -> str:
        name = f"laws_{next(NUMBERS)}"
        Path(f"{name}.py").write_text(text)
        self.made.append(name)
        return name

    def run(self, *args: str) -> Result:
        return self._floor.amends(*args)

    def ok(self, *args: str) -> Result:
        return self._floor.ok(*args)


@pytest.fixture
def floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Bench]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    bench = Bench(Floor(tmp_path, capsys))
    yield bench
    for name in bench.made:
        sys.modules.pop(name, None)


@pytest.fixture
def module(floor: Bench) -> str:
    return floor.module(LAWS)


def test_an_exploration_by_its_name(floor: Bench, module: str) -> None:
    result = floor.ok("explore", f"{module}:selling", "--runs=50")

    assert "sell: 50 runs" in result.out


def test_a_saga_whose_module_has_one_exploration_of_it(floor: Bench) -> None:
    module = floor.module(ONE)

    assert "sell: " in floor.ok("explore", f"{module}:sell", "--runs=50").out
    assert "sell: " in floor.ok("explore", module, "--runs=50").out


def test_several_explorations_are_named(floor: Bench, module: str) -> None:
    result = floor.run("explore", f"{module}:sell")

    assert result.code == 2
    assert f"say which one: {module}:selling, {module}:twin" in result.err


def test_something_wrong_ends_with_10_and_a_command_that_repeats_it(floor: Bench, module: str) -> None:
    result = floor.run("explore", f"{module}:twin")

    assert result.code == 10
    assert "WRONG with no fault at all: the invariant does not hold: never_paid says False" in result.out
    assert f"run it again: amends explore {module}:twin" in result.out


def test_a_saga_alone_takes_its_input_world_and_invariant_from_the_command(floor: Bench, module: str) -> None:
    given = ("explore", f"{module}:other", '{"cents": 5}', f"--world={module}:Bank")

    assert "other: " in floor.ok(*given, f"--invariant={module}:paid", "--runs=30").out
    result = floor.run(*given, f"--invariant={module}:never_paid")
    assert result.code == 10
    assert f"--world={module}:Bank --invariant={module}:never_paid" in result.out


def test_a_saga_without_an_exploration_says_what_to_give(floor: Bench, module: str) -> None:
    result = floor.run("explore", f"{module}:other")

    assert result.code == 2
    assert f"amends explore {module}:other '{{" in result.err


def test_one_run_with_faults_shows_its_timeline(floor: Bench, module: str) -> None:
    result = floor.ok("explore", f"{module}:selling", "--fault=check:rejects", "--fault=undo:charge:times-out")

    assert "the undo of charge is done, and no answer comes" in result.out
    assert "the undo of charge (attempt 2) is done" in result.out


def test_a_fault_that_is_none_is_refused(floor: Bench, module: str) -> None:
    result = floor.run("explore", f"{module}:selling", "--fault=charge:bursts")

    assert result.code == 2
    assert "'bursts' is none of rejects, fails" in result.err


class Terminal(io.StringIO):
    """Somebody is looking."""

    def isatty(self) -> bool:
        return True


def test_a_bar_is_drawn_on_a_terminal_where_it_takes_long_and_nowhere_else(
    floor: Bench, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    shown: list[str] = []
    for seconds in (3600.0, 0.0):
        monkeypatch.setattr("amends.testing.explore_search.TOLD_SECONDS", seconds)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", terminal := Terminal())
            result = floor.run("explore", f"{module}:selling", "--runs=300")
            shown.append(terminal.getvalue())
        assert "exploring" not in result.out
    piped = floor.ok("explore", f"{module}:selling", "--runs=300")

    assert shown[0] == ""
    assert "exploring" in shown[1]
    assert "300" in shown[1]
    assert piped.err == ""


SERVED = """
from dataclasses import dataclass
from amends import Completed, Saga, Service
from amends.testing import Exploration

@dataclass(frozen=True)
class Order:
    cents: int = 5

@dataclass
class Till:
    cents: int = 0

bank = Service("bank")
charge = bank.command("charge", Order)
look = bank.command("look", Order, readonly=True)

@charge.request(name="charge")
def ask(order: Order) -> Order:
    return order

@look.request(name="look")
def ask_again(order: Order) -> Order:
    return order

def take(order, till):
    till.cents += order.cents

def give_too_much(order, reply, till):
    till.cents -= order.cents + 1

def nothing(order, till): ...

def fair(till, outcome):
    return till.cents == (order_of(outcome))

def order_of(outcome):
    return 5 if isinstance(outcome, Completed) else 0

sell = Saga("sell", ask, ask_again, input=Order)
services = {charge: (take, give_too_much), look: nothing}
selling = Exploration(sell, Order(), world=Till, invariant=fair, services=services)
"""


@pytest.mark.parametrize("style", ["orchestrated", "choreographed"])
def test_the_line_that_repeats_it_has_the_style_and_an_input_from_stdin(
    floor: Bench, style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = floor.module(SERVED)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"cents": 5}')))

    first = floor.run("explore", f"{module}:selling", "-", f"--style={style}")
    line = first.out.rpartition("run it again: amends ")[2].strip()

    assert first.code == 10
    assert f"--style={style}" in line
    again = floor.run(*shlex.split(line))
    assert again.code == 10
    assert "fair says False" in again.out
    assert "sell: one run, with" in again.out


def test_a_time_is_a_budget(floor: Bench, module: str) -> None:
    assert "sell: " in floor.ok("explore", f"{module}:selling", "--seconds=0.05").out
    assert floor.run("explore", f"{module}:selling", "--seconds=0").code == 2


def test_json_is_one_object(floor: Bench, module: str) -> None:
    result = floor.run("explore", f"{module}:twin", "--json")

    shape = json.loads(result.out)
    assert result.code == 10
    assert not shape["ok"]
    assert shape["counterexample"]["faults"] == ""
    assert shape["counterexample"]["timeline"]


def test_what_is_neither_a_saga_nor_an_exploration_is_refused(floor: Bench, module: str) -> None:
    result = floor.run("explore", f"{module}:Bank")

    assert result.code == 2
    assert "neither a saga nor an Exploration" in result.err
