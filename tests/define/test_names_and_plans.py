"""Stored names, and plans that are the same wherever the same code is built."""

from __future__ import annotations
import __future__

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import every_node
import pytest
from storefront import Order, charge, is_big, mistake, place_order, reserve, ship

from amends import Retry, Saga, for_each, parallel, pivot, sequence, sleep, step, wait_for, when
from amends.decide.plan import Plan, from_json, walk
from amends.define.nodes import is_same

HERE = Path(__file__).parent


def addresses(saga: Saga[Any, Any]) -> list[str]:
    """The stored names of a saga's nodes, in flow order."""
    return [address for node in walk(saga.plan.root) if (address := getattr(node, "address", ""))]


# Names


def test_a_step_is_called_like_its_function() -> None:
    assert reserve.stored_name == "reserve"
    assert reserve.__name__ == "reserve"
    assert repr(reserve) == "reserve"


def test_a_step_may_have_another_name() -> None:
    @step(name="hold-stock", readonly=True)
    def hold(order: Order) -> None: ...

    assert addresses(place_order(hold)) == ["hold-stock"]
    assert hold.__name__ == "hold"


def test_named_makes_another_node_and_leaves_the_first() -> None:
    second = charge.named("second")

    assert (charge.stored_name, second.stored_name) == ("charge", "second")
    assert second(Order("apple")) == charge(Order("apple"))
    assert addresses(place_order(charge, second)) == ["charge", "second"]


def test_the_compensation_of_a_step_is_that_of_its_copies() -> None:
    @step
    def book(order: Order) -> None: ...

    early = book.named("early")

    @book.compensation
    def unbook(order: Order) -> None: ...

    assert place_order(early).plan.step("early").compensated


def test_a_pivot_has_the_name_of_its_step() -> None:
    assert addresses(place_order(pivot(charge.named("pay")))) == ["pay"]
    assert addresses(place_order(pivot(charge).named("pay"))) == ["pay"]


def test_a_step_is_the_same_node_by_function_and_name() -> None:
    assert is_same(charge.named("pay"), charge.named("pay"))
    assert is_same(pivot(charge), charge)
    assert not is_same(charge, charge.named("pay"))
    assert not is_same(charge, reserve.named("charge"))


def test_the_output_may_be_named_in_any_of_these_ways() -> None:
    for output in (charge, pivot(charge), charge.named("charge")):
        assert place_order(pivot(charge), ship, output=output).plan.output == "charge"


def test_waits_for_each_and_branches_have_names() -> None:
    def big(order: Order) -> bool:
        return True

    def orders(order: Order) -> list[Order]:
        return [order]

    saga = place_order(
        when(big, is_big),
        when(big, is_big.named("look")).named("second-look"),
        when(lambda order: True, is_big.named("last-look")),
        for_each(is_big.named("each"), over=orders),
        for_each(is_big, over=orders).named("each-again"),
        sleep(1),
        sleep(2),
        sleep(3).named("nap"),
        wait_for("go", bool),
    )

    assert addresses(saga) == [
        "when-big",
        "is_big",
        "second-look",
        "look",
        "when",
        "last-look",
        "each",
        "each-again",
        "sleep",
        "sleep-2",
        "nap",
        "go",
    ]


def test_a_second_branch_on_the_same_condition_gets_a_number() -> None:
    def big(order: Order) -> bool:
        return True

    nodes = [when(big, is_big.named(f"look-{number}")) for number in range(3)]

    assert addresses(place_order(*nodes))[::2] == ["when-big", "when-big-2", "when-big-3"]


def test_a_name_made_up_never_takes_one_that_is_given() -> None:
    assert addresses(place_order(is_big.named("sleep-2"), sleep(1), sleep(2))) == ["sleep-2", "sleep", "sleep-3"]
    assert "two nodes are called sleep" in mistake(lambda: place_order(sleep(1), is_big.named("sleep")))


# Plans


def test_equal_code_gives_an_equal_plan() -> None:
    one, other = every_node.build().plan, every_node.build().plan

    assert (one, one.fingerprint) == (other, other.fingerprint)


def test_a_plan_is_stored_and_read_back() -> None:
    plan = every_node.build().plan

    assert from_json(plan.json) == plan
    assert from_json(plan.json).fingerprint == plan.fingerprint
    json.loads(plan.json)


def test_a_plan_is_the_same_in_every_process() -> None:
    program = "import every_node; print(every_node.build().plan.json)"
    plans = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(HERE)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        for seed in ("0", "1", "12345")
    }

    assert plans == {every_node.build().plan.json}


def compiled(flags: int) -> Plan:
    """The plan of the same source, compiled with other flags."""
    path = HERE / "every_node.py"
    module = ModuleType(f"every_node_{flags}")
    sys.modules[module.__name__] = module
    try:
        code = compile(path.read_text(), str(path), "exec", flags, dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102  # our own file
        saga: Saga[Any, Any] = module.build()
        return saga.plan
    finally:
        del sys.modules[module.__name__]


def test_postponed_annotations_change_nothing() -> None:
    assert compiled(__future__.annotations.compiler_flag) == compiled(0) == every_node.build().plan


@pytest.mark.parametrize(
    "changed",
    [
        lambda: place_order(reserve.named("other"), charge),
        lambda: place_order(charge, reserve),
        lambda: place_order(parallel(reserve, charge)),
        lambda: place_order(sequence(reserve), charge),
        lambda: place_order(reserve, pivot, charge),
        lambda: place_order(reserve, pivot(charge)),
        lambda: place_order(reserve, charge, version="2"),
        lambda: place_order(reserve, charge, deadline=60),
        lambda: place_order(reserve, charge, output=charge),
        lambda: place_order(reserve, charge, sleep(1)),
        lambda: Saga("other", reserve, charge, input=Order),
    ],
)
def test_what_matters_for_running_changes_the_fingerprint(changed: Any) -> None:
    assert changed().plan.fingerprint != place_order(reserve, charge).plan.fingerprint


def test_a_policy_is_part_of_the_plan() -> None:
    def build(**options: Any) -> Plan:
        @step(readonly=True, **options)
        def look(order: Order) -> None: ...

        return place_order(look).plan

    plans = [build(), build(timeout=3), build(retry=Retry(attempts=2)), build(retry=Retry(jitter=0))]

    assert len({plan.fingerprint for plan in plans}) == 4


def test_after_the_pivot_there_is_no_last_attempt() -> None:
    plan = place_order(reserve, pivot, charge).plan

    assert plan.step("reserve").retry.attempts == 5
    assert plan.step("charge").retry.attempts is None
    assert not plan.step("charge").compensated


def test_a_plan_holds_names_only() -> None:
    names = {node.address for node in walk(every_node.build().plan.root) if hasattr(node, "address")}

    assert {"look", "book_hotel", "register", "again", "once-more", "pay", "greet-twice"} <= names
    assert "object at 0x" not in every_node.build().plan.json
