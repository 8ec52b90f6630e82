"""What else a person does on the pages: one saga in every other way, and many at once by every verb."""

from __future__ import annotations

import pytest
from browser_desk import Desk
from playwright.sync_api import Page, expect
from scene import FAULTS, Order, Trip, book_trip, place_order
from test_pages_in_a_browser import serious

MANY = 3


def test_all_that_is_stuck_is_tried_again_and_one_that_waits_goes_back(act: Desk) -> None:
    act.shop.wait(act.shop.scene.park(1))
    act.shop.wait(act.shop.scene.orchestrator.start(book_trip, Trip("Ada", ["Athens"]), id="trip-1"))
    page = act.open("/sagas/order-1/act?verb=unpark", "operator")

    page.get_by_role("heading", name="Try all that is stuck again").wait_for()
    assert serious(page) == []
    page.locator("#reason").fill("the key was renewed")
    page.get_by_role("button", name="Try again now").click()
    page.locator("h1 + .status", has_text="completed").wait_for()

    page.goto(f"{act.shop.url}/sagas/trip-1")
    page.locator(".act", has_text="Go back and undo what was done").click()
    page.locator("#reason").fill("Ada is ill")
    page.get_by_role("button", name="Compensate").click()
    page.locator("h1 + .status", has_text="compensated").wait_for()
    assert serious(page) == []
    assert [reason for _, _, reason in act.shop.acts("trip-1")] == ["Ada is ill"]


def test_a_saga_is_given_to_somebody_and_to_nobody(act: Desk) -> None:
    act.shop.wait(act.shop.scene.park(1))
    page = act.open("/sagas/order-1", "operator")

    page.locator("#person").fill("Grace")
    page.get_by_role("button", name="Assign", exact=True).click()
    page.get_by_text("It is assigned.").wait_for()
    page.locator(".byline", has_text="with Grace").wait_for()
    page.locator("#person").fill("")
    page.get_by_role("button", name="Assign", exact=True).click()
    page.get_by_text("It is assigned.").wait_for()

    expect(page.locator(".byline", has_text="with Grace")).to_have_count(0)
    assert act.shop.show("order-1").line.assigned == ""


def test_who_may_only_look_is_offered_nothing(act: Desk) -> None:
    act.shop.wait(act.shop.scene.park(1))
    page = act.open("/sagas/order-1", "viewer")

    page.get_by_text("Acting takes an operator; you may look.").wait_for()
    assert page.locator("a.act, main form").count() == 0
    page.goto(f"{act.shop.url}/sagas")
    page.get_by_role("link", name="order-1").wait_for()
    assert page.locator("[data-pick]").count() == 0


def begun(page: Page, url: str, verb: str, *, which: str = "status=parked", **given: str) -> None:
    """A bulk operation, begun on the pages for all parked sagas, or others."""
    page.goto(f"{url}/sagas?{which}")
    page.get_by_role("link", name="Repair all that fit").click()
    page.locator(f"input[name=verb][value={verb}]").check()
    for field, value in given.items():
        page.locator(f"#{field}").fill(value)
    page.get_by_role("button", name="See what it would do").click()
    page.locator("#reason").fill("seen together")
    page.get_by_role("button", name=f": {MANY} sagas").click()
    page.wait_for_url("**/bulk/*")


@pytest.mark.parametrize(
    ("verb", "given", "ends"),
    [
        ("resolve", {"on": "charge_card", "value": '{"receipt": "by hand"}'}, "completed"),
        ("compensate", {}, "compensated"),
        ("cancel", {}, "compensated"),
        ("assign", {"text": "Grace"}, "parked"),
        ("note", {"text": "the bank was called"}, "parked"),
    ],
)
def test_many_are_repaired_by_every_verb(act: Desk, verb: str, given: dict[str, str], ends: str) -> None:
    ids = act.shop.wait(act.shop.scene.park(MANY))
    page = act.open("/", "operator")

    begun(page, act.shop.url, verb, **given)

    page.locator("h1 + .status", has_text="done").wait_for()
    for id_ in ids:
        act.shop.ended(id_, ends)
    assert page.locator("tbody tr", has_text="accepted").count() == MANY
    assert "Olga" in {line.actor for line in act.shop.wait(act.shop.desk.history(ids[0]))}


def test_all_that_wait_for_an_approval_are_answered_at_once(act: Desk) -> None:
    trips = [f"trip-{number}" for number in range(1, MANY + 1)]
    for id_ in trips:
        act.shop.wait(act.shop.scene.orchestrator.start(book_trip, Trip("Ada", ["Athens"]), id=id_))
    page = act.open("/stuck?trouble=waiting", "operator")
    for id_ in trips:
        page.get_by_role("link", name=id_).wait_for()

    begun(page, act.shop.url, "signal", which="trouble=waiting", on="approval", value='{"granted": true}')

    page.locator("h1 + .status", has_text="done").wait_for()
    assert serious(page) == []
    for id_ in trips:
        act.shop.ended(id_, "completed")
    said = [line.text for line in act.shop.wait(act.shop.desk.history("trip-1")) if line.actor == "Olga"]
    assert said[-1].startswith("the signal approval is here: seen together (bulk ")


def test_many_are_skipped_past_an_undo_that_fails(act: Desk) -> None:
    FAULTS.add("warehouse")
    for number in range(MANY):
        act.shop.wait(act.shop.scene.orchestrator.run(place_order, Order("declined"), id=f"refund-{number}"))
    page = act.open("/", "operator")

    begun(page, act.shop.url, "skip", on="reserve_stock")

    page.locator("h1 + .status", has_text="done").wait_for()
    for number in range(MANY):
        act.shop.ended(f"refund-{number}", "compensated")


def test_a_bulk_operation_is_cancelled_and_its_results_are_looked_through(act: Desk) -> None:
    act.shop.wait(act.shop.scene.park(MANY))
    page = act.open("/sagas?status=parked")

    page.get_by_role("link", name="Repair all that fit").click()
    page.get_by_role("button", name="See what it would do").click()
    page.locator("#reason").fill("not yet")
    page.get_by_label("begin paused").check()
    page.get_by_role("button", name=f"Try all that is stuck again: {MANY} sagas").click()
    page.locator("h1 + .status", has_text="paused").wait_for()
    assert serious(page) == []
    page.get_by_role("button", name="Cancel").click()
    page.locator("h1 + .status", has_text="cancelled").wait_for()
    page.get_by_role("link", name="to come").click()

    expect(page.locator("tbody tr", has_text="to come")).to_have_count(MANY)
    page.get_by_role("link", name="accepted", exact=True).click()
    page.get_by_text("None of these.").wait_for()
    assert act.shop.show("order-1").line.status == "parked"


def test_a_list_is_narrowed_and_ticked(look: Desk) -> None:
    page = look.open("/sagas")

    page.locator("summary", has_text="More filters").click()
    page.get_by_label("Saga", exact=True).select_option("book-trip")
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**saga=book-trip**")
    assert sorted(page.locator("tbody .id").all_inner_texts()) == ["trip-1", "trip-2"]
    page.locator("[data-pick-all]").check()
    page.get_by_text("2 ticked").wait_for()
    page.get_by_role("link", name="Clear all").click()
    page.get_by_role("link", name="gift-1").wait_for()
