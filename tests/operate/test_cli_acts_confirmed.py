"""Acts for one version, once under an id, looked at before, with changed arguments; and who sees to a saga."""

from __future__ import annotations

import shlex

import pytest
from shop_floor import TEA, Floor

ORDERS = "--database=sqlite:///orders.db"
WHY = "--reason=the bank is back"


def version(floor: Floor, name: str) -> int:
    """The version that a saga is at."""
    found: int = floor.ok("show", name, ORDERS, "--json").data["state_version"]
    return found


def test_what_an_act_would_do_is_printed_and_nothing_is_done(floor: Floor) -> None:
    floor.park("order-1")

    told = floor.ok("compensate", "order-1", WHY, "--dry-run", ORDERS)
    data = floor.ok("compensate", "order-1", WHY, "--dry-run", ORDERS, "--json").data
    refused = floor.amends("retry", "order-1", "ship", WHY, "--dry-run", ORDERS)
    none = floor.amends("skip", "order-9", "ship", WHY, "--dry-run", ORDERS)

    now = version(floor, "order-1")
    assert told.out.splitlines() == [
        f"order-1: compensate would be accepted at version {now}",
        "  undoes charge_card",
        "  undoes reserve_stock",
        "The saga would be compensating at once. Nothing was done.",
    ]
    assert (data["answer"], data["state_version"], data["status_after"]) == ("would be accepted", now, "compensating")
    assert [effect["step"] for effect in data["effects"]] == ["charge_card", "reserve_stock"]
    assert (refused.code, none.code) == (5, 6)
    assert "retry would be refused: ship is pending" in refused.err
    assert floor.ok("show", "order-1", ORDERS, "--json").data["waiting_mail"] == 0


def test_what_show_offers_is_for_the_version_that_it_shows(floor: Floor) -> None:
    floor.park("order-1")
    data = floor.ok("show", "order-1", ORDERS, "--json").data
    shown = floor.ok("show", "order-1", ORDERS).out
    first, *_, last = (shlex.split(entry["command"])[1:] for entry in data["next"])

    with floor.worker():
        floor.ok("assign", "order-1", "ada", ORDERS)
        done = floor.amends(*first, ORDERS)
        floor.wait_for(lambda: floor.ok("show", "order-1", ORDERS, "--json").data["status"] == "completed")
        late = floor.amends(*last, ORDERS)

    assert f"version  {data['state_version']}" in shown
    assert f"--if-version={data['state_version']}" in first
    assert all(entry["effect"] for entry in data["next"])
    assert (done.code, late.code) == (0, 5)


def test_an_act_for_another_version_is_refused_with_a_code_of_its_own(floor: Floor) -> None:
    floor.park("order-1")
    seen = version(floor, "order-1")
    floor.touch("bank-down")

    with floor.worker():
        floor.ok("retry", "order-1", "charge_card", WHY, f"--if-version={seen}", ORDERS)
        floor.wait_for(lambda: version(floor, "order-1") >= seen + 2)
        late = floor.amends("unpark", "order-1", WHY, f"--if-version={seen}", ORDERS, "--json")

    assert late.code == 5
    assert '"changed"' in late.err
    assert f"you looked at {seen}; look again" in late.err


def test_the_same_message_id_counts_once(floor: Floor) -> None:
    floor.park("order-1")

    with floor.worker():
        first = floor.ok("retry", "order-1", "charge_card", WHY, "--message-id=click-1", ORDERS)
        again = floor.ok("retry", "order-1", "charge_card", WHY, "--message-id=click-1", ORDERS)
        other = floor.amends("unpark", "order-1", WHY, "--message-id=click-1", ORDERS)

    assert first.out == again.out
    assert (other.code, "belongs to something else" in other.err) == (5, True)


def test_a_step_is_retried_with_changed_arguments(floor: Floor) -> None:
    floor.touch("no-lorry")
    floor.ok("start", "shop:place_order", TEA, "--id=order-1")
    with floor.worker():
        floor.wait_for(lambda: floor.ok("show", "order-1", ORDERS, "--json").data["status"] == "parked")
        floor.remove("no-lorry")
        wrong = floor.amends("retry", "order-1", "ship", "--with", '{"payment": 7}', WHY, ORDERS)
        no_json = floor.amends("retry", "order-1", "ship", "--with", "{", WHY, ORDERS)
        alone = floor.amends("retry", "order-1", "ship", "--nothing-stayed", WHY, ORDERS)
        floor.ok("retry", "order-1", "ship", "--with", '{"payment": {"receipt": "R-2"}}', WHY, ORDERS)
        floor.wait_for(lambda: floor.ok("show", "order-1", ORDERS, "--json").data["status"] == "completed")
        data = floor.ok("show", "order-1", ORDERS, "--json").data

    assert (wrong.code, no_json.code, alone.code) == (5, 2, 2)
    assert "ship: payment: it does not fit Payment" in wrong.err
    assert [line["value"] for line in data["history"] if line["event"] == "given"] == [{"payment": {"receipt": "R-2"}}]
    assert next(step["round"] for step in data["steps"] if step["step"] == "ship") == 2


def test_who_sees_to_a_saga_and_a_note_are_listed_and_shown(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    floor.park("order-1")
    monkeypatch.setenv("AMENDS_ACTOR", "ada")

    with floor.worker():
        mine = floor.ok("assign", "order-1", ORDERS)
        noted = floor.ok("note", "order-1", "the bank calls back", ORDERS)
        empty = floor.amends("note", "order-1", " ", ORDERS)
        both = floor.amends("assign", "order-1", "bob", "--nobody", ORDERS)
        listed, shown = floor.ok("list", ORDERS).out, floor.ok("show", "order-1", ORDERS).out
        nobody = floor.ok("assign", "order-1", "--nobody", "--reason=my shift is over", ORDERS)

    assert (mine.out, noted.out) == ("order-1: assign accepted\n", "order-1: note accepted\n")
    assert (empty.code, both.code) == (5, 2)
    assert "ASSIGNED" in listed.splitlines()[0]
    assert listed.splitlines()[1].endswith("ada")
    assert "assigned ada" in shown
    assert "note     the bank calls back" in shown
    assert nobody.out == "order-1: assign accepted: it was assigned to ada before\n"
    assert "ASSIGNED" not in floor.ok("list", ORDERS).out
