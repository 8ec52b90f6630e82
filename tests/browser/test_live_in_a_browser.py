"""The pages follow what happens, and nothing jumps, goes stale for good, or is taken out of a person's hands by it."""

from __future__ import annotations

import json

from browser_desk import Desk
from playwright.sync_api import Page, Route
from scene import Trip, book_trip

from amends.operate.bulk_values import BulkAct

SHIFTS = """() => {
  window.shifted = [];
  new PerformanceObserver((list) => {
    for (const one of list.getEntries()) if (!one.hadRecentInput) window.shifted.push(one.value);
  }).observe({ type: "layout-shift" });
}"""
GOOD = 0.1  # by https://web.dev/articles/cls, for all that a page does while it is open
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def live(page: Page, state: str = "on") -> None:
    """Wait until a page says that it follows, or that it does not."""
    page.locator(f".live[data-state={state}]").wait_for()


def away(route: Route) -> None:
    """What a server says that has lost its database."""
    problem = {"type": "about:blank", "title": "The database does not answer", "status": 503}
    route.fulfill(status=503, content_type="application/problem+json", body=json.dumps(problem))


def test_the_overview_what_is_stuck_and_the_bulk_operations_follow(act: Desk) -> None:
    overview, stuck, bulks = act.open("/"), act.open("/stuck"), act.open("/bulk")
    stuck.get_by_role("heading", name="All is well").wait_for()
    for page in (overview, stuck):
        live(page)

    ids = act.shop.wait(act.shop.scene.park(2))

    overview.get_by_role("link", name="See these 2").wait_for()
    stuck.get_by_role("link", name="order-2").wait_for()
    act.shop.wait(act.shop.desk.bulk_start(BulkAct("unpark", "Ada", "renewed"), ids, paused=True, id="mend"))
    bulks.reload()
    live(bulks)
    act.shop.wait(act.shop.desk.bulk_resume("mend", actor="Ada"))
    bulks.locator("tbody tr", has_text="done").wait_for()


def test_nothing_jumps_while_a_page_follows(act: Desk) -> None:
    act.shop.wait(act.shop.scene.park(3))
    act.shop.wait(act.shop.scene.orchestrator.start(book_trip, Trip("Ada", ["Athens", "Berlin"]), id="trip-1"))
    overview, sagas, saga = act.open("/"), act.open("/sagas"), act.open("/sagas/trip-1")
    for page in (overview, sagas, saga):
        live(page)
        page.evaluate(SHIFTS)

    act.shop.wait(act.shop.scene.park(1, "later"))
    act.shop.wait(act.shop.desk.note("trip-1", "a line more in its history", actor="Bob"))

    overview.get_by_role("link", name="See these 4").wait_for()
    sagas.get_by_text("The list has changed (1 new)").wait_for()
    saga.get_by_text("a line more in its history").first.wait_for()
    assert [page.evaluate("window.shifted") for page in (overview, sagas)] == [[], []]
    assert sum(saga.evaluate("window.shifted")) < GOOD  # a note has a line above what was there


def test_what_is_being_written_stays_while_the_server_is_in_trouble(act: Desk) -> None:
    act.shop.wait(act.shop.scene.park(1))
    page = act.open("/sagas/order-1")
    live(page)
    page.get_by_label("Note in its history").fill("half a sen")
    page.route("**/sagas/order-1", away)

    act.shop.wait(act.shop.desk.note("order-1", "from somebody else", actor="Bob"))
    live(page, "off")
    page.unroute("**/sagas/order-1")

    page.get_by_text("from somebody else").first.wait_for()
    live(page)
    assert page.get_by_label("Note in its history").input_value() == "half a sen"
    assert all("503" in wrong for wrong in act.wrong)
    act.wrong.clear()  # the browser logs an answer of 503 as an error of its own


def test_a_page_that_nobody_sees_holds_no_connection_and_is_of_now_once_it_is_seen(act: Desk) -> None:
    act.shop.wait(act.shop.scene.park(1))
    page = act.open("/sagas/order-1")
    live(page)
    listeners = act.shop.scene.app.state.web.live

    page.evaluate(HIDE, True)
    act.shop.until(lambda: listeners.count == 0)
    act.shop.wait(act.shop.desk.retry("order-1", "charge_card", actor="Bob"))
    act.shop.ended("order-1", "completed")
    page.evaluate(HIDE, False)

    page.locator("h1 + .status", has_text="completed").wait_for()
