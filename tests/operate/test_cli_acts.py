"""The acts of a person: each does what it says, is refused with a clear word, and is in the history."""

from __future__ import annotations

from typing import Any

import pytest
from shop_floor import TEA, Floor

ORDERS = "--database=sqlite:///orders.db"
WHY = "--reason=the bank is back"


def status(floor: Floor, name: str) -> str:
    """Where a saga stands."""
    found: str = floor.ok("show", name, ORDERS, "--json").data["status"]
    return found


def comes_to(floor: Floor, name: str, wanted: str) -> dict[str, Any]:
    """What a saga is once it has come to a status."""
    floor.wait_for(lambda: status(floor, name) == wanted)
    data: dict[str, Any] = floor.ok("show", name, ORDERS, "--json").data
    return data


def audit(data: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The acts in a saga's history: what, who and why."""
    return [
        (line["text"].split(",")[0], line["actor"], line["reason"])
        for line in data["history"]
        if line["event"] == "operated"
    ]


def test_retry_tries_the_stuck_step_again_and_is_in_the_history_with_who_and_why(floor: Floor) -> None:
    floor.park("order-1")

    with floor.worker():
        result = floor.ok("retry", "order-1", "charge_card", WHY, "--actor=ada", ORDERS)
        data = comes_to(floor, "order-1", "completed")

    assert result.out == "order-1: retry charge_card accepted\n"
    assert audit(data) == [("ada: retry charge_card", "ada", "the bank is back")]


def test_acts_work_without_the_code_that_runs_the_sagas(floor: Floor) -> None:
    floor.park("order-1")

    with floor.worker():
        (floor.directory / "shop.py").unlink()
        result = floor.amends("unpark", "order-1", WHY, ORDERS)

        assert result.code == 0, result
        comes_to(floor, "order-1", "completed")


def test_the_actor_is_the_user_of_the_system_unless_another_is_named(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "grace")
    floor.park("order-1")
    floor.park("order-2")

    with floor.worker():
        floor.ok("unpark", "order-1", WHY, ORDERS)
        monkeypatch.setenv("AMENDS_ACTOR", "night shift")
        floor.ok("unpark", "order-2", WHY, ORDERS)

    actors = [audit(floor.ok("show", name, ORDERS, "--json").data)[0][1] for name in ("order-1", "order-2")]
    assert actors == ["grace", "night shift"]


def test_resolve_gives_the_result_that_the_step_would_have_given(floor: Floor) -> None:
    floor.park("order-1")

    with floor.worker():
        without = floor.amends("resolve", "order-1", "charge_card", WHY, ORDERS)
        wrong = floor.amends("resolve", "order-1", "charge_card", WHY, ORDERS, '--result={"receipt": 9}')
        right = floor.amends("resolve", "order-1", "charge_card", WHY, ORDERS, '--result={"receipt": "R-9"}')
        data = comes_to(floor, "order-1", "completed")

    assert (without.code, wrong.code, right.code) == (5, 5, 0)
    assert "needs its result: give one" in without.err
    assert "Expected `str`, got `int`" in wrong.err
    assert data["closed"] == ["charge_card"]
    assert {key: data["steps"][1][key] for key in ("step", "result")} == {
        "step": "charge_card",
        "result": {"receipt": "R-9"},
    }


def test_skip_leaves_a_broken_undo_as_it_is(floor: Floor) -> None:
    floor.touch("undo-broken")
    assert floor.order("order-1", "declined").code == 4

    with floor.worker():
        floor.ok("skip", "order-1", "reserve_stock", WHY, ORDERS)
        data = comes_to(floor, "order-1", "compensated")

    assert data["closed"] == ["reserve_stock"]
    assert data["steps"][0]["undo"] == "closed"


def test_compensate_undoes_a_parked_saga(floor: Floor) -> None:
    floor.park("order-1")

    with floor.worker():
        floor.ok("compensate", "order-1", WHY, ORDERS)
        data = comes_to(floor, "order-1", "compensated")

    assert data["steps"][0]["undo"] == "compensated"
    assert audit(data)[0][0].endswith(": compensate")


def test_cancel_is_accepted_before_the_pivot_and_too_late_after_it(floor: Floor) -> None:
    floor.touch("no-lorry")
    assert floor.order("past-pivot").code == 4

    with floor.worker():
        floor.ok("start", "shop:trip", TEA, "--id=trip-1")
        floor.wait_for(lambda: floor.ok("show", "trip-1", ORDERS, "--json").data["steps"][1]["status"] == "waiting")
        before = floor.amends("cancel", "trip-1", WHY, ORDERS, "--json")
        after = floor.amends("cancel", "past-pivot", WHY, ORDERS)
        ended = floor.amends("cancel", "trip-1", WHY, ORDERS)
        comes_to(floor, "trip-1", "compensated")

    assert before.data == {"id": "trip-1", "verb": "cancel", "step": None, "answer": "accepted", "detail": None}
    assert (after.code, ended.code) == (5, 5)
    assert "past-pivot: the saga has passed its pivot" in after.err


def test_a_signal_that_fits_ends_the_wait_and_says_from_whom_it_came(floor: Floor) -> None:
    with floor.worker():
        floor.ok("start", "shop:trip", TEA, "--id=trip-1")
        wrong_name = floor.amends("signal", "trip-1", "approvall", '{"granted": true}', ORDERS)
        wrong_value = floor.amends("signal", "trip-1", "approval", '{"granted": "maybe"}', ORDERS)
        no_json = floor.amends("signal", "trip-1", "approval", "{granted: true}", ORDERS)
        right = floor.amends("signal", "trip-1", "approval", '{"granted": true}', ORDERS, "--actor=ada")
        data = comes_to(floor, "trip-1", "completed")
        again = floor.amends("signal", "trip-1", "approval", '{"granted": true}', ORDERS)

    assert (wrong_name.code, wrong_value.code, no_json.code, right.code, again.code) == (5, 5, 2, 0, 5)
    assert "it knows: approval" in wrong_name.err
    assert "Expected `bool`, got `str` - at `$.granted`" in wrong_value.err
    assert "is not JSON" in no_json.err
    assert [line["actor"] for line in data["history"] if line["text"] == "the signal approval is here"] == ["ada"]


def test_a_signal_with_the_same_message_id_counts_once(floor: Floor) -> None:
    with floor.worker():
        floor.ok("start", "shop:trip", TEA, "--id=trip-1")
        first = floor.amends("signal", "trip-1", "approval", '{"granted": true}', ORDERS, "--message-id=m-1")
        second = floor.amends("signal", "trip-1", "approval", '{"granted": false}', ORDERS, "--message-id=m-1")
        data = comes_to(floor, "trip-1", "completed")

    assert (first.code, second.code) == (0, 0)
    assert not [line for line in data["history"] if line["event"] == "refused"]


def test_a_refusal_is_in_the_history_with_who_asked(floor: Floor) -> None:
    floor.park("order-1")

    with floor.worker():
        result = floor.amends("skip", "order-1", "charge_card", WHY, ORDERS, "--actor=ada")
        data = floor.ok("show", "order-1", ORDERS, "--json").data

    assert result.code == 5
    assert "needs its result: resolve it with a result instead" in result.err
    refused = [line for line in data["history"] if line["event"] == "refused"]
    assert [(line["actor"], line["text"].split(":")[0]) for line in refused] == [("ada", "skip (from ada) was refused")]


@pytest.mark.parametrize("verb", ["retry", "skip", "resolve"])
def test_a_wrong_step_is_refused_with_the_steps_that_there_are(floor: Floor, verb: str) -> None:
    floor.park("order-1")

    with floor.worker():
        result = floor.amends(verb, "order-1", "charge-card", WHY, ORDERS)

    assert result.code == 5
    assert "the saga has no step 'charge-card'; it has: charge_card, pivot, reserve_stock" in result.err


@pytest.mark.parametrize(
    "words",
    [
        ("retry", "nobody", "step", WHY),
        ("skip", "nobody", "step", WHY),
        ("resolve", "nobody", "step", WHY),
        ("compensate", "nobody", WHY),
        ("unpark", "nobody", WHY),
        ("cancel", "nobody", WHY),
        ("signal", "nobody", "approval", "{}"),
        ("show", "nobody"),
        ("graph", "--id=nobody"),
    ],
)
def test_an_id_that_is_not_there_is_not_found(floor: Floor, words: tuple[str, ...]) -> None:
    floor.order("order-1")

    result = floor.amends(*words, ORDERS)

    assert result.code == 6
    assert "there is no saga with the id 'nobody' in this namespace" in result.err


def test_without_a_worker_an_act_is_not_answered_but_kept_and_done_when_one_comes(floor: Floor) -> None:
    floor.park("order-1")

    alone = floor.amends("retry", "order-1", "charge_card", WHY, ORDERS, "--timeout=0.2")
    waiting = floor.ok("show", "order-1", ORDERS).out
    with floor.worker():
        comes_to(floor, "order-1", "completed")

    assert alone.code == 9
    assert "no worker has answered for 'order-1' within 0.2 s" in alone.err
    assert "1 not answered yet" in waiting


def test_an_act_on_an_ended_saga_is_too_late(floor: Floor) -> None:
    floor.order("order-1")

    with floor.worker():
        result = floor.amends("compensate", "order-1", WHY, ORDERS, "--json")

    assert result.code == 5
    assert '"code": "too-late"' in result.err
    assert '"exit": 5' in result.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("retry", "x"), "Missing argument 'STEP'"),
        (("retry", "x", "y"), "Missing option '--reason'"),
        (("cancel", "x"), "Missing option '--reason'"),
        (("signal", "x", "y"), "Missing argument 'JSON'"),
        (("skip", "x", "y", "--reason=z", "--timeout=0"), "--timeout"),
    ],
)
def test_what_is_missing_is_named(floor: Floor, words: tuple[str, ...], said: str) -> None:
    result = floor.amends(*words)

    assert result.code == 2
    assert said in result.err
