"""`list`, `show`, `stuck`, `graph`, `db` and `doctor`: what they find and the shapes they print."""

from __future__ import annotations

import re
from typing import Any

import pytest
from shop_floor import TEA, Floor

ORDERS = "--database=sqlite:///orders.db"
MANY = """

@step
async def wipe(number: int) -> None:
    if number != 70:
        raise Park("it is locked")


@wipe.compensation
async def unwipe(number: int) -> None: ...


def numbers(order: Order) -> list[int]:
    return list(range(120))


many = Saga("many", for_each(wipe, over=numbers), input=Order)
crowd = Orchestrator("sqlite:///many.db", sagas=[many])
"""
CHANGING = ("fingerprint", "error_fingerprint", "state_version")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def still(data: Any) -> Any:
    """JSON data with what differs from run to run taken out."""
    if isinstance(data, dict):
        return {key: "…" if key in CHANGING and value else still(value) for key, value in data.items()}
    if isinstance(data, list):
        return [still(value) for value in data]
    return "AT" if isinstance(data, str) and INSTANT.fullmatch(data) else data


def test_sagas_are_listed_newest_first_with_why_they_went_back(floor: Floor) -> None:
    floor.order("order-1")
    floor.order("order-2", "declined")

    lines = floor.ok("list", ORDERS).out.splitlines()

    assert lines[0].split() == ["ID", "SAGA", "STATUS", "STARTED", "(UTC)", "WHY"]
    assert re.fullmatch(r"order-2 +place-order +compensated +\S+ \S+ +charge_card: the card was declined", lines[1])
    assert re.fullmatch(r"order-1 +place-order +completed +\S+ \S+", lines[2])


def test_a_list_is_filtered_by_status_and_by_definition(floor: Floor) -> None:
    floor.order("order-1")
    floor.order("order-2", "declined")
    floor.ok("start", "shop:trip", TEA, "--id=trip-1")

    def ids(*args: str) -> list[str]:
        return [saga["id"] for saga in floor.ok("list", ORDERS, "--json", *args).data["sagas"]]

    assert ids() == ["trip-1", "order-2", "order-1"]
    assert ids("--status=completed", "--status=running") == ["trip-1", "order-1"]
    assert ids("--saga=place-order") == ["order-2", "order-1"]
    assert ids("--saga=place-order", "--status=running") == []


def test_a_list_goes_on_with_the_command_that_it_prints(floor: Floor) -> None:
    for number in range(5):
        floor.ok("start", "shop:trip", TEA, f"--id=trip-{number}")

    first = floor.ok("list", ORDERS, "--limit=2", "--saga=trip")
    command = first.err.removeprefix("There are more: amends ").split()
    second = floor.ok(*command)
    last = floor.ok("list", ORDERS, "--limit=2", "--before=trip-1", "--json").data

    assert [line.split()[0] for line in first.out.splitlines()[1:]] == ["trip-4", "trip-3"]
    assert [line.split()[0] for line in second.out.splitlines()[1:]] == ["trip-2", "trip-1"]
    assert [saga["id"] for saga in last["sagas"]] == ["trip-0"]
    assert last["more"] is False


def test_the_shape_of_a_list(floor: Floor) -> None:
    floor.order("order-1", "declined")

    data = floor.ok("list", ORDERS, "--json").data

    assert still(data) == {
        "sagas": [
            {
                "id": "order-1",
                "saga": "place-order",
                "status": "compensated",
                "started_at": "AT",
                "changed_at": "AT",
                "due_at": None,
                "worker": None,
                "reason": "charge_card: the card was declined",
                "stuck": None,
                "stalled": None,
                "stranded": None,
                "home": None,
                "silent": None,
                "holder": None,
                "error_fingerprint": "…",
                "error_step": "charge_card",
                "state_version": "…",
                "assigned": None,
                "note": None,
            }
        ],
        "more": False,
        "next": None,
    }


def test_the_shape_of_a_saga(floor: Floor) -> None:
    floor.park("order-1")

    data = still(floor.ok("show", "order-1", ORDERS, "--json").data)

    history, steps, following = data.pop("history"), data.pop("steps"), data.pop("next")
    assert data == {
        "id": "order-1",
        "saga": "place-order",
        "status": "parked",
        "started_at": "AT",
        "changed_at": "AT",
        "due_at": None,
        "worker": None,
        "reason": "charge_card: the bank does not answer",
        "stuck": "charge_card: the bank does not answer",
        "stalled": None,
        "stranded": "no worker is alive",
        "home": None,
        "silent": None,
        "holder": None,
        "error_fingerprint": "…",
        "error_step": "charge_card",
        "state_version": "…",
        "assigned": None,
        "note": None,
        "version": None,
        "fingerprint": "…",
        "deadline": None,
        "input": {"sku": "tea", "quantity": 1},
        "result": None,
        "pivot_passed": False,
        "unsettled": [
            {"step": "reserve_stock", "action": "succeeded", "undo": None, "reason": None},
            {"step": "charge_card", "action": "stuck", "undo": None, "reason": "the bank does not answer"},
        ],
        "not_reached": ["ship", "send_receipt"],
        "closed": [],
        "waiting_mail": 0,
    }
    assert [step["step"] for step in steps] == ["reserve_stock", "charge_card", "ship", "send_receipt"]
    assert [line["event"] for line in history[-2:]] == ["stuck", "parked"]
    assert [(entry["verb"], entry["step"], entry["needs_value"]) for entry in following] == [
        ("retry", "charge_card", False),
        ("unpark", None, False),
        ("resolve", "charge_card", True),
        ("compensate", None, False),
    ]
    assert following[0]["command"] == f"amends retry order-1 charge_card {ORDERS} --reason='say why' --if-version=3"
    assert (following[0]["effect"], following[0]["may_change"]) == ("calls charge_card, and the saga goes on", True)


def test_the_shapes_of_a_step_and_of_a_line_of_history(floor: Floor) -> None:
    floor.park("order-1")

    data = still(floor.ok("show", "order-1", ORDERS, "--json").data)

    assert data["steps"][1] == {
        "step": "charge_card",
        "kind": "step",
        "place": "before",
        "status": "stuck",
        "action": "stuck",
        "undo": None,
        "attempts": 1,
        "undo_attempts": 0,
        "round": 1,
        "due_at": None,
        "reason": "the bank does not answer",
        "result": None,
        "items": None,
        "contract": None,
    }
    assert data["history"][-2] == {
        "at": "AT",
        "event": "stuck",
        "text": "charge_card is stuck: the bank does not answer",
        "step": "charge_card",
        "phase": "action",
        "attempt": 1,
        "round": 1,
        "worker": 1,
        "actor": None,
        "reason": "the bank does not answer",
        "value": None,
    }


def test_a_completed_saga_shows_its_result_and_its_history(floor: Floor) -> None:
    floor.order("order-1")

    shown = floor.ok("show", "order-1", ORDERS).out

    assert "order-1  place-order  completed" in shown
    assert re.search(r'^  input +\{"sku":"tea","quantity":1\}', shown, re.MULTILINE)
    assert re.search(r'^  result +\{"code":"S-1"\}', shown, re.MULTILINE)
    history = [line[27:] for line in shown.partition("History (UTC)\n")[2].splitlines()]
    assert history[0].startswith("started")
    assert history[1:5] == [
        "reserve_stock: attempt 1",
        'reserve_stock succeeded  {"number":7}',
        "charge_card: attempt 1",
        'charge_card succeeded  {"receipt":"R-1"}',
    ]
    assert history[5] == "the pivot is passed: only forward from here"
    assert history[-1] == "completed"
    assert "What you can do now" not in shown


def test_a_compensated_saga_shows_why_and_what_was_undone(floor: Floor) -> None:
    floor.order("order-1", "declined")

    shown = floor.ok("show", "order-1", ORDERS).out

    assert re.search(r"^  reason +charge_card: the card was declined$", shown, re.MULTILINE)
    assert re.search(r"^  reserve_stock +step +compensated +1 +the action had succeeded", shown, re.MULTILINE)
    assert "charge_card said no: the card was declined" in shown
    assert "goes back, since charge_card said no: the card was declined" in shown
    assert "reserve_stock is undone" in shown
    assert shown.rstrip().endswith("compensated: everything that was done is undone")


def test_of_very_many_steps_a_person_sees_the_first_and_how_to_see_the_rest(floor: Floor) -> None:
    with (floor.directory / "shop.py").open("a") as source:
        source.write(MANY)
    assert floor.amends("run", "shop:many", TEA, "--id=many-1").code == 4
    here = "--database=sqlite:///many.db"

    short = floor.ok("show", "many-1", here).out
    whole = floor.ok("show", "many-1", here, "--all").out

    assert len(short.splitlines()) < 450
    assert not re.search(r"^  wipe\[\d+\] +step +(succeeded|compensated)", short, re.MULTILINE)
    assert "… 60 more; --all shows them" in short
    assert "older lines; --all shows them" in short
    assert len([line for line in short.splitlines() if line.startswith("  amends retry ")]) == 3
    assert "the same goes for wipe[3], wipe[4]" in short
    assert len([line for line in whole.splitlines() if re.match(r"  wipe\[\d+\] +step +stuck", line)]) == 119
    assert "more; --all" not in whole


def test_a_waiting_saga_shows_the_signal_to_send(floor: Floor) -> None:
    with floor.worker():
        floor.ok("start", "shop:trip", TEA, "--id=trip-1")
        floor.wait_for(lambda: "waits for the signal" in floor.ok("show", "trip-1", ORDERS).out)

        shown = floor.ok("show", "trip-1", "--app=shop:orchestrator").out
        without_code = floor.ok("show", "trip-1", ORDERS).out

    assert re.search(r"^  approval +wait +waiting", shown, re.MULTILINE)
    assert """  amends signal trip-1 approval '{"granted":true}' --app=shop:orchestrator""" in shown
    assert f"  amends signal trip-1 approval '{{}}' {ORDERS}" in without_code


def test_a_stalled_saga_says_why_no_worker_runs_it(floor: Floor) -> None:
    floor.park("order-1")
    source = (floor.directory / "shop.py").read_text()
    changed = source.replace('"place-order", reserve_stock, charge_card', '"place-order", charge_card, reserve_stock')
    changed = changed.replace("charge_card(order: Order, stock: Stock)", "charge_card(order: Order)")
    (floor.directory / "later.py").write_text(changed)

    with floor.worker("later"):
        floor.amends("retry", "order-1", "charge_card", "--reason=x", ORDERS, "--timeout=0.2")
        floor.wait_for(lambda: floor.ok("list", ORDERS, "--json").data["sagas"][0]["stalled"] is not None)
        stuck = floor.ok("stuck", ORDERS, "--json").data
        shown = floor.ok("show", "order-1", ORDERS).out

    assert stuck["sagas"][0]["trouble"] == "stalled"
    assert re.search(r"^  stalled +.*it goes on when a worker with a fitting definition comes", shown, re.MULTILINE)


def test_everything_that_waits_for_somebody_is_among_the_stuck(floor: Floor) -> None:
    floor.park("parked-1")
    floor.ok("start", "shop:trip", TEA, "--id=stranded-1")

    without_worker = floor.ok("stuck", ORDERS, "--json").data
    with floor.worker():
        floor.wait_for(lambda: floor.ok("show", "stranded-1", ORDERS, "--json").data["steps"][1]["status"] == "waiting")
        with_worker = floor.ok("stuck", ORDERS, "--json").data

    assert [(line["id"], line["trouble"]) for line in without_worker["sagas"]] == [
        ("parked-1", "parked"),
        ("stranded-1", "stranded"),
    ]
    assert without_worker["sagas"][1]["why"] == "no worker is alive"
    assert [(line["id"], line["trouble"], line["why"]) for line in with_worker["sagas"]] == [
        ("parked-1", "parked", "charge_card: the bank does not answer"),
        ("stranded-1", "waiting", "for the signal approval"),
    ]


def test_stuck_ends_with_its_own_code_only_if_asked_and_only_for_the_kinds_asked_for(floor: Floor) -> None:
    floor.park("order-1")

    assert floor.amends("stuck", ORDERS).code == 0
    assert floor.amends("stuck", ORDERS, "--exit-code").code == 10
    assert floor.amends("stuck", ORDERS, "--exit-code", "--trouble=parked").code == 10
    assert floor.amends("stuck", ORDERS, "--exit-code", "--trouble=stalled").code == 0


def test_doctor_ends_with_the_worst_of_what_it_found(floor: Floor) -> None:
    floor.order("order-1")

    with floor.worker():
        healthy = floor.amends("doctor", ORDERS, "--json")
    alone = floor.amends("doctor", ORDERS, "--json")
    (floor.directory / "torn.db").write_bytes(b"this is no database at all, whatever its name may say. " * 50)
    torn = floor.amends("doctor", "--database=sqlite:///torn.db", "--json")

    assert (healthy.code, healthy.data["worst"]) == (0, "ok")
    assert (alone.code, alone.data["worst"]) == (10, "warning")
    assert (torn.code, torn.data["worst"]) == (11, "error")
    assert {"library", "integrity", "schema", "lag", "mail", "software", "workers", "sagas"} <= {
        finding["what"] for finding in healthy.data["findings"]
    }
    assert "none is alive" in str(alone.data)


@pytest.mark.parametrize("verb", [("list",), ("stuck",), ("show", "x"), ("retry", "x", "y", "--reason=z")])
def test_a_database_that_is_not_there_is_an_error_and_not_a_new_file(floor: Floor, verb: tuple[str, ...]) -> None:
    result = floor.amends(*verb, "--database=sqlite:///typo.db")

    assert result.code == 7
    assert "typo.db: there is no such file" in result.err
    assert list(floor.directory.glob("*.db")) == []


def test_what_the_environment_names_need_not_be_named_again(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    floor.park("order-1")
    monkeypatch.setenv("AMENDS_APP", "shop:orchestrator")

    shown = floor.ok("show", "order-1").out

    assert "  amends retry order-1 charge_card --reason='say why'" in shown
