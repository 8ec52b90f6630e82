"""The pages in a real browser: each is whole, asks nobody else, can be used by everybody, and follows what happens."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from browser_desk import Desk

AXE = gzip.decompress((Path(__file__).parent / "axe-4.14.1.min.js.gz").read_bytes()).decode()
RULES = "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}"
SERIOUS = ("serious", "critical")
PAGES = {
    "/": "15 sagas wait for somebody",
    "/sagas?status=parked&saga=place-order": "Sagas",
    "/stuck": "15 sagas wait for somebody",
    "/sagas/refund-1": "refund-1",
    "/sagas/trip-1": "trip-1",
    "/sagas/order-1/act?verb=change&step=charge_card": "Try charge_card again with other arguments",
    "/bulk": "Bulk operations",
    "/bulk/new?status=parked&verb=unpark": "Repair many sagas",
    "/workers": "1 worker is alive",
    "/definitions/place-order": "place-order",
}


def serious(page: Any) -> list[str]:
    """What axe has to say."""
    page.evaluate(AXE)
    found = page.evaluate(f"axe.run(document, {RULES})")
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for one in found["violations"]
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_whole_fits_and_can_be_used_by_everybody(look: Desk, path: str) -> None:
    page = look.open(path)

    assert page.locator("h1").inner_text() == PAGES[path]
    assert serious(page) == []
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


@pytest.mark.parametrize("path", ["/", "/sagas/refund-1"])
def test_in_the_dark_and_on_a_narrow_screen_it_can_be_used_likewise(look: Desk, path: str) -> None:
    assert serious(look.open(path, dark=True, width=390)) == []


def test_the_door_opens_to_a_token_and_leads_to_where_one_wanted_to_go(look: Desk) -> None:
    page = look.open("/stuck", "")
    assert serious(page) == []

    page.get_by_label("Token").fill(look.shop.scene.tokens["viewer"])
    page.get_by_role("button", name="Log in").click()

    page.wait_for_url(f"{look.shop.url}/stuck")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{look.shop.url}/login")


def test_the_keyboard_finds_moves_ticks_and_helps(look: Desk) -> None:
    page = look.open("/sagas?status=parked")

    page.keyboard.press("j")
    page.keyboard.press("j")
    first = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("k")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.textContent") == first
    page.keyboard.press("x")
    assert page.locator("[data-picked]").inner_text() == "1 ticked"
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("order-3")
    page.keyboard.press("Enter")
    page.wait_for_url("**/sagas?key=order-3")
    page.keyboard.press("g")
    page.keyboard.press("w")
    page.wait_for_url("**/workers")


def test_hostile_text_runs_nowhere(look: Desk) -> None:
    page = look.open("/sagas?key=hostile")
    page.on("dialog", lambda dialog: look.wrong.append(dialog.message))

    page.locator("[data-row]").click()

    page.get_by_role("heading", level=1).wait_for()
    assert "<script>" in page.locator("h1").inner_text()
