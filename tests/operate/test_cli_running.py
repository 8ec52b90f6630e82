"""`run`, `start` and `graph` in one process: what they end with, print and draw."""

from __future__ import annotations

import re

from shop_floor import TEA, Floor

ORDERS = "--database=sqlite:///orders.db"


def test_a_run_ends_with_a_code_for_each_outcome(floor: Floor) -> None:
    completed = floor.order("order-1")
    compensated = floor.order("order-2", "declined")
    floor.touch("bank-down")
    parked = floor.order("order-3")

    assert (completed.code, compensated.code, parked.code) == (0, 3, 4)
    assert completed.out.splitlines()[-1] == 'order-1 completed: {"code":"S-1"}'
    assert compensated.out.splitlines()[-1] == "order-2 compensated: charge_card: the card was declined"
    assert "\norder-3 parked: charge_card: the bank does not answer\n" in parked.out


def test_through_a_pipe_a_run_tells_its_history_line_by_line(floor: Floor) -> None:
    lines = floor.order("order-1").out.splitlines()

    assert all(re.match(r"  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  ", line) for line in lines[:-1])
    told = [line[27:].split("  ")[0] for line in lines[:-1]]
    assert told[:5] == [
        "started",
        "reserve_stock: attempt 1",
        "reserve_stock succeeded",
        "charge_card: attempt 1",
        "charge_card succeeded",
    ]
    assert told[-1] == "completed"


def test_the_shapes_of_outcomes(floor: Floor) -> None:
    def outcome(name: str, sku: str) -> object:
        return floor.amends("run", "shop:place_order", f'{{"sku": "{sku}"}}', f"--id={name}", "--json").data

    assert outcome("order-1", "tea") == {
        "id": "order-1",
        "saga": "place-order",
        "status": "completed",
        "result": {"code": "S-1"},
        "reason": None,
        "cause": None,
        "step": None,
        "unsettled": [],
        "not_reached": [],
        "closed": [],
    }
    assert outcome("order-2", "declined") == {
        "id": "order-2",
        "saga": "place-order",
        "status": "compensated",
        "result": None,
        "reason": "charge_card: the card was declined",
        "cause": "rejected",
        "step": "charge_card",
        "unsettled": [],
        "not_reached": [],
        "closed": [],
    }
    floor.touch("undo-broken")
    assert outcome("order-3", "declined") == {
        "id": "order-3",
        "saga": "place-order",
        "status": "parked",
        "result": None,
        "reason": "the undo of reserve_stock: the shelf is gone",
        "cause": "rejected",
        "step": "charge_card",
        "unsettled": [{"step": "reserve_stock", "action": "succeeded", "undo": "stuck", "reason": "the shelf is gone"}],
        "not_reached": ["ship", "send_receipt"],
        "closed": [],
    }


def test_a_run_that_is_not_waited_for_any_more_leaves_its_saga_open(floor: Floor) -> None:
    result = floor.amends("run", "shop:trip", TEA, "--id=trip-1", "--timeout=1")

    assert result.code == 9
    assert "trip-1 has not ended within 1 s; it goes on where a worker runs: amends show trip-1" in result.err
    assert floor.ok("show", "trip-1", ORDERS, "--json").data["status"] == "running"


def test_a_graph_of_a_saga_of_an_orchestrator_and_of_one_in_the_store(floor: Floor) -> None:
    floor.order("order-1", "declined")

    saga = floor.ok("graph", "shop:place_order").out
    both = floor.ok("graph", "shop:orchestrator").out
    named = floor.ok("graph", "shop:orchestrator", "trip").out
    stored = floor.ok("graph", "--id=order-1", ORDERS).out

    assert saga.splitlines() == [
        "place-order",
        "├─ reserve_stock    compensatable",
        "├─ charge_card      compensatable",
        "├─ pivot            the point of no return",
        "└─ parallel",
        "   ├─ ship          retriable",
        "   └─ send_receipt  retriable",
    ]
    assert both == f"{saga}\n{named}"
    assert named.splitlines()[0] == "trip"
    assert "├─ reserve_stock    compensatable           ↩ compensated" in stored
    assert "├─ charge_card      compensatable           ✗ rejected  the card was declined" in stored


def test_a_graph_shows_how_each_parameter_is_filled(floor: Floor) -> None:
    shown = floor.ok("graph", "shop:place_order", "--bindings").out

    assert re.search(r"^step charge_card +stock +Stock \(the result of reserve_stock\)$", shown, re.MULTILINE)
    assert re.search(r"^the compensation of reserve_stock +stock +Stock .*may be missing\)$", shown, re.MULTILINE)


def test_a_graph_for_mermaid_and_for_scripts(floor: Floor) -> None:
    floor.order("order-1")

    chart = floor.ok("graph", "shop:place_order", "--mermaid").out
    stored = floor.ok("graph", "--id=order-1", ORDERS, "--mermaid").out
    plan = floor.ok("graph", "shop:place_order", "--json").data

    assert chart.startswith("flowchart TD\n")
    assert "classDef succeeded" in stored
    assert set(plan) == {"name", "version", "output", "deadline", "input", "root", "fingerprint"}
    assert floor.ok("show", "order-1", ORDERS, "--json").data["fingerprint"] == plan["fingerprint"]


def test_nothing_to_draw_is_a_usage_error(floor: Floor) -> None:
    result = floor.amends("graph")

    assert result.code == 2
    assert "name what to draw" in result.err
