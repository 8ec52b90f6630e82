"""`amends bulk`: what it would do, what it does, how far it is, and how it is steered."""

from __future__ import annotations

import re

import pytest
from shop_floor import Floor, Result

PARKED = ("--app=shop:orchestrator", "--status=parked")
AT_ONCE = ("--per-second=1000", "--reason=the bank is back", "--actor=ada")
APP = "--app=shop:orchestrator"


WRONG: list[tuple[tuple[str, ...], int, str]] = [
    (("unpark",), 2, "say which sagas are meant"),
    (("unpark", "--id=o-1", "--status=parked"), 2, "give --id, or what to look for, not both"),
    (("unpark", "--id=nobody"), 6, "there is no saga with the id 'nobody'"),
    (("retry", "--all"), 2, "retry is for one step"),
    (("note", "--all", "--person=ada", "--text=x"), 2, "--person is for assign"),
    (("signal", "--all", "--value=1"), 2, "signal is for one wait, the same in every saga: name it"),
    (("signal", "approval", "--all"), 2, "signal wants a value"),
    (("signal", "approval", "--all", "--result=1"), 2, "--value is for signal, and --result for resolve"),
    (("unpark", "--all", "--value=1"), 2, "--value is for signal, and --result for resolve"),
    (("unpark", "--input=sku"), 2, "a field and its value are expected"),
    (("unpark", "--older-than=5"), 2, "a number and a unit are expected"),
    (("unpark", "--status=parked", "--yes", "--expect=9"), 5, "9 sagas were expected, and 3 fit now"),
    (("unpark", "--all", "--key=nothing", "--yes"), 5, "no open saga fits"),
]


@pytest.fixture
def parked(floor: Floor) -> Floor:
    """A shop with three orders that are parked, since the bank did not answer; it does again."""
    floor.touch("bank-down")
    with floor.worker():
        for name in ("o-1", "o-2", "o-3"):
            assert floor.order(name).code == 4
    floor.remove("bank-down")
    return floor


def started(floor: Floor, *more: str) -> Result:
    """A bulk operation that unparks all, by the name of `mend`."""
    return floor.amends("bulk", "start", "unpark", *PARKED, *AT_ONCE, "--bulk-id=mend", "--yes", *more)


def test_without_yes_it_says_what_would_come_of_it_and_does_nothing(parked: Floor) -> None:
    told = parked.ok("bulk", "start", "retry", "charge_card", *PARKED)

    assert "Dry run: retry charge_card for 3 sagas; nothing was done." in told.out
    assert "accepted    3 sagas, such as o-3; then it is running" in told.out
    assert "charge_card" in told.out.splitlines()[2]
    assert "--yes --expect=3" in told.err
    assert "No bulk operations here" in parked.ok("bulk", "list", APP).out
    assert (
        parked.ok("bulk", "start", "skip", "charge_card", *PARKED, "--reason=x", "--json")
        .data["outcomes"][0]["why"]
        .endswith("resolve it with a result instead")
    )


def test_with_yes_it_is_done_and_told_and_the_histories_say_who(parked: Floor) -> None:
    with parked.worker():
        done = started(parked, "--expect=3")
        assert done.code == 0, done
        parked.wait_for(lambda: parked.ok("show", "o-2", APP, "--json").data["status"] == "completed")

    assert "done: of 3, 3 accepted, 0 refused, 0 without an answer" in done.out
    assert "the bank is back (bulk mend)" in parked.ok("show", "o-2", APP).out
    listed = parked.ok("bulk", "list", APP, "--json").data["bulks"][0]
    assert (listed["id"], listed["state"], listed["done"], listed["actor"]) == ("mend", "done", 3, "ada")
    assert listed["search"] == {"statuses": ["parked"]}
    lines = parked.ok("bulk", "results", "mend", APP, "--json").data["results"]
    assert [(line["saga"], line["result"]) for line in lines] == [
        ("o-3", "accepted"),
        ("o-2", "accepted"),
        ("o-1", "accepted"),
    ]


def test_what_was_refused_is_shown_and_ends_with_a_code_of_its_own(parked: Floor) -> None:
    act = ("bulk", "start", "skip", "charge_card", *PARKED, *AT_ONCE, "--bulk-id=mend", "--yes")
    with parked.worker():
        told = parked.amends(*act)
        shown = parked.ok("bulk", "show", "mend", APP)

    assert told.code == 10
    assert "done: of 3, 0 accepted, 3 refused, 0 without an answer" in told.out
    assert "amends bulk results mend" in told.err
    assert re.search("o-3: refused: .* needs its result", shown.out)
    assert "begun by ada: the bank is back" in shown.out
    rows = parked.ok("bulk", "results", "mend", APP, "--result=refused", "--limit=2")
    assert "o-3" in rows.out
    assert "amends bulk results mend --result=refused" in rows.err
    assert "--after=2" in rows.err
    assert parked.ok("bulk", "results", "mend", APP, "--result=accepted", "--json").data == {
        "results": [],
        "more": False,
    }


def test_it_is_paused_resumed_run_and_cancelled(parked: Floor) -> None:
    begun = started(parked, "--paused")
    shown = parked.ok("bulk", "show", "mend", APP)

    assert begun.code == 0
    assert "amends bulk resume mend --app=shop:orchestrator --if-version=2" in shown.out
    assert parked.amends("bulk", "resume", "mend", APP, "--if-version=1").code == 5
    assert "running: of 3" in parked.ok("bulk", "resume", "mend", APP).out
    assert parked.ok("bulk", "pause", "mend", APP, "--json").data["state"] == "paused"
    parked.ok("bulk", "resume", "mend", APP)
    with parked.worker():
        assert parked.ok("bulk", "run", "mend", APP, "--json").data["done"] == 3
    assert "it is done, and stays so" in parked.amends("bulk", "cancel", "mend", APP).err


def test_what_was_left_to_the_workers_is_told_with_how_to_steer_it(parked: Floor) -> None:
    left = started(parked, "--detach")

    assert left.code == 0
    assert "running: of 3" in left.out
    assert "amends bulk run mend" in left.err
    cancelled = parked.ok("bulk", "cancel", "mend", APP, "--reason=not these")
    assert "cancelled: of 3" in cancelled.out
    assert "cancel by" in parked.ok("bulk", "show", "mend", APP).out


def test_the_same_command_again_begins_nothing_else_though_its_ages_count_from_later(parked: Floor) -> None:
    begun = started(parked, "--paused", "--newer-than=1d")

    again = started(parked, "--paused", "--newer-than=1d")

    assert (begun.code, again.code) == (0, 0), again
    assert again.out == begun.out
    for other in (("--newer-than=2d",), ("--newer-than=1d", "--older-than=1s"), ("--older-than=1s",), ()):
        told = started(parked, "--paused", *other)
        assert (told.code, "belongs to another bulk operation" in told.err) == (5, True), told


def test_what_is_wrong_is_said_and_nothing_is_begun(parked: Floor) -> None:
    for (verb, *words), code, says in WRONG:
        told = parked.amends("bulk", "start", verb, APP, *words)

        assert told.code == code, told
        assert says in told.err
    assert parked.ok("bulk", "list", APP, "--json").data["bulks"] == []


def test_what_is_not_there_is_not_found(floor: Floor) -> None:
    floor.order("o-1")

    assert floor.amends("bulk", "show", "nobody", APP).code == 6


def test_the_filters_of_a_list_are_those_of_a_bulk_operation(parked: Floor) -> None:
    given = ("--saga=place-order", "--step=charge_card", "--key=o-", "--input=sku=tea", "--stuck", "--assigned=")
    spans = ("--newer-than=1d", "--trouble=parked")

    assert parked.ok("bulk", "start", "unpark", APP, *given, *spans, "--json").data["total"] == 3
    assert parked.ok("bulk", "start", "unpark", APP, *given, "--older-than=1d", "--json").data["total"] == 0
    assert parked.ok("bulk", "start", "unpark", APP, "--input=sku=milk", "--json").data["total"] == 0
