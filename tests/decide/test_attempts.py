"""Attempts and outcomes (rules 3 and 8): honest, whatever was lost on the way."""

from __future__ import annotations

import pytest
from told import ENDLESS, ONCE, PIVOT, UNDO, Story, after, go, look, parallel, plan, step

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.plan import Place, StepNode
from amends.decide.policy import Policy
from amends.decide.state import Action, Status, Undo


def test_a_failed_attempt_is_recorded_with_the_instant_of_the_next() -> None:
    saga = Story(plan(StepNode("a", compensated=True, retry=Policy(3, 4.0, factor=3.0, jitter=0.5))))

    saga.fails("a", "lost", share=0.5)
    assert saga.history[-1] == e.Failed("a", e.ACTION, "lost", False, 3.0)
    saga.tick()
    assert saga.doing == {"a"}
    saga.fails("a", "lost")
    assert saga.due == 3.0 + 12.0


def test_an_attempt_that_is_not_due_does_not_start() -> None:
    saga = Story(plan(step("a")))
    saga.fails("a")

    saga.tick(0.5)

    assert saga.doing == set()
    assert saga.due == 1.0


def test_a_step_whose_attempts_run_out_is_unknown_and_compensated_like_success() -> None:
    saga = Story(plan(step("a", attempts=2)))
    saga.fails("a")
    saga.tick()

    saga.fails("a", "gave up")

    assert saga.action("a") is Action.UNKNOWN
    assert saga.state.turned == ("unknown", "a", "gave up")
    assert saga.undoing == {"a"}


def test_a_step_whose_attempts_run_out_is_unknown_even_if_nothing_stayed_of_any() -> None:
    saga = Story(plan(step("a", attempts=2)))
    saga.fails("a", resolved=True)
    saga.tick()

    saga.fails("a", resolved=True)

    assert saga.action("a") is Action.UNKNOWN
    assert saga.undoing == {"a"}


def test_a_step_without_end_is_tried_without_end() -> None:
    saga = Story(plan(PIVOT, after("a")))

    for _ in range(50):
        saga.fails("a")
        saga.tick()

    assert saga.doing == {"a"}
    assert saga.state.step("a").action.attempts == 51


def test_a_rejection_means_that_nothing_stayed_and_is_not_retried() -> None:
    saga = Story(plan(step("a", attempts=5)))

    saga.rejects("a", "sold out")

    assert saga.action("a") is Action.REJECTED
    assert saga.state.turned == ("rejected", "a", "sold out")
    assert saga.undo("a") is None
    assert saga.status == Status.COMPENSATED


def test_a_rejection_after_an_unresolved_attempt_makes_the_step_unknown() -> None:
    saga = Story(plan(step("a")))
    saga.fails("a")
    saga.tick()

    saga.rejects("a", "taken")

    assert saga.action("a") is Action.UNKNOWN
    assert saga.state.turned == ("rejected", "a", "taken (but an earlier attempt may have worked)")
    assert saga.undoing == {"a"}


def test_a_rejection_after_attempts_of_which_nothing_stayed_is_definite() -> None:
    saga = Story(plan(step("a")))
    saga.fails("a", resolved=True)
    saga.tick()

    saga.rejects("a")

    assert saga.action("a") is Action.REJECTED


def test_a_rejection_that_the_barrier_gave_covers_all_attempts() -> None:
    saga = Story(plan(step("a")))
    saga.fails("a")
    saga.tick()

    saga.rejects("a", sure=True)

    assert saga.action("a") is Action.REJECTED
    assert saga.status == Status.COMPENSATED


def test_doubt_lasts_as_long_as_the_round() -> None:
    saga = Story(plan(step("a", attempts=5)))
    saga.fails("a")
    saga.tick()
    saga.fails("a", resolved=True)
    saga.tick()

    saga.rejects("a")

    assert saga.action("a") is Action.UNKNOWN


def test_a_readonly_step_has_no_compensation_whatever_its_outcome() -> None:
    saga = Story(plan(step("a"), look("r")))
    saga.succeeds("a")
    saga.fails("r")
    saga.tick()

    saga.fails("r")

    assert saga.action("r") is Action.UNKNOWN
    assert saga.undoing == {"a"}
    saga.undone("a")
    assert saga.status == Status.COMPENSATED
    assert saga.undo("r") is None


def test_never_ends_the_attempts_at_once_as_unknown() -> None:
    saga = Story(plan(step("a", attempts=5)))

    saga.fails("a", final=True)

    assert saga.action("a") is Action.UNKNOWN
    assert saga.undoing == {"a"}


def test_never_behind_the_pivot_is_for_a_person() -> None:
    saga = Story(plan(PIVOT, after("a")))

    saga.fails("a", final=True)

    assert saga.action("a") is Action.STUCK
    assert saga.status == Status.PARKED


def test_park_parks_at_once_and_tries_nothing_again() -> None:
    saga = Story(plan(step("a", attempts=5)))

    saga.fails("a", "wrong credentials", park=True)

    assert saga.status == Status.PARKED
    assert saga.state.parked == "a: wrong credentials"
    assert saga.wake is None


def test_retry_after_sets_the_next_delay_whatever_the_policy_says() -> None:
    saga = Story(plan(step("a")))

    saga.fails("a", after=77.0, share=1.0)

    assert saga.due == 77.0


def test_retry_after_does_not_give_more_attempts() -> None:
    saga = Story(plan(step("a", attempts=1)))

    saga.fails("a", after=77.0)

    assert saga.action("a") is Action.UNKNOWN


# Behind the pivot


def test_behind_the_pivot_a_rejection_parks() -> None:
    saga = Story(plan(step("z"), PIVOT, after("a")))
    saga.succeeds("z")

    saga.rejects("a", "closed")

    assert saga.status == Status.PARKED
    assert saga.action("a") is Action.STUCK
    assert saga.state.turned is None
    assert saga.unsettled == ["a"]


def test_behind_the_pivot_a_rejection_in_doubt_parks_too() -> None:
    saga = Story(plan(PIVOT, after("a")))
    saga.fails("a")
    saga.tick()

    saga.rejects("a")

    assert saga.action("a") is Action.STUCK
    assert not saga.state.step("a").action.rejected


def test_behind_the_pivot_attempts_that_run_out_park() -> None:
    saga = Story(plan(PIVOT, StepNode("a", Place.AFTER, retry=ONCE)))

    saga.fails("a")

    assert saga.status == Status.PARKED


# The pivot step


def test_the_pivot_may_reject_and_the_saga_goes_back() -> None:
    saga = Story(plan(step("a"), go(), after("z")))
    saga.succeeds("a")

    saga.rejects("go")

    assert saga.undoing == {"a"}


def test_a_pivot_in_doubt_is_tried_again_under_the_same_key_and_then_parked() -> None:
    saga = Story(plan(step("a"), go(attempts=2), after("z")))
    saga.succeeds("a")
    saga.fails("go")
    saga.tick()
    assert saga.doing == {"go"}

    saga.fails("go", "no answer")

    assert saga.status == Status.PARKED
    assert saga.action("go") is Action.UNKNOWN
    assert saga.state.turned is None
    assert saga.state.step("go").round == 1
    assert saga.unsettled == ["a", "go"]


def test_a_pivot_that_rejects_after_an_unresolved_attempt_moves_neither_way() -> None:
    saga = Story(plan(step("a"), go(), after("z")))
    saga.succeeds("a")
    saga.fails("go")
    saga.tick()

    saga.rejects("go")

    assert saga.status == Status.PARKED
    assert saga.action("go") is Action.UNKNOWN


@pytest.mark.parametrize("how", [{"attempts": 1}, {"attempts": 5, "final": True}])
def test_a_pivot_whose_only_attempt_is_unresolved_stays_in_doubt_when_a_person_has_it_tried_again(
    how: dict[str, int],
) -> None:
    saga = Story(plan(step("a"), go(attempts=how.pop("attempts"))))
    saga.succeeds("a")
    saga.tell(m.Failure("go", e.ACTION, "timeout", **how))  # type: ignore[arg-type]
    saga.operate("retry", "go")

    saga.rejects("go")

    assert saga.action("go") is Action.UNKNOWN
    assert saga.status == Status.PARKED


# Compensations


def test_a_compensation_is_retried_by_its_own_policy() -> None:
    node = StepNode("a", compensated=True, retry=ONCE, undo_retry=Policy(2, 9.0))
    saga = Story(plan(node, step("b")))
    saga.succeeds("a")
    saga.rejects("b")

    saga.fails("a", phase=UNDO)

    assert saga.undo("a") is Undo.WAITING
    assert saga.due == 9.0
    saga.tick()
    assert saga.undoing == {"a"}


def test_an_action_and_its_compensation_count_their_attempts_apart() -> None:
    saga = Story(plan(step("a", attempts=3, undo_attempts=3), step("b")))
    saga.fails("a")
    saga.tick()
    saga.succeeds("a")
    saga.rejects("b")

    saga.fails("a", phase=UNDO)
    saga.tick()

    assert saga.state.step("a").action.attempts == 2
    step_undo = saga.state.step("a").undo
    assert step_undo is not None
    assert step_undo.attempts == 2


def test_a_compensation_without_end_is_tried_without_end() -> None:
    saga = Story(plan(StepNode("a", compensated=True, undo_retry=ENDLESS), step("b")))
    saga.succeeds("a")
    saga.rejects("b")

    for _ in range(30):
        saga.fails("a", phase=UNDO)
        saga.tick()

    assert saga.undoing == {"a"}


def test_a_compensation_that_finds_nothing_is_void() -> None:
    saga = Story(plan(step("a", attempts=1)))
    saga.fails("a")

    saga.tell(m.Done("a", UNDO, void=True))

    assert saga.undo("a") is Undo.VOID
    assert saga.status == Status.COMPENSATED


# Limits (rule 11)


def test_over_the_limit_of_history_whatever_waits_for_another_attempt_goes_to_a_person() -> None:
    saga = Story(plan(parallel(step("a"), step("b"), step("c"))))
    saga.fails("a", resolved=True)
    saga.fails("b")

    saga.tell(m.Halt("too long a history"))

    assert saga.action("a") is Action.STUCK
    assert saga.action("b") is Action.STUCK
    assert saga.doing == {"c"}
    saga.succeeds("c")
    assert saga.status == Status.PARKED
    assert [saga.state.step(name).action.doubt for name in ("a", "b")] == [False, True]


def test_over_the_limit_a_compensation_that_waits_goes_to_a_person_too() -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")
    saga.rejects("b")
    saga.fails("a", phase=UNDO)

    saga.tell(m.Halt("too long a history"))

    assert saga.undo("a") is Undo.STUCK
    assert saga.state.parked == "the undo of a: too long a history"


def test_the_length_of_a_history_counts_from_the_last_act_of_a_person() -> None:
    saga = Story(plan(PIVOT, after("a")))
    for _ in range(20):
        saga.fails("a")
        saga.tick()
    assert saga.state.length == len(saga.history) == 43

    saga.operate("retry", "a")
    saga.fails("a")
    saga.operate("retry", "a")

    assert saga.state.length == 2
