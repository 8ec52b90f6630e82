"""What would come of an act: decided on a copy, and followed as long as each call succeeds."""

from __future__ import annotations

from told import ACTION, PIVOT, UNDO, Story, after, each, go, items, look, parallel, plan, remote, sequence, step

from amends.decide import messages as m
from amends.decide.draft import Word
from amends.decide.foresee import Foreseen, foresee
from amends.decide.plan import SleepNode, WaitNode, WhenNode
from amends.decide.state import Status


def seen(saga: Story, verb: str, address: str = "", **rest: object) -> Foreseen:
    """What would come of an operator's act."""
    mail = m.Operate("mail", verb, address, "bob", "he knows", **rest)  # type: ignore[arg-type]
    return foresee(saga.plan, saga.state, mail, saga.now)


def test_compensating_names_every_undo_in_the_order_in_which_it_would_be_called() -> None:
    saga = Story(plan(step("a"), parallel(step("b"), step("c")), step("d")))
    saga.succeeds("a", "b", "c")
    saga.fails("d", "credentials", park=True)

    found = seen(saga, "compensate")

    assert (found.accepted, found.status, found.end, found.more) == (
        True,
        Status.COMPENSATING,
        Status.COMPENSATED,
        False,
    )
    assert found.calls == (("d", UNDO), ("b", UNDO), ("c", UNDO), ("a", UNDO))


def test_nothing_is_changed_by_looking() -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")
    saga.fails("b", park=True)
    before = repr(saga.state)

    seen(saga, "compensate")

    assert repr(saga.state) == before
    assert saga.status == "parked"


def test_what_would_be_refused_says_why_and_comes_to_nothing() -> None:
    saga = Story(plan(step("a"), go(), after("b")))
    saga.succeeds("a", "go")

    found = seen(saga, "compensate")

    assert (found.accepted, found.word, found.changes, found.calls) == (False, Word.REFUSED, False, ())
    assert "has passed its pivot" in found.detail


def test_a_saga_that_has_ended_is_too_late_for_everything() -> None:
    saga = Story(plan(step("a")))
    saga.succeeds("a")

    assert seen(saga, "unpark").word is Word.TOO_LATE


def test_what_is_in_flight_comes_to_its_end_first_and_is_no_news() -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")

    found = seen(saga, "compensate")

    assert found.calls == (("b", UNDO), ("a", UNDO))


def test_a_command_in_flight_that_is_sent_again_is_news() -> None:
    saga = Story(plan(remote("a")))

    assert seen(saga, "retry", "a").calls == (("a", ACTION),)


def test_going_forward_is_followed_through_requests_and_values_that_are_looked_at() -> None:
    saga = Story(plan(look("a"), WaitNode("w", filtered=True), PIVOT, remote("b"), after("c")))
    saga.succeeds("a")

    found = foresee(saga.plan, saga.state, m.Signal("mail", "w", b"1"), saga.now)

    assert (found.calls, found.end) == ((("b", ACTION), ("c", ACTION)), Status.COMPLETED)


def test_what_only_the_users_code_can_say_is_not_foreseen() -> None:
    saga = Story(plan(step("a"), WhenNode("w", "function", sequence(step("b")))))
    saga.fails("a", park=True)

    found = seen(saga, "skip", "a")

    assert (found.calls, found.more, found.end) == ((), True, Status.RUNNING)


def test_what_waits_for_its_time_is_not_foreseen() -> None:
    saga = Story(plan(step("a"), SleepNode("nap", seconds=30.0), step("b")))
    saga.fails("a", park=True)

    found = seen(saga, "retry", "a")

    assert (found.calls, found.more) == ((("a", ACTION),), True)


def test_a_saga_that_would_come_to_rest_again_says_so() -> None:
    saga = Story(plan(parallel(step("a"), step("b"))))
    saga.fails("a", park=True)
    saga.fails("b", park=True)

    found = seen(saga, "skip", "a")

    assert (found.calls, found.end, found.more) == ((), Status.PARKED, False)


def test_a_cancel_that_would_wait_for_the_pivot_has_no_answer_yet_and_counts() -> None:
    saga = Story(plan(step("a"), go()))
    saga.succeeds("a")

    found = foresee(saga.plan, saga.state, m.Cancel("mail", "bob", ""), saga.now)

    assert (found.word, found.accepted, found.changes) == (None, True, True)


def test_an_act_that_changes_nothing_calls_nothing() -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")
    saga.rejects("b")

    found = foresee(saga.plan, saga.state, m.Cancel("mail", "bob", ""), saga.now)

    assert (found.accepted, found.changes, found.calls) == (True, False, ())


def test_so_many_calls_are_looked_for_and_no_more() -> None:
    saga = Story(plan(each(step("e"), limit=1), step("z")), answers={"e": items(40)})
    saga.succeeds(*(f"e[{index}]" for index in range(40)))
    saga.fails("z", park=True)
    mail = m.Operate("mail", "compensate", "", "bob", "")

    found = foresee(saga.plan, saga.state, mail, saga.now, calls=3)

    assert (found.calls, found.more) == ((("z", UNDO), ("e[39]", UNDO), ("e[38]", UNDO)), True)
