"""The pages, as their HTML: what stands on each, for whom, and what a form does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest
from page_shop import Shop, field, opened, words_of
from scene import HOSTILE, Order, place_order

from amends.operate.operations import Operations

SAGAS = ("done-1", "undone-1", "order-1", "refund-1", "trip-1", "slow-1", "gift-1")
PAGES = (
    "/",
    "/sagas",
    "/sagas?status=parked&older=1s&input=sku=tea",
    "/stuck",
    "/stuck?trouble=parked",
    *(f"/sagas/{id_}" for id_ in SAGAS),
    "/sagas/order-1/act?verb=retry&step=charge_card",
    "/sagas/order-1/act?verb=change&step=charge_card",
    "/sagas/order-1/act?verb=compensate",
    "/sagas/trip-1/act?verb=signal&step=approval",
    "/bulk",
    "/bulk/new",
    "/bulk/new?status=parked&verb=unpark",
    "/bulk/new?id=order-1&id=order-2&verb=retry&on=charge_card",
    "/workers",
    "/definitions",
    "/definitions/place-order",
)


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with opened(full=True) as made:
        yield made


@pytest.fixture
def fresh() -> Iterator[Shop]:
    with opened(full=False) as made:
        yield made


@pytest.mark.parametrize("path", PAGES)
def test_every_page_keeps_the_policy_loads_nothing_from_elsewhere_and_shows_no_markup_of_others(
    shop: Shop, path: str
) -> None:
    found = shop.get(path)

    assert found.status_code == 200, words_of(found)
    assert "default-src 'none'" in found.headers["content-security-policy"]
    assert not re.search(r"\sstyle=|\son\w+=\"|<style|<script(?! src=\"/static/)|<script>", found.text)
    assert not re.search(r"(?:src|href|action)=\"(?:[a-z]+:)?//", found.text)
    assert not re.search(r"<img|alert\(1\)</script>", found.text)
    ids = re.findall(r'\sid="([^"]+)"', found.text)
    assert len(ids) == len(set(ids)), "an id stands twice"


def test_what_a_person_reads_first_is_how_many_wait_for_one(shop: Shop) -> None:
    told = shop.text("/")

    assert "15 sagas wait for somebody" in told
    assert "See these 9" in told
    assert "the bank refuses our key: 401" in told


def test_a_failure_leads_to_its_sagas_and_those_to_their_repair(shop: Shop) -> None:
    overview = shop.get("/").text
    fingerprint = re.search(r'/sagas\?error=([0-9a-f]{12})"[^>]*>See these 9', overview)
    assert fingerprint is not None

    listed = shop.get(f"/sagas?error={fingerprint[1]}")

    assert len(re.findall(r'data-key="row-order-\d"', listed.text)) == 9
    assert "row-refund" not in listed.text
    assert f"/bulk/new?error={fingerprint[1]}" in listed.text


def test_a_parked_saga_says_why_what_is_not_settled_and_what_may_be_done(shop: Shop) -> None:
    told = shop.text("/sagas/order-1")

    assert "Parked: a person is needed" in told
    assert "charge_card: the bank refuses our key: 401 for charge 1000" in told
    assert "Not reached: ship and send_receipt." in told
    assert "Try charge_card again" in told
    assert "Go back and undo what was done" in told


def test_a_saga_that_waits_says_for_what(shop: Shop) -> None:
    assert "It waits for the signal approval, until" in shop.text("/sagas/trip-1")
    assert re.search(r"ship is tried again in \d+ s \(attempt|ship is tried again in", shop.text("/sagas/slow-1"))


def test_a_saga_that_has_ended_offers_nothing(shop: Shop) -> None:
    told = shop.text("/sagas/done-1")

    assert "It did everything, and has ended." in told
    assert "What you can do" not in told


def test_before_an_act_stands_what_it_would_call(shop: Shop) -> None:
    told = shop.text("/sagas/order-1/act?verb=compensate")

    assert re.search(r"Undoes charge_card\. .*Undoes reserve_stock\.", told)
    assert "compensating" in told


def test_payloads_are_shown_to_who_may_read_them_and_acts_to_who_may_act(shop: Shop) -> None:
    admin, viewer = shop.text("/sagas/order-1"), shop.text("/sagas/order-1", "viewer")

    assert '"cents":1000' in admin
    assert '"cents":1000' not in viewer
    assert "reading payloads is a right of its own" in viewer
    assert "Acting takes an operator" in viewer
    assert "/act?" not in shop.get("/sagas/order-1", "viewer").text
    assert "data-pick" not in shop.get("/sagas", "viewer").text
    assert shop.get("/sagas?input=sku=tea", "viewer").status_code == 403
    assert "Field of the input" not in shop.text("/sagas", "viewer")
    assert shop.get("/sagas/order-1/act?verb=compensate", "viewer").status_code == 403
    assert shop.post("/sagas/order-1/note", "viewer", note="hello").status_code == 403


def test_a_list_is_turned_page_by_page_and_back(fresh: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amends.operate.web.pages.sagas.ROWS", 2)
    fresh.wait(fresh.scene.park(5))

    def rows(path: str) -> list[str]:
        return re.findall(r'data-key="row-([^"]+)"', fresh.get(path).text)

    def turned(path: str, rel: str) -> str:
        found = re.search(rf'rel="{rel}" href="([^"]+)"', fresh.get(path).text)
        assert found is not None
        return found[1].replace("&amp;", "&")

    second = turned("/sagas", "next")
    third = turned(second, "next")

    pages = [rows(path) for path in ("/sagas", second, third)]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert {id_ for page in pages for id_ in page} == {f"order-{number}" for number in range(1, 6)}
    assert rows(turned(third, "prev")) == rows(second)
    assert rows(turned(turned(third, "prev"), "prev")) == rows("/sagas")


def test_an_act_is_done_once_and_its_history_says_who_and_why(fresh: Shop) -> None:
    fresh.wait(fresh.scene.park(1))
    asked = fresh.get("/sagas/order-1/act?verb=compensate")
    fields = {name: field(asked, name) for name in ("verb", "step", "version", "message")}

    first = fresh.post("/sagas/order-1/act", "operator", reason="the bank is gone for good", **fields)
    again = fresh.post("/sagas/order-1/act", "operator", reason="the bank is gone for good", **fields)

    assert first.status_code == again.status_code == 303, words_of(again)
    assert first.headers["location"] == "/sagas/order-1?acted=compensate"
    assert "Accepted: Go back and undo what was done." in fresh.text(first.headers["location"])
    history = fresh.wait(Operations(fresh.scene.orchestrator.session).history("order-1"))
    assert [(line.actor, line.reason) for line in history if line.event == "operated"] == [
        ("Olga", "the bank is gone for good")
    ]


def test_an_act_on_a_saga_that_has_moved_on_is_not_done_and_shows_where_it_stands_now(fresh: Shop) -> None:
    fresh.wait(fresh.scene.park(1))
    asked = fresh.get("/sagas/order-1/act?verb=compensate")
    fields = {name: field(asked, name) for name in ("verb", "step", "version", "message")}
    fresh.post("/sagas/order-1/act", reason="once more", **{**fields, "verb": "retry", "step": "charge_card"})
    fresh.wait(_moved(fresh, int(fields["version"])))

    late = fresh.post("/sagas/order-1/act", reason="as planned", **{**fields, "message": "another"})

    assert late.status_code == 409
    assert "as planned" in late.text
    assert field(late, "version") != fields["version"]


async def _moved(shop: Shop, version: int) -> None:
    desk = Operations(shop.scene.orchestrator.session)
    while (await desk.show("order-1")).line.version <= version:
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"verb": "skip", "step": "charge_card", "reason": " "}, "a reason is needed"),
        ({"verb": "retry", "step": "charge_card"}, "a reason is needed"),
        ({"verb": "unpark"}, "a reason is needed"),
        ({"verb": "signal", "step": "approval", "value": "{"}, "that is no JSON"),
        ({"verb": "resolve", "step": "charge_card", "reason": "done", "value": "nonsense"}, "that is no JSON"),
    ],
)
def test_a_form_that_lacks_something_comes_back_with_what_was_typed(
    shop: Shop, fields: dict[str, str], said: str
) -> None:
    saga = "trip-1" if fields["verb"] == "signal" else "order-1"

    found = shop.post(f"/sagas/{saga}/act", version="1", **fields)

    assert found.status_code == 409
    assert said in words_of(found)
    assert fields.get("value", "") in words_of(found)


def test_somebody_sees_to_a_saga_and_leaves_a_note(fresh: Shop) -> None:
    fresh.wait(fresh.scene.park(1))

    assigned = fresh.post("/sagas/order-1/assign", "operator", me="1", version=fresh.version("order-1"), message="one")
    noted = fresh.post("/sagas/order-1/note", "operator", note="the bank was called", message="two")

    assert [assigned.headers["location"], noted.headers["location"]] == [
        "/sagas/order-1?acted=assign",
        "/sagas/order-1?acted=note",
    ]
    told = fresh.text("/sagas/order-1")
    assert "with Olga" in told
    assert "Note: the bank was called" in told
    assert "Olga" in fresh.text("/sagas?assigned=Olga")


def test_hostile_text_in_every_field_is_text(fresh: Shop) -> None:
    shop, id_ = fresh, f"hostile-{HOSTILE}"
    shop.wait(shop.scene.orchestrator.run(place_order, Order(HOSTILE, note=HOSTILE), id=id_))
    href = re.search(r'data-row href="([^"]+)"', shop.get("/sagas").text)
    assert href is not None
    version = field(shop.get(href[1]), "version")
    shop.post(f"{href[1]}/assign", person=HOSTILE[:60], reason=HOSTILE, version=version, message="a")
    shop.post(f"{href[1]}/note", note=HOSTILE, message="b")
    query = HOSTILE.replace("&", "").replace("#", "")

    for path in (
        "/",
        "/sagas",
        f"/sagas?key={query}",
        f"/sagas?saga={query}",
        f"/sagas?input={query}&step={query}&error={query}&assigned={query}&older={query}&status={query}",
        "/stuck",
        href[1],
        f"{href[1]}?acted=retry&on={query}",
        f"{href[1]}/act?verb=retry&step=charge_card",
        f"{href[1]}/act?verb=retry&step={query}",
        f"{href[1]}/act?verb={query}",
        f"/bulk/new?id={query}&verb={query}&on={query}&text={query}",
        f"/bulk/{query}",
        f"/definitions/{query}",
        f"/login?next={query}",
        f"/{query}",
    ):
        found = shop.get(path)
        assert found.status_code < 500, path
        assert "<script>alert" not in found.text, path
        assert "<img" not in found.text, path


def test_many_are_repaired_after_a_look_at_what_would_come_of_it(fresh: Shop) -> None:
    fresh.wait(fresh.scene.park(3))
    looked = fresh.get("/bulk/new?status=parked&verb=compensate")
    assert "to 3 sagas" in words_of(looked)
    fields = {name: field(looked, name) for name in ("message", "seen", "status")}

    begun = fresh.post("/bulk", "operator", verb="compensate", reason="the bank is gone", paused="1", **fields)

    assert begun.status_code == 303, words_of(begun)
    told = fresh.text(begun.headers["location"])
    assert "paused" in told
    assert "by Olga" in told
    assert "Go on" in told
    assert "Go back and undo" in fresh.text("/bulk")


def test_others_than_were_looked_at_are_not_repaired_be_they_as_many(fresh: Shop) -> None:
    fresh.wait(fresh.scene.park(2))
    one, other = sorted(set(re.findall(r"/sagas/(order-[0-9]+)", fresh.get("/sagas?status=parked").text)))[:2]
    looked = fresh.get(f"/bulk/new?key={one}&verb=unpark")

    found = fresh.post("/bulk", reason="why not", verb="unpark", key=other, seen=field(looked, "seen"), message="x")

    assert found.status_code == 409
    assert "other sagas fit now than those that were looked at" in words_of(found)


def test_a_bulk_operation_is_paused_resumed_and_cancelled_with_who_did_it(fresh: Shop) -> None:
    fresh.wait(fresh.scene.park(2))
    seen = field(fresh.get("/bulk/new?status=parked&verb=note&text=t"), "seen")
    begun = fresh.post("/bulk", reason="r", verb="note", text="t", status="parked", paused="1", message="y", seen=seen)
    there = begun.headers["location"]

    version = field(fresh.get(there), "version")

    without = fresh.post(there, "operator", move="cancel", reason="not now")
    fresh.post(there, "operator", move="cancel", reason="not now", version=version)

    told = fresh.text(there)
    assert without.status_code == 428
    assert "cancelled" in told
    assert "Olga : not now" in told.replace("Olga:", "Olga :")
    assert fresh.post(there, move="resume", version=version).status_code == 412
    assert fresh.post(there, move="resume", version=str(int(version) + 1)).status_code == 409
    assert fresh.post(there, move="fly", version=version).status_code == 400


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/", "No sagas yet"),
        ("/sagas", "No sagas yet"),
        ("/sagas?status=parked", "No saga fits"),
        ("/stuck", "All is well"),
        ("/bulk", "None yet"),
    ],
)
def test_a_page_with_nothing_on_it_teaches(fresh: Shop, path: str, says: str) -> None:
    assert says in fresh.text(path)


@pytest.mark.parametrize(
    ("path", "status", "todo"),
    [
        ("/sagas/no-such", 404, "Look whether it is written"),
        ("/nowhere", 404, "The address may be from an older version"),
        ("/bulk/no-such", 404, ""),
        ("/definitions/no-such", 404, ""),
        ("/sagas/order-1/act?verb=fly", 400, ""),
    ],
)
def test_what_went_wrong_is_a_page_that_says_what_to_do(shop: Shop, path: str, status: int, todo: str) -> None:
    found = shop.get(path)

    assert found.status_code == status
    assert todo in words_of(found)
    assert 'href="/sagas"' in found.text


def test_nobody_is_led_to_the_door_and_after_it_to_where_they_wanted_to_go(fresh: Shop) -> None:
    client, token = fresh.clients["admin"], fresh.scene.tokens["operator"]
    fresh.post("/logout")

    led = fresh.get("/sagas?status=parked")
    wrong = fresh.wait(client.post("/login", data={"token": "x" * 30, "next": "/sagas"}))
    right = fresh.wait(client.post("/login", data={"token": token, "next": "/sagas?status=parked"}))

    assert (led.status_code, led.headers["location"]) == (303, "/login?next=%2Fsagas%3Fstatus%3Dparked")
    assert wrong.status_code == 401
    assert "That token is not known here." in words_of(wrong)
    assert (right.status_code, right.headers["location"]) == (303, "/sagas?status=parked")
    assert fresh.get("/login").status_code == 303


def test_the_door_says_where_the_token_is(fresh: Shop) -> None:
    fresh.post("/logout")

    assert "open the address that it printed, or take the token from the file that it names" in fresh.text("/login")
