"""Remote steps where several things go wrong in one decision."""

from __future__ import annotations

from told import COMMAND, Refusal, Story, each, items, plan, remote


def test_an_item_whose_request_says_no_leaves_the_items_before_it_to_be_sent() -> None:
    wide = plan(each(remote("a"), collect=True))

    saga = Story(wide, answers={"a": items(3), "a[0]": [COMMAND], "a[1]": [COMMAND], "a[2]": Refusal("sold out")})

    assert saga.doing == {"a[0]", "a[1]"}
    saga.succeeds("a[0]", "a[1]")
    assert saga.status == "completed"
    assert saga.state.step("a[0]").result == b'"done"'


def test_an_item_whose_request_breaks_leaves_the_items_before_it_to_be_sent() -> None:
    wide = plan(each(remote("a")))
    broken = {"a": items(3), "a[0]": [COMMAND], "a[1]": [COMMAND], "a[2]": ValueError("no such price")}

    saga = Story(wide, answers=broken)
    assert saga.doing == {"a[0]", "a[1]"}
    saga.succeeds("a[0]", "a[1]")
    assert saga.status == "parked"
    saga.answers["a[2]"] = [COMMAND]
    saga.operate("retry", "a[2]")
    saga.succeeds("a[2]")

    assert saga.status == "completed"
