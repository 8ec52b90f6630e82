"""The pages of bulk operations: that they mean the sagas that a person has in mind, and begin once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest
from page_shop import Shop, field, opened, words_of

from amends.operate.operations import Operations
from amends.operate.web.pages import filters
from amends.operate.web.pages.filters import VALUES_MAX

MANY = "&".join(f"step=step-{number}" for number in range(VALUES_MAX + 1))
NOTE = {"verb": "note", "text": "seen", "reason": "the bank was called", "paused": "1"}


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with opened(full=False) as made:
        made.wait(made.scene.park(2))
        yield made


@pytest.fixture
def fresh() -> Iterator[Shop]:
    with opened(full=False) as made:
        made.wait(made.scene.park(2))
        yield made


def begun(shop: Shop) -> list[str]:
    """The bulk operations that there are."""
    return sorted(set(re.findall(r'href="(/bulk/[0-9a-f-]{32,36})"', shop.get("/bulk").text)))


@pytest.mark.parametrize(
    "query", ["status=parkd", "status=parked&trouble=none", "older=soon", "newer=1y", "input=tea", MANY]
)
@pytest.mark.parametrize("verb", ["", "&verb=unpark"])
def test_a_filter_that_is_not_understood_means_no_saga_and_not_more_of_them(shop: Shop, query: str, verb: str) -> None:
    found = shop.get(f"/bulk/new?{query}{verb}")

    assert found.status_code == 400
    assert "which sagas are meant?" in words_of(found)
    assert "to 2 sagas" not in words_of(found)


@pytest.mark.parametrize("wrong", [{"status": "parkd"}, {"older": "soon"}, {"ticked": "1"}])
def test_a_form_that_does_not_say_which_sagas_begins_nothing(shop: Shop, wrong: dict[str, str]) -> None:
    found = shop.post("/bulk", message="wrong", seen="2", **NOTE, **wrong)

    assert found.status_code == 400
    assert begun(shop) == []


def test_a_form_that_does_not_say_what_was_looked_at_or_why_begins_nothing(shop: Shop) -> None:
    looked = shop.get("/bulk/new?status=parked&verb=unpark")
    form = {"verb": "unpark", "status": "parked", "message": "blind"}

    blind = shop.post("/bulk", **form, reason="why not")
    mute = shop.post("/bulk", **form, seen=field(looked, "seen"), reason=" ")

    assert (blind.status_code, mute.status_code) == (400, 409)
    assert "a reason is needed" in words_of(mute)
    assert begun(shop) == []


def test_what_is_given_with_an_act_stands_in_no_address(shop: Shop) -> None:
    looked = shop.get("/bulk/new?status=parked&verb=resolve&on=charge_card")
    form = looked.text[: looked.text.index('name="value"')].rpartition("<form")[2]

    assert 'method="post"' in form
    assert 'name="csrf"' in form


def test_of_filters_that_are_too_many_that_is_said(shop: Shop) -> None:
    pairs = [("step", f"step-{number}") for number in range(VALUES_MAX)]

    assert filters.read(pairs, 0.0).wrong == ()
    assert filters.read([*pairs, ("colour", "red"), ("key", " ")], 0.0).wrong == ()
    assert filters.read([*pairs, ("status", "parked")], 0.0).wrong == (
        f"{VALUES_MAX + 1} filters: no more than {VALUES_MAX} count",
    )
    assert f"no more than {VALUES_MAX} count" in shop.text(f"/sagas?{MANY}")


def test_to_repair_the_ticked_where_none_is_does_not_mean_all(shop: Shop) -> None:
    form = re.search(r'<form method="get" action="/bulk/new">.*?</form>', shop.get("/sagas?status=parked").text, re.S)
    assert form is not None
    assert '<input type="hidden" name="ticked" value="1">' in form[0]

    none = shop.get("/bulk/new?ticked=1")
    one = shop.get("/bulk/new?ticked=1&id=order-1")

    assert (none.status_code, one.status_code) == (400, 200)
    assert "none is ticked: go back and tick those that are meant" in words_of(none)
    assert "among the one that is ticked" in words_of(one)


def test_a_form_that_names_sagas_by_age_begins_once_however_often_it_is_sent(fresh: Shop) -> None:
    looked = fresh.get("/bulk/new?status=parked&older=0s&verb=note&text=seen")
    fields = {name: field(looked, name) for name in ("message", "seen", "status", "older")}

    sent = [fresh.post("/bulk", "operator", **NOTE, **fields) for _ in range(2)]

    assert [found.status_code for found in sent] == [303, 303], words_of(sent[1])
    assert sent[0].headers["location"] == sent[1].headers["location"]
    assert "by Olga" in fresh.text(sent[0].headers["location"])


@pytest.mark.parametrize(("who", "other"), [("admin", {}), ("operator", {"verb": "unpark"})])
def test_the_form_of_somebody_else_or_for_something_else_is_not_taken_for_the_same(
    fresh: Shop, who: str, other: dict[str, str]
) -> None:
    looked = fresh.get("/bulk/new?status=parked&older=0s&verb=note&text=seen")
    form = {**NOTE, "status": "parked", "older": "0s", "seen": field(looked, "seen"), "message": "once"}
    first = fresh.post("/bulk", "operator", **form)

    found = fresh.post("/bulk", who, **{**form, **other})

    assert (first.status_code, found.status_code) == (303, 409)
    assert "choose another id" in words_of(found)


def test_one_step_is_tried_again_in_many_with_other_arguments(fresh: Shop) -> None:
    query = "status=parked&verb=change&on=charge_card"
    value = '{"order": {"sku": "tea", "cents": 7}}'
    without = fresh.get(f"/bulk/new?{query}")
    looked = fresh.post("/bulk/new", status="parked", verb="change", on="charge_card", value=value, nothing_stayed="1")
    fields = {name: field(looked, name) for name in ("on", "value", "nothing_stayed", "status", "seen")}

    sent = [
        fresh.post("/bulk", reason="the price was wrong", verb="change", message="once", **fields) for _ in range(2)
    ]
    fresh.wait(completed(fresh))

    assert without.status_code == 409
    assert "what is to be different is expected" in words_of(without)
    assert 'name="nothing_stayed"' in without.text
    assert "to 2 sagas" in words_of(looked)
    assert [found.headers["location"] for found in sent] == ["/bulk/once", "/bulk/once"]
    assert "Try a step again with other arguments: charge_card" in fresh.text("/bulk/once")


async def completed(shop: Shop) -> None:
    """Wait until both orders have gone through."""
    desk = Operations(shop.scene.orchestrator.session)
    while {(await desk.show(id_)).line.status for id_ in ("order-1", "order-2")} != {"completed"}:
        await asyncio.sleep(0.005)
