"""Remote steps where several things go wrong in one decision."""

from __future__ import annotations

from typing import Any

import pytest
from told import ACTION, COMMAND, UNDO, Answerable, Refusal, Story, each, items, parallel, plan, remote, step

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.outcome import LATE_MAX
from amends.decide.wire import Word


def test_an_item_whose_request_says_no_leaves_the_items_before_it_to_be_sent() -> None:
    wide = plan(each(remote("a"), collect=True))

    saga = Story(wide, answers={"a": items(3), "a[0]": [COMMAND], "a[1]": [COMMAND], "a[2]": Refusal("sold out")})

    assert saga.doing == {"a[0]", "a[1]"}
    saga.succeeds("a[0]", "a[1]")
    assert saga.status == "completed"
    assert saga.state.step("a[0]").result == b'"done"'


def test_an_item_whose_request_breaks_leaves_the_items_before_it_to_be_sent() -> None:
    wide = plan(each(remote("a")))
    broken: dict[str, Answerable] = {
        "a": items(3),
        "a[0]": [COMMAND],
        "a[1]": [COMMAND],
        "a[2]": ValueError("no such price"),
    }

    saga = Story(wide, answers=broken)
    assert saga.doing == {"a[0]", "a[1]"}
    saga.succeeds("a[0]", "a[1]")
    assert saga.status == "parked"
    saga.answers["a[2]"] = [COMMAND]
    saga.operate("retry", "a[2]")
    saga.succeeds("a[2]")

    assert saga.status == "completed"


def test_a_late_answer_that_is_known_already_is_no_news() -> None:
    saga = Story(plan(remote("a", attempts=1)))
    saga.tick()
    saga.succeeds("a", result=b"7")

    told = saga.tell(m.Done("a", ACTION, b"7"))

    assert told == []
    assert saga.state.step("a").result == b"7"
    assert saga.state.late == 1


def test_replies_that_are_sent_again_without_end_make_no_endless_history_and_the_result_is_still_heard() -> None:
    saga = Story(plan(remote("a", attempts=1)))
    saga.tick()
    saga.undo_rejects("a")

    for _ in range(LATE_MAX + 10):
        saga.tell(m.Barred("a", ACTION, Word.FENCED))
        saga.tell(m.Barred("a", UNDO, Word.MISSING))
    saga.succeeds("a", result=b"7")

    assert saga.state.late == LATE_MAX + 1
    assert saga.state.step("a").result == b"7"


def test_a_late_answer_that_says_otherwise_is_kept() -> None:
    saga = Story(plan(remote("a", attempts=1)))
    saga.tick()
    saga.succeeds("a", result=b"7")

    saga.succeeds("a", result=b"8")

    assert saga.state.late == 2
    assert saga.state.step("a").result == b"7"


def test_a_service_whose_clock_is_wrong_is_asked_again_at_once_only_the_first_time() -> None:
    saga = Story(plan(remote("a", attempts=3)))

    first = saga.tell(m.Barred("a", ACTION, Word.EXPIRED))
    second = saga.tell(m.Barred("a", ACTION, Word.EXPIRED))

    assert first[-1] == e.Sent("a", ACTION, 10.0)
    assert isinstance(second[-1], e.Failed)
    assert saga.due == 2.0


def test_at_the_limit_of_its_history_a_command_that_is_always_sent_again_at_once_goes_to_a_person() -> None:
    saga = Story(plan(step("z"), remote("a", attempts=None), step("b")))
    saga.succeeds("z")
    saga.fails("a", after=0.0)
    assert saga.doing == {"a"}

    saga.tell(m.Halt("it is too long"))
    assert saga.status == "parked"
    saga.operate("retry", "a")
    saga.succeeds("a")

    assert saga.doing == {"b"}


def test_at_the_limit_of_its_history_a_command_that_is_sent_for_the_first_time_is_awaited() -> None:
    saga = Story(plan(remote("a")))

    told = saga.tell(m.Halt("it is too long"))

    assert told == []
    assert saga.doing == {"a"}


@pytest.mark.parametrize("kind", [step, remote])
def test_what_a_changed_plan_starts_did_not_go_down_with_the_worker_before(kind: Any) -> None:
    saga = Story(plan(parallel(step("a"), remote("b"))))
    saga.plan = plan(parallel(step("a"), remote("b"), kind("c", attempts=1)))

    told = saga.tell(m.Adopt(1, moves_to="another"))

    assert saga.state.fingerprint == "another"
    assert saga.doing == {"a", "b", "c"}
    assert [event.address for event in told if isinstance(event, e.Failed)] == ["a"]


def test_a_reply_that_was_due_while_no_worker_was_there_is_waited_for_once_more() -> None:
    saga = Story(plan(remote("a", attempts=1)))
    saga.now = 60.0

    told = saga.adopted_from(1)

    assert told == [e.Postponed("a", ACTION, 70.0)]
    assert saga.state.step("a").action.attempts == 1
    saga.succeeds("a")
    assert saga.status == "completed"
