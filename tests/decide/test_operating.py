"""An operator's acts: done and recorded with who and why, or refused with the reason."""

from __future__ import annotations

import pytest
from told import PIVOT, UNDO, Story, after, each, go, items, look, parallel, plan, step

from amends.decide import events as e
from amends.decide.draft import Word
from amends.decide.plan import EachNode, Node, Place, SleepNode, StepNode, WaitNode, WhenNode
from amends.decide.state import Action, Undo


def parked() -> Story:
    """A saga that waits for a person before its pivot."""
    saga = Story(plan(step("a"), step("b"), PIVOT, after("c"), deadline=60.0))
    saga.succeeds("a")
    saga.fails("b", "credentials", park=True)
    return saga


def stuck_behind() -> Story:
    """A saga that waits for a person behind its pivot."""
    saga = Story(plan(step("a"), PIVOT, after("b"), StepNode("c", Place.AFTER, reads=("b",)), output="c"))
    saga.succeeds("a")
    saga.fails("b", park=True)
    return saga


def stuck_undo() -> Story:
    """A saga whose way back waits for a person."""
    saga = Story(plan(step("a"), step("b"), step("c")))
    saga.succeeds("a", "b")
    saga.rejects("c")
    saga.undo_rejects("b")
    return saga


# Whatever is done


def test_an_act_is_in_the_history_with_who_and_why_before_what_it_did() -> None:
    saga = parked()

    saga.operate("retry", "b")

    assert saga.history[-4:] == [
        e.Operated("retry", "b", "bob", "he knows"),
        e.Retried("b", e.ACTION, 1),
        e.Resumed(),
        e.Issued("b", e.ACTION),
    ]


@pytest.mark.parametrize(
    ("verb", "address"), [("retry", "b"), ("skip", "b"), ("resolve", "b"), ("compensate", ""), ("unpark", "")]
)
def test_every_act_that_is_accepted_leaves_its_line(verb: str, address: str) -> None:
    saga = parked()

    assert saga.operate(verb, address) is Word.ACCEPTED

    assert saga.happened(e.Operated) == [e.Operated(verb, address, "bob", "he knows")]


def test_an_act_that_is_refused_is_in_the_history_with_the_reason() -> None:
    saga = parked()

    assert saga.operate("retry", "a") is Word.REFUSED
    assert saga.said == "a is succeeded, so there is nothing to do here"
    assert saga.happened(e.Refused) == [e.Refused("retry", "mail-1", saga.said)]


@pytest.mark.parametrize("verb", ["retry", "skip", "resolve"])
@pytest.mark.parametrize("name", ["nothing", "", "e]", "]"])
def test_an_act_on_a_step_that_is_none_names_those_there_are(verb: str, name: str) -> None:
    saga = parked()

    assert saga.operate(verb, name) is Word.REFUSED
    assert saga.said == f"the saga has no step {name!r}; it has: a, b, c, pivot"


def test_an_act_that_is_none_or_has_a_flaw_is_refused() -> None:
    saga = parked()

    assert saga.operate("explode", "b") is Word.REFUSED
    assert saga.said == "there is no act 'explode'"
    assert saga.operate("resolve", "b", flaw="expected int") is Word.REFUSED
    assert saga.said == "expected int"


# Retry


def test_a_step_is_tried_again_under_the_same_key_with_all_its_attempts() -> None:
    saga = parked()

    assert saga.operate("retry", "b") is Word.ACCEPTED

    assert saga.doing == {"b"}
    assert saga.state.step("b").round == 1
    assert saga.state.step("b").action.attempts == 1


def test_a_step_that_waits_for_its_next_attempt_is_tried_now() -> None:
    saga = Story(plan(step("a")))
    saga.fails("a", after=3600.0)

    assert saga.operate("retry", "a") is Word.ACCEPTED
    assert saga.doing == {"a"}


def test_a_step_in_flight_is_not_tried_again_beside_itself() -> None:
    saga = Story(plan(step("a")))

    assert saga.operate("retry", "a") is Word.REFUSED
    assert saga.said == "an attempt of a is in flight"


def test_a_stuck_compensation_is_tried_again() -> None:
    saga = stuck_undo()

    assert saga.operate("retry", "b") is Word.ACCEPTED

    assert saga.undoing == {"b"}
    assert saga.happened(e.ResumedBack) == [e.ResumedBack()]
    saga.undone("b")
    assert saga.undoing == {"a"}


def test_a_compensation_that_waits_for_its_next_attempt_is_tried_now() -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")
    saga.rejects("b")
    saga.fails("a", phase=UNDO, after=3600.0)

    assert saga.operate("retry", "a") is Word.ACCEPTED
    assert saga.undoing == {"a"}


@pytest.mark.parametrize("verb", ["retry", "unpark"])
def test_a_retry_is_refused_while_the_function_is_still_running(verb: str) -> None:
    saga = Story(plan(step("a")))
    saga.hangs("a", worker=7)

    assert saga.operate(verb, "a", live=(3, 7)) is Word.REFUSED
    assert "still running" in saga.said
    assert saga.operate(verb, "a", live=(3,)) is Word.ACCEPTED
    assert saga.doing == {"a"}


def test_a_retry_of_a_compensation_is_refused_while_its_function_is_still_running() -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")
    saga.rejects("b")
    saga.hangs("a", UNDO, worker=7)

    assert saga.operate("retry", "a", live=(7,)) is Word.REFUSED
    saga.undone("a")
    assert saga.operate("retry", "a", live=(7,)) is Word.ACCEPTED


def test_once_the_function_has_returned_it_can_be_retried() -> None:
    saga = Story(plan(step("a")))
    saga.hangs("a", worker=7)
    saga.fails("a", "late")

    assert saga.operate("retry", "a", live=(7,)) is Word.ACCEPTED


def test_a_step_whose_deadline_has_passed_can_only_go_back() -> None:
    saga = parked()
    saga.now = 61.0

    assert saga.operate("retry", "b") is Word.REFUSED
    assert saga.said == "its deadline has passed, so it can only go back: compensate, or resolve the step by hand"


def test_a_pivot_in_doubt_is_tried_again_even_when_the_deadline_has_passed() -> None:
    saga = Story(plan(step("a"), go(attempts=1), deadline=60.0))
    saga.succeeds("a")
    saga.fails("go")
    saga.now = 61.0

    assert saga.operate("retry", "go") is Word.ACCEPTED
    assert saga.doing == {"go"}
    saga.succeeds("go")
    assert saga.status == "completed"


def test_a_sleep_or_a_wait_that_has_begun_keeps_its_instant() -> None:
    saga = Story(plan(parallel(SleepNode("nap", seconds=30.0), WaitNode("w", timeout=50.0))))
    saga.now = 20.0

    assert saga.operate("retry", "nap") is Word.REFUSED
    assert saga.operate("retry", "w") is Word.REFUSED
    assert saga.said == "there is nothing to try again at w now"
    assert [event.until for event in saga.happened(e.Waiting)] == [30.0, 50.0]


def test_in_a_saga_that_goes_back_no_action_is_tried_again() -> None:
    saga = Story(plan(parallel(step("a"), step("b"), step("c")), deadline=60.0))
    saga.hangs("a", worker=7)
    saga.rejects("b")
    saga.succeeds("c")
    saga.undone("c")

    saga.now = 1000.0
    assert saga.operate("retry", "a") is Word.ACCEPTED

    assert saga.doing == set()
    assert saga.undoing == {"a"}


def test_a_stuck_action_is_not_tried_again_while_the_saga_goes_back() -> None:
    saga = Story(plan(parallel(step("a"), step("b")), step("z")))
    saga.fails("a", park=True)
    saga.cancel()

    assert saga.operate("retry", "a") is Word.REFUSED
    assert saga.said == "there is nothing to try again at a now"
    assert saga.operate("retry", "z") is Word.REFUSED
    assert saga.said == "the saga is going back and the undo of z is pending, so there is nothing to do here"


# Skip and resolve


def test_a_skipped_step_counts_as_settled_and_the_saga_goes_on() -> None:
    saga = parked()

    assert saga.operate("skip", "b") is Word.ACCEPTED

    assert saga.action("b") is Action.CLOSED
    assert saga.doing == {"c"}


def test_a_resolved_step_has_the_result_that_the_person_gave() -> None:
    saga = stuck_behind()

    assert saga.operate("resolve", "b", result=b'"by hand"') is Word.ACCEPTED

    assert saga.state.step("b").result == b'"by hand"'
    assert saga.doing == {"c"}


@pytest.mark.parametrize(("verb", "words"), [("skip", "resolve it with a result instead"), ("resolve", "give one")])
def test_a_step_whose_result_is_needed_cannot_be_closed_without_one(verb: str, words: str) -> None:
    saga = stuck_behind()

    assert saga.operate(verb, "b") is Word.REFUSED
    assert saga.said == f"c needs its result: {words}"
    saga.operate("resolve", "b", result=b"1")
    saga.rejects("c")
    assert saga.operate(verb, "c") is Word.REFUSED
    assert saga.said.startswith("the saga's output needs its result")


@pytest.mark.parametrize(
    "node", [WhenNode("n", "r", step("a")), EachNode("n", step("n"), "r"), SleepNode("n", until="r")]
)
def test_a_step_that_steers_cannot_be_closed_without_a_result(node: Node) -> None:
    saga = Story(plan(look("r"), node))
    saga.fails("r", park=True)

    assert saga.operate("skip", "r") is Word.REFUSED
    assert saga.said == "n needs its result: resolve it with a result instead"


def test_the_result_of_an_item_is_needed_where_the_list_is() -> None:
    saga = Story(plan(PIVOT, each(after("e")), StepNode("z", Place.AFTER, reads=("e",))), answers={"e": items(1)})
    saga.rejects("e[0]")

    assert saga.operate("skip", "e[0]") is Word.REFUSED
    assert saga.operate("resolve", "e[0]", result=b"1") is Word.ACCEPTED
    assert saga.doing == {"z"}


@pytest.mark.parametrize("verb", ["skip", "resolve"])
def test_a_stuck_compensation_is_closed_without_a_result(verb: str) -> None:
    saga = stuck_undo()

    assert saga.operate(verb, "b", result=b"1") is Word.ACCEPTED

    assert saga.undo("b") is Undo.CLOSED
    assert saga.state.step("b").result == b'"done"'
    assert saga.undoing == {"a"}


def test_a_step_whose_result_is_read_can_be_skipped_on_the_way_back() -> None:
    saga = Story(plan(step("a"), StepNode("b", compensated=True, reads=("a",)), step("c")))
    saga.succeeds("a", "b")
    saga.rejects("c")
    saga.undone("b")
    saga.undo_rejects("a")

    assert saga.operate("skip", "a") is Word.ACCEPTED
    assert saga.status == "compensated"


def test_a_wait_is_resolved_with_the_value_that_the_person_gives() -> None:
    saga = Story(plan(WaitNode("w"), step("a")))

    assert saga.operate("resolve", "w", result=b'"by hand"') is Word.ACCEPTED

    assert saga.state.step("w").result == b'"by hand"'
    assert saga.doing == {"a"}


@pytest.mark.parametrize("verb", ["skip", "resolve"])
def test_what_only_the_sagas_own_functions_can_say_cannot_be_closed(verb: str) -> None:
    saga = Story(plan(each(step("e"))), answers={"e": ValueError("broken")})

    assert saga.operate(verb, "e") is Word.REFUSED
    assert saga.said == "only a step or a wait can be settled by hand; `unpark` asks the saga's own function again"


def test_closing_the_pivot_by_hand_passes_it() -> None:
    saga = Story(plan(step("a"), go(attempts=1), after("z")))
    saga.succeeds("a")
    saga.fails("go")

    assert saga.operate("resolve", "go") is Word.ACCEPTED

    assert saga.state.passed
    assert saga.doing == {"z"}


# Compensate


def test_compensate_takes_a_parked_saga_back() -> None:
    saga = parked()

    assert saga.operate("compensate") is Word.ACCEPTED

    assert saga.state.turned == ("operator", "", "he knows")
    assert saga.undoing == {"b"}


def test_compensate_takes_a_running_saga_back_once_what_is_in_flight_has_ended() -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")

    assert saga.operate("compensate") is Word.ACCEPTED
    assert saga.doing == {"b"}
    saga.succeeds("b")
    assert saga.undoing == {"b"}


def test_compensate_behind_the_pivot_is_refused() -> None:
    saga = stuck_behind()

    assert saga.operate("compensate") is Word.REFUSED
    assert saga.said.startswith("the saga has passed its pivot and can only go forward")


def test_compensate_of_a_saga_that_goes_back_is_refused() -> None:
    saga = stuck_undo()

    assert saga.operate("compensate") is Word.REFUSED
    assert saga.said.startswith("the saga is going back already")


def test_compensate_is_refused_while_the_pivot_is_being_tried() -> None:
    saga = Story(plan(step("a"), go()))
    saga.succeeds("a")

    assert saga.operate("compensate") is Word.REFUSED
    assert saga.said == "the pivot is being tried; wait for its outcome, or for the saga to park"


def test_compensate_with_a_pivot_in_doubt_takes_the_persons_word_that_it_did_not_happen() -> None:
    saga = Story(plan(step("a"), go(attempts=1)))
    saga.succeeds("a")
    saga.fails("go")

    assert saga.operate("compensate") is Word.ACCEPTED

    assert saga.happened(e.Operated) == [e.Operated("compensate", "", "bob", "he knows")]
    assert saga.action("go") is Action.CLOSED
    assert saga.undoing == {"a"}


def test_compensate_is_refused_while_the_function_of_the_pivot_is_still_running() -> None:
    saga = Story(plan(step("a"), go()))
    saga.succeeds("a")
    saga.hangs("go", worker=7)

    assert saga.operate("compensate", live=(7,)) is Word.REFUSED
    assert saga.said == "the function of the pivot is still running; wait until that has returned"
    assert saga.operate("compensate", live=(8,)) is Word.ACCEPTED


# Unpark


def test_unpark_tries_everything_that_is_stuck_again() -> None:
    saga = Story(plan(parallel(step("a"), step("b"), step("c"))))
    saga.fails("a", park=True)
    saga.succeeds("b")
    saga.fails("c", park=True)

    assert saga.operate("unpark") is Word.ACCEPTED
    assert saga.doing == {"a", "c"}


def test_a_question_asked_again_is_forgotten_when_another_answer_turns_the_saga_back() -> None:
    block = parallel(WaitNode("w", filtered=True), each(step("e")))
    saga = Story(plan(step("a"), block), answers={"w": ValueError("broken"), "e": ValueError("broken")})
    saga.succeeds("a")
    saga.signal("w")
    saga.answers.update({"w": False, "e": items(2)})

    saga.operate("unpark")

    assert saga.undoing == {"a"}
    assert saga.state.groups == {}


def test_unpark_is_for_parked_sagas() -> None:
    saga = Story(plan(step("a")))

    assert saga.operate("unpark") is Word.REFUSED
    assert saga.said == "the saga is running, not parked"


def test_unpark_on_the_way_back_tries_the_undos_again_and_frees_what_runs_no_more() -> None:
    saga = Story(plan(parallel(step("a"), step("b"), step("c"))))
    saga.hangs("a", worker=7)
    saga.succeeds("b")
    saga.rejects("c")
    saga.undo_rejects("b")

    assert saga.operate("unpark", live=(8,)) is Word.ACCEPTED
    assert saga.undoing == {"a", "b"}


def test_unpark_on_the_way_back_leaves_a_stuck_readonly_step_as_it_is() -> None:
    saga = Story(plan(parallel(look("r"), step("a"))))
    saga.fails("r", park=True)
    saga.succeeds("a")
    saga.operate("compensate")
    saga.undo_rejects("a")

    saga.operate("unpark")

    assert saga.undoing == {"a"}
    assert saga.action("r") is Action.STUCK
    assert saga.state.late == 0


def test_unpark_after_the_deadline_goes_back() -> None:
    saga = parked()
    saga.now = 61.0

    assert saga.operate("unpark") is Word.ACCEPTED
    assert saga.state.turned == ("deadline", "", "its deadline passed")
    assert saga.undoing == {"b"}


def test_a_retried_item_waits_for_a_place() -> None:
    saga = Story(plan(PIVOT, each(after("e"), limit=1)), answers={"e": items(2)})
    saga.fails("e[0]", park=True)
    assert saga.doing == {"e[1]"}

    saga.operate("retry", "e[0]")

    assert saga.doing == {"e[1]"}
    saga.succeeds("e[1]")
    assert saga.doing == {"e[0]"}


def test_a_retried_item_in_doubt_that_waits_for_a_place_is_unknown_when_the_saga_goes_back() -> None:
    saga = Story(plan(each(step("e"), limit=1)), answers={"e": items(2)})
    saga.fails("e[0]", park=True)
    saga.operate("retry", "e[0]")

    saga.rejects("e[1]")

    assert saga.action("e[0]") is Action.UNKNOWN
    assert saga.undoing == {"e[0]"}
