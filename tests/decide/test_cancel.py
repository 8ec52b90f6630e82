"""Cancel, deadline and signals (rule 7): each races once with what the saga does, and is answered."""

from __future__ import annotations

import pytest
from told import PIVOT, Story, after, go, parallel, plan, step

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.draft import Word
from amends.decide.plan import Place, SleepNode, WaitNode
from amends.decide.state import Action, Status


def at_the_pivot(deadline: float | None = None) -> Story:
    """A saga whose pivot step is in flight."""
    saga = Story(plan(step("a"), go(attempts=2), after("z"), deadline=deadline))
    saga.succeeds("a")
    return saga


# Cancel


def test_a_cancel_before_the_pivot_is_accepted_and_compensates() -> None:
    saga = Story(plan(step("a"), step("b"), PIVOT, after("z")))
    saga.succeeds("a")

    assert saga.cancel() is Word.ACCEPTED

    assert saga.status == Status.COMPENSATING
    assert saga.state.turned == ("cancelled", "", "changed her mind")


def test_a_cancel_is_in_the_history_with_who_and_why() -> None:
    saga = Story(plan(step("a")))

    saga.cancel()

    assert saga.happened(e.Operated) == [e.Operated("cancel", "", "ann", "changed her mind")]


def test_a_cancel_of_a_saga_that_has_done_nothing_ends_it_at_once() -> None:
    saga = Story(plan(step("a")), hold=True)

    saga.cancel()

    assert saga.status == Status.COMPENSATED
    assert not saga.happened(e.Issued)


def test_a_cancel_after_the_pivot_is_too_late() -> None:
    saga = Story(plan(step("a"), PIVOT, after("z")))
    saga.succeeds("a")

    assert saga.cancel() is Word.TOO_LATE
    assert saga.doing == {"z"}


@pytest.mark.parametrize("waiting", [False, True])
def test_a_cancel_that_meets_the_pivot_in_flight_waits_for_its_outcome(waiting: bool) -> None:
    saga = at_the_pivot()
    if waiting:
        saga.fails("go")

    assert saga.cancel() is None

    assert saga.status == Status.RUNNING
    assert saga.happened(e.CancelNoted) == [e.CancelNoted("mail-1", "changed her mind")]


def test_a_pivot_that_succeeds_answers_the_cancel_too_late() -> None:
    saga = at_the_pivot()
    saga.cancel()

    saga.succeeds("go")

    assert saga.word("mail-1") is Word.TOO_LATE
    assert saga.doing == {"z"}


def test_a_pivot_that_rejects_answers_the_cancel_accepted() -> None:
    saga = at_the_pivot()
    saga.cancel()

    saga.rejects("go")

    assert saga.word("mail-1") is Word.ACCEPTED
    assert saga.undoing == {"a"}


def test_a_pivot_that_stays_in_doubt_refuses_the_cancel_when_the_saga_parks() -> None:
    saga = at_the_pivot()
    saga.fails("go")
    saga.cancel()
    saga.tick()

    saga.fails("go")

    assert saga.word("mail-1") is Word.REFUSED
    assert saga.status == Status.PARKED
    assert saga.state.cancels == ()


def test_every_cancel_that_waits_for_the_pivot_is_answered() -> None:
    saga = at_the_pivot()
    saga.cancel()
    saga.cancel()

    saga.succeeds("go")

    assert [saga.word("mail-1"), saga.word("mail-2")] == [Word.TOO_LATE, Word.TOO_LATE]


def test_a_cancel_is_refused_while_it_is_not_known_whether_the_pivot_happened() -> None:
    saga = at_the_pivot()
    saga.fails("go", park=True)

    assert saga.cancel() is Word.REFUSED
    assert saga.said == "it is not known whether the pivot happened; resolve it, or compensate"


def test_a_noted_cancel_takes_effect_once_the_pivot_is_known_to_have_done_nothing() -> None:
    saga = at_the_pivot()
    saga.fails("go", resolved=True)
    saga.cancel()

    saga.operate("retry", "go")

    assert saga.word("mail-1") is Word.ACCEPTED
    assert saga.state.turned == ("cancelled", "", "changed her mind")
    assert saga.undoing == {"a"}


def test_a_cancel_of_a_saga_that_goes_back_already_is_accepted() -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")
    saga.rejects("b")

    assert saga.cancel() is Word.ACCEPTED
    assert saga.said == "the saga was going back already"
    assert saga.state.turned is not None
    assert saga.state.turned.cause == "rejected"


def test_cancel_and_completion_race_once_and_the_first_recorded_wins() -> None:
    saga = Story(plan(step("a")))
    saga.succeeds("a")

    assert saga.cancel() is Word.TOO_LATE
    assert saga.said == "the saga is completed"
    assert saga.status == Status.COMPLETED


@pytest.mark.parametrize("message", [m.Tick(), m.Done("a", e.ACTION), m.Adopt(3), m.Halt("x"), m.Move("f")])
def test_an_ended_saga_never_changes(message: m.Message) -> None:
    saga = Story(plan(step("a")))
    saga.succeeds("a")

    assert saga.tell(message) == []


def test_whoever_asks_an_ended_saga_is_told() -> None:
    saga = Story(plan(step("a"), WaitNode("w")))
    saga.rejects("a")

    assert saga.signal("w") is Word.TOO_LATE
    assert saga.operate("retry", "a") is Word.TOO_LATE
    assert saga.said == "the saga is compensated"


# Deadline


def test_a_deadline_counts_from_the_start_and_compensates() -> None:
    saga = Story(plan(step("a"), SleepNode("nap", seconds=90.0), deadline=60.0))
    saga.succeeds("a")
    assert saga.due == 60.0

    saga.tick(60.0)

    assert saga.state.turned == ("deadline", "", "its deadline passed")
    assert saga.undoing == {"a"}


def test_a_deadline_awaits_what_is_in_flight() -> None:
    saga = Story(plan(parallel(step("a"), step("b")), deadline=60.0))

    saga.tick(60.0)

    assert saga.doing == {"a", "b"}
    saga.succeeds("a")
    saga.fails("b")
    assert saga.undoing == {"a", "b"}


def test_a_deadline_that_meets_the_pivot_in_flight_waits_for_its_outcome() -> None:
    saga = at_the_pivot(deadline=60.0)

    saga.tick(60.0)

    assert saga.doing == {"go"}
    assert saga.wake is None
    saga.succeeds("go")
    assert saga.doing == {"z"}


def test_a_pivot_that_waits_for_its_next_attempt_at_the_deadline_is_asked_again() -> None:
    saga = at_the_pivot(deadline=60.0)
    saga.fails("go", after=100.0)

    saga.tick(60.0)
    assert saga.status == Status.RUNNING
    saga.tick(100.0)

    assert saga.doing == {"go"}


def test_a_deadline_behind_the_pivot_means_nothing() -> None:
    saga = Story(plan(step("a"), PIVOT, after("z"), deadline=60.0))
    saga.succeeds("a")
    assert saga.wake is None

    saga.tick(61.0)

    assert saga.doing == {"z"}


def test_a_deadline_that_has_passed_before_the_saga_is_claimed_compensates() -> None:
    saga = Story(plan(step("a"), deadline=60.0), hold=True)

    saga.tick(61.0)

    assert saga.status == Status.COMPENSATED


# Signals


def test_a_second_signal_is_refused_with_a_reason() -> None:
    saga = Story(plan(step("a"), WaitNode("w"), step("b")))
    saga.signal("w")

    assert saga.signal("w") is Word.REFUSED
    assert saga.said == "'w' has its value already"
    saga.succeeds("a")
    assert saga.signal("w") is Word.REFUSED


def test_a_signal_that_no_wait_is_for_is_refused_with_those_there_are() -> None:
    saga = Story(plan(step("a"), WaitNode("w"), WaitNode("v")))

    assert saga.signal("a") is Word.REFUSED
    assert saga.said == "the saga waits for no signal 'a'; it knows: w, v"


@pytest.mark.parametrize("name", ["nothing", "", "e]", "]", "w[0]"])
def test_a_signal_of_any_name_is_refused_in_words(name: str) -> None:
    saga = Story(plan(step("a")))

    assert saga.signal(name) is Word.REFUSED
    assert saga.said == f"the saga waits for no signal {name!r}; it knows: none"


def test_a_signal_whose_value_is_not_what_is_waited_for_is_refused_with_the_flaw() -> None:
    saga = Story(plan(WaitNode("w")))

    assert saga.signal("w", flaw="expected int") is Word.REFUSED
    assert saga.said == "expected int"
    assert saga.signal("w") is Word.ACCEPTED


def test_a_signal_to_a_saga_that_goes_back_is_too_late() -> None:
    saga = Story(plan(step("a"), WaitNode("w")))
    saga.succeeds("a")
    saga.cancel()

    assert saga.signal("w") is Word.TOO_LATE


def test_a_signal_after_its_wait_timed_out_is_too_late() -> None:
    saga = Story(plan(PIVOT, WaitNode("w", timeout=5.0, place=Place.AFTER)))
    saga.tick()

    assert saga.signal("w") is Word.TOO_LATE
    assert saga.said == "'w' is stuck"


@pytest.mark.parametrize("early", [False, True])
def test_reject_if_turns_an_answer_into_a_rejection(early: bool) -> None:
    saga = Story(plan(step("a"), WaitNode("w", filtered=True), step("z")), answers={"w": False})
    if early:
        saga.signal("w")
    saga.succeeds("a")
    if not early:
        assert saga.signal("w") is Word.ACCEPTED

    assert saga.state.turned == ("rejected", "w", "the signal said no")
    assert saga.undoing == {"a"}


@pytest.mark.parametrize("early", [False, True])
def test_an_answer_that_reject_if_lets_through_is_the_result(early: bool) -> None:
    saga = Story(plan(step("a"), WaitNode("w", filtered=True), step("z")), answers={"w": True})
    if early:
        saga.signal("w", b'"yes"')
    saga.succeeds("a")
    if not early:
        saga.signal("w", b'"yes"')

    assert saga.state.step("w").result == b'"yes"'
    assert saga.doing == {"z"}


def test_behind_the_pivot_an_answer_that_says_no_parks() -> None:
    wait = WaitNode("w", filtered=True, place=Place.AFTER)
    saga = Story(plan(PIVOT, wait), answers={"w": False})

    saga.signal("w")

    assert saga.status == Status.PARKED
    assert saga.action("w") is Action.STUCK


def test_a_wait_that_heard_no_and_is_tried_again_waits_for_another_answer() -> None:
    wait = WaitNode("w", filtered=True, place=Place.AFTER)
    saga = Story(plan(PIVOT, wait), answers={"w": False})
    saga.signal("w", b'"no"')

    saga.operate("retry", "w")
    assert saga.status == Status.RUNNING
    saga.answers["w"] = True

    assert saga.signal("w", b'"yes"') is Word.ACCEPTED
    assert saga.state.step("w").result == b'"yes"'
    assert saga.status == Status.COMPLETED


def test_an_exception_in_reject_if_parks_and_the_same_answer_is_judged_again() -> None:
    saga = Story(plan(WaitNode("w", filtered=True), step("a")), answers={"w": ValueError("broken")})
    saga.signal("w", b'"yes"')
    assert saga.state.parked == "w: broken"
    saga.answers["w"] = True

    saga.operate("unpark")

    assert saga.doing == {"a"}


@pytest.mark.parametrize("end", ["its own timeout", "the deadline"])
def test_a_signal_that_is_recorded_first_wins_against_the_time_that_is_up(end: str) -> None:
    wait = WaitNode("w", timeout=10.0 if end == "its own timeout" else None, filtered=True)
    saga = Story(plan(wait, PIVOT, after("z"), deadline=None if wait.timeout else 10.0), answers={"w": True})
    saga.now = 12.0

    assert saga.signal("w") is Word.ACCEPTED

    assert saga.action("w") is Action.SUCCEEDED


def test_of_two_early_answers_the_first_no_decides() -> None:
    block = parallel(WaitNode("v", filtered=True), WaitNode("w", filtered=True))
    saga = Story(plan(step("a"), block), answers={"v": False, "w": True})
    saga.signal("v")
    saga.signal("w")

    saga.succeeds("a")

    assert saga.state.turned == ("rejected", "v", "the signal said no")
    assert saga.action("w") is Action.SKIPPED
    assert saga.undoing == {"a"}
