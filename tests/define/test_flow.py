"""A flow is declared in lines that read as what happens, and is right once it is built."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from amends import Flow, Service
from amends.decide.flows import EventName, Expectation, flow_from
from amends.errors import DefinitionError


@dataclass(frozen=True)
class Told:
    """An event's data."""

    order: str


orders, inventory = Service("orders"), Service("inventory")
placed = orders.event("placed", Told)
cancelled = orders.event("cancelled", Told)
reserved = inventory.event("reserved", Told)
short = inventory.event("short", Told)


def test_a_flow_is_a_plain_value_of_what_each_event_leads_to_and_by_when() -> None:
    flow = Flow(
        "order",
        placed.leads_to(reserved, short, within=30),
        short.leads_to(cancelled, within=timedelta(minutes=2)),
    )

    assert flow.plan.expectations == (
        Expectation(
            EventName("orders", "placed"), (EventName("inventory", "reserved"), EventName("inventory", "short")), 30.0
        ),
        Expectation(EventName("inventory", "short"), (EventName("orders", "cancelled"),), 120.0),
    )
    assert flow_from(flow.plan.json) == flow.plan
    assert repr(flow) == "Flow('order')"


def test_the_same_flow_declared_twice_has_one_fingerprint_and_another_has_another() -> None:
    lines = placed.leads_to(reserved, within=30), placed.leads_to(reserved, within=30.0)

    first, second = (Flow("order", line).plan.fingerprint for line in lines)

    assert first == second
    assert first != Flow("order", placed.leads_to(reserved, within=31)).plan.fingerprint


@pytest.mark.parametrize("name", ["", "an order", 7])
def test_a_flow_needs_a_name_that_can_be_stored(name: Any) -> None:
    with pytest.raises(DefinitionError, match=r"Flow\(…\)"):
        Flow(name, placed.leads_to(reserved, within=30))


def test_a_flow_that_expects_nothing_is_refused() -> None:
    with pytest.raises(DefinitionError, match="flow 'order': it expects nothing"):
        Flow("order")


def test_a_line_that_is_none_is_refused() -> None:
    line: Any = placed

    with pytest.raises(DefinitionError, match=r"a line such as placed\.leads_to\(reserved, within=30\) is expected"):
        Flow("order", line)


def test_what_cannot_be_right_of_the_whole_is_said_all_at_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        Flow(
            "order",
            placed.leads_to(reserved, within=30),
            placed.leads_to(reserved, within=60),
            short.leads_to(cancelled, within=30),
        )

    assert str(caught.value) == (
        "flow 'order': inventory.reserved is expected twice after orders.placed; nothing leads from orders.placed, "
        "which begins it, to inventory.short"
    )


def test_an_event_leads_to_something_that_is_an_event() -> None:
    with pytest.raises(DefinitionError, match=r"orders\.placed\.leads_to\(…\): it leads to nothing"):
        placed.leads_to(within=30)
    something: Any = "inventory.reserved"
    with pytest.raises(DefinitionError, match=r"an event is expected, as Service\.event\(…\) gives"):
        placed.leads_to(something, within=30)


@pytest.mark.parametrize("within", [0, -1, float("inf"), float("nan"), "30s", True, None])
def test_the_time_within_which_something_is_expected_is_a_duration(within: Any) -> None:
    with pytest.raises(DefinitionError, match=r"orders\.placed\.leads_to\(…\).*within="):
        placed.leads_to(reserved, within=within)
