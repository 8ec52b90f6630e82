"""What a person does in a real browser, while sagas run: each act, many at once, and all without a script too."""

from __future__ import annotations

import pytest
from browser_desk import Desk
from scene import FAULTS, Order, Trip, book_trip, place_order


def test_a_parked_saga_is_found_understood_and_repaired_and_the_page_follows(act: Desk) -> None:
    act.shop.wait(act.shop.scene.park(2))
    page = act.open("/", "operator")

    page.get_by_role("link", name="See these 2").click()
    page.get_by_role("link", name="order-1").click()
    assert "the bank refuses our key" in page.locator("#stand").inner_text()
    page.get_by_role("link", name="Try charge_card again Calls").click()
    assert "Calls charge_card." in page.locator(".effects").inner_text()
    page.locator("#reason").fill("the key was renewed")
    page.get_by_role("button", name="Try again now").click()

    page.get_by_text("Accepted: Try charge_card again.").wait_for()
    page.locator("h1 + .status", has_text="completed").wait_for()
    assert act.shop.acts("order-1") == [
        ("Olga", "Olga: retry charge_card, because: the key was renewed", "the key was renewed")
    ]


def test_what_a_person_is_using_stays_as_it_is_while_the_page_follows(act: Desk) -> None:
    act.shop.wait(act.shop.scene.park(1))
    page = act.open("/sagas/order-1")
    page.get_by_label("Note in its history").fill("half a sen")
    page.locator("details", has_text="result").first.locator("summary").click()
    page.get_by_label("Note in its history").focus()

    act.shop.wait(act.shop.desk.retry("order-1", "charge_card", actor="Bob"))
    page.locator("h1 + .status", has_text="completed").wait_for()

    assert page.locator("details[open]").count() == 1
    assert page.get_by_label("Note in its history").count() == 0  # an ended saga takes none
    assert page.locator(".live").get_attribute("data-state") == "on"


def test_a_list_does_not_move_under_a_persons_hand_and_says_that_there_is_more(act: Desk) -> None:
    act.shop.wait(act.shop.scene.park(2))
    page = act.open("/sagas")
    page.locator("[data-pick]").first.check()

    act.shop.wait(act.shop.scene.park(1, "later"))
    page.get_by_text("The list has changed (1 new)").wait_for()

    assert page.locator("tbody tr").count() == 2
    assert page.locator("[data-pick]").first.is_checked()
    page.get_by_text("The list has changed").click()
    page.get_by_role("link", name="later-1").wait_for()


@pytest.mark.parametrize(
    ("link", "button", "value", "ends"),
    [
        ("charge_card was done by hand", "It was done by hand", '{"receipt": "by hand"}', "completed"),
        ("Go back and undo what was done", "Compensate", "", "compensated"),
        (
            "Try charge_card again with other arguments",
            "Try again with these",
            '{"order": {"sku": "tea"}}',
            "completed",
        ),
    ],
)
def test_each_act_is_done_with_its_reason(act: Desk, link: str, button: str, value: str, ends: str) -> None:
    act.shop.wait(act.shop.scene.park(1))
    page = act.open("/sagas/order-1")

    page.locator(".act", has_text=link).last.click()
    if value:
        page.locator("#value").fill(value)
    if page.get_by_label("Nothing stayed").count():
        page.get_by_label("Nothing stayed").check()
    page.locator("#reason").fill("I looked into it")
    page.get_by_role("button", name=button).click()

    page.get_by_text("Accepted:").wait_for()
    act.shop.ended("order-1", ends)
    assert [reason for _, _, reason in act.shop.acts("order-1")] == ["I looked into it"]


def test_a_signal_is_sent_and_a_running_saga_is_cancelled(act: Desk) -> None:
    for id_ in ("trip-1", "trip-2"):
        act.shop.wait(act.shop.scene.orchestrator.start(book_trip, Trip("Ada", ["Athens"]), id=id_))
    page = act.open("/sagas/trip-1")

    page.locator(".act", has_text="Send the signal approval").click()
    page.get_by_label("Value (JSON)").fill('{"granted": true}')
    page.get_by_role("button", name="Send the signal").click()
    page.get_by_text("Accepted: Send the signal approval.").wait_for()
    act.shop.ended("trip-1", "completed")

    page.goto(f"{act.shop.url}/sagas/trip-2/act?verb=cancel")
    page.locator("#reason").fill("Ada is ill")
    page.get_by_role("button", name="Cancel the saga").click()
    page.get_by_text("Accepted: Cancel it.").wait_for()
    act.shop.ended("trip-2", "compensated")


def test_a_saga_is_skipped_past_a_step_whose_undo_fails(act: Desk) -> None:
    FAULTS.add("warehouse")
    act.shop.wait(act.shop.scene.orchestrator.run(place_order, Order("declined"), id="refund-1"))
    page = act.open("/sagas/refund-1")

    page.locator(".act", has_text="Skip the undo of reserve_stock").click()
    page.locator("#reason").fill("the shelf was emptied by hand")
    page.get_by_role("button", name="Skip it").click()

    page.get_by_text("Accepted: Skip the undo of reserve_stock").or_(page.get_by_text("Accepted:")).first.wait_for()
    act.shop.ended("refund-1", "compensated")


def test_siblings_are_repaired_together_with_live_progress(act: Desk) -> None:
    ids = act.shop.wait(act.shop.scene.park(30))
    page = act.open("/", "operator")

    page.get_by_role("link", name="Repair", exact=True).click()
    page.get_by_role("button", name="See what it would do").click()
    page.get_by_text("to 30 sagas").wait_for()
    page.get_by_label("About so many a second").select_option("500")
    page.get_by_role("button", name="See what it would do").click()
    page.locator("#reason").fill("the key was renewed")
    page.get_by_role("button", name="Try all that is stuck again: 30 sagas").click()
    page.wait_for_url("**/bulk/*")

    page.locator("h1 + .status", has_text="done").wait_for(timeout=20_000)
    for id_ in ids:
        act.shop.ended(id_, "completed")
    assert [actor for actor, _, _ in act.shop.acts(ids[0])] == ["Olga"]
    assert page.locator("tbody tr", has_text="accepted").count() == 30


def test_ticked_ones_are_repaired_and_a_bulk_operation_is_paused_and_gone_on_with(act: Desk) -> None:
    act.shop.wait(act.shop.scene.park(4))
    page = act.open("/sagas")

    page.locator("[data-pick]").nth(0).check()
    page.locator("[data-pick]").nth(1).check()
    page.get_by_role("button", name="Repair the ticked").click()
    page.get_by_text("the 2 that are ticked").wait_for()
    page.get_by_label("Try one step again").check()
    page.get_by_label("Step, or what they wait for", exact=True).fill("charge_card")
    page.get_by_role("button", name="See what it would do").click()
    page.locator("#reason").fill("try these two first")
    page.get_by_label("begin paused").check()
    page.get_by_role("button", name="Try one step again: 2 sagas").click()
    page.locator("h1 + .status", has_text="paused").wait_for()
    page.get_by_role("button", name="Go on").click()

    page.locator("h1 + .status", has_text="done").wait_for(timeout=20_000)
    assert "Ada" in page.locator(".log").inner_text()


def test_all_of_it_works_without_a_script(act: Desk) -> None:
    act.shop.wait(act.shop.scene.park(1))
    page = act.open("/sagas", "operator", script=False)

    page.get_by_role("link", name="order-1").click()
    page.get_by_label("Note in its history").fill("the bank was called")
    page.get_by_role("button", name="Keep the note").click()
    page.get_by_text("The note is kept.").wait_for()
    page.get_by_role("button", name="To me").click()
    page.get_by_text("It is assigned.").wait_for()
    page.locator("a.act", has_text="Try charge_card again").first.click()
    page.locator("#reason").fill("the bank is back")
    page.get_by_role("button", name="Try again now").click()
    page.get_by_text("Accepted: Try charge_card again.").wait_for()

    act.shop.ended("order-1", "completed")
    view = act.shop.show("order-1")
    assert (view.line.assigned, view.line.note) == ("Olga", "the bank was called")


def test_a_page_that_comes_too_late_says_so_and_shows_where_the_saga_stands(act: Desk) -> None:
    act.shop.wait(act.shop.scene.park(1))
    page = act.open("/sagas/order-1/act?verb=compensate")
    FAULTS.add("bank")
    act.shop.wait(act.shop.desk.retry("order-1", "charge_card", actor="Bob"))
    act.shop.ended("order-1", "parked")

    page.locator("#reason").fill("as planned")
    page.get_by_role("button", name="Compensate").click()

    page.get_by_role("alert").wait_for()
    assert page.locator("#reason").input_value() == "as planned"
    assert [actor for actor, _, _ in act.shop.acts("order-1")] == ["Bob"]
    act.wrong.clear()  # the browser logs an answer of 409 as an error of its own
