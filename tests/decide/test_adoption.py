"""Adoption (section 7) and poison (rule 9): what a lost worker leaves, and what it may have caused."""

from __future__ import annotations

from told import PIVOT, UNDO, Story, after, each, go, items, look, parallel, plan, sequence, step

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.plan import Place, SleepNode, StepNode, WaitNode, WhenNode
from amends.decide.policy import Policy
from amends.decide.state import Action, Undo, in_flight


def begins(saga: Story, address: str, phase: e.Phase = e.ACTION) -> None:
    """Careful running: the attempt is about to be made."""
    saga.tell(m.Begin(address, phase))


# Adoption


def test_what_was_in_flight_is_unresolved_and_begins_anew_with_one_attempt_used_up() -> None:
    saga = Story(plan(parallel(step("a"), step("b"))))
    saga.succeeds("a")

    saga.adopted_from(1)

    assert saga.doing == {"b"}
    assert saga.state.step("b").action.attempts == 2
    assert saga.state.step("b").action.doubt
    assert e.Failed("b", e.ACTION, "its worker died", False, 0.0, True) in saga.history


def test_adoption_touches_exactly_what_was_issued_and_has_no_outcome() -> None:
    asked = WhenNode("if", "function f", step("c"))
    block = parallel(step("a"), step("b"), SleepNode("nap", seconds=9.0), WaitNode("w"), asked, step("d"))
    saga = Story(plan(block, step("z")), answers={"if": True})
    saga.succeeds("a")
    saga.fails("b")
    lost = in_flight(saga.state)

    events = saga.adopted_from(1)

    failed = [(event.address, event.phase) for event in events if isinstance(event, e.Failed)]
    assert failed == lost
    assert set(lost) == {("c", e.ACTION), ("d", e.ACTION)}


def test_adoption_of_a_saga_that_has_nothing_in_flight_is_not_even_recorded() -> None:
    saga = Story(plan(SleepNode("nap", seconds=9.0)))

    assert saga.adopted_from(1) == []


def test_an_action_with_no_attempt_left_becomes_unknown_and_is_not_tried_again() -> None:
    saga = Story(plan(step("a", attempts=1)))

    saga.adopted_from(1)

    assert saga.action("a") is Action.UNKNOWN
    assert saga.undoing == {"a"}


def test_an_action_past_the_deadline_becomes_unknown_and_is_not_tried_again() -> None:
    saga = Story(plan(step("a", attempts=9), deadline=60.0))
    saga.now = 61.0

    saga.adopted_from(1)

    assert saga.action("a") is Action.UNKNOWN
    assert saga.undoing == {"a"}


def test_an_action_of_a_cancelled_saga_becomes_unknown_and_is_not_tried_again() -> None:
    saga = Story(plan(step("a", attempts=9)))
    saga.cancel()

    saga.adopted_from(1)

    assert saga.action("a") is Action.UNKNOWN
    assert saga.undoing == {"a"}


def test_the_pivot_is_asked_again_under_the_same_key_also_past_the_deadline_or_with_a_cancel_noted() -> None:
    saga = Story(plan(step("a"), go(attempts=2), deadline=60.0))
    saga.succeeds("a")
    saga.cancel()
    saga.now = 61.0

    saga.adopted_from(1)
    assert saga.doing == {"go"}
    assert saga.state.step("go").round == 1

    saga.adopted_from(2)
    assert saga.status == "parked"
    assert saga.action("go") is Action.UNKNOWN


def test_a_compensation_ignores_cancel_and_deadline_and_is_stuck_with_no_attempt_left() -> None:
    saga = Story(plan(step("a", undo_attempts=2), step("b"), deadline=60.0))
    saga.succeeds("a")
    saga.rejects("b")
    saga.cancel()
    saga.now = 61.0

    saga.adopted_from(1)
    assert saga.undoing == {"a"}

    saga.adopted_from(2)
    assert saga.undo("a") is Undo.STUCK
    assert saga.state.parked == "the undo of a: its worker died"


def lost_in(saga: Story) -> list[tuple[str, type[e.Event]]]:
    """The lines that say of an attempt that it went down with its worker."""
    kinds = (e.Failed, e.Unknown, e.Stuck)
    return [(event.address, type(event)) for event in saga.history if isinstance(event, kinds) and event.lost]


def test_the_line_that_ends_a_lost_attempt_says_so_whatever_follows_from_it() -> None:
    last, pivot = Story(plan(step("a", attempts=1))), Story(plan(go(attempts=1)))
    undo, back = Story(plan(step("a", undo_attempts=1), step("b"))), Story(plan(parallel(step("a"), step("b"))))
    undo.succeeds("a")
    undo.rejects("b")
    back.rejects("b")
    for saga in (last, pivot, undo, back):
        saga.adopted_from(1)

    assert lost_in(last) == [("a", e.Unknown)]
    assert lost_in(pivot) == [("go", e.Unknown)]
    assert lost_in(undo) == [("a", e.Stuck)]
    assert lost_in(back) == [("a", e.Unknown)]


def test_one_that_took_its_workers_down_too_often_is_stuck_and_lost() -> None:
    saga = Story(plan(step("a", attempts=99)))
    for worker in range(1, 6):
        saga.adopted_from(worker)
        if saga.state.careful and saga.status == "running":
            begins(saga, "a")

    assert lost_in(saga)[-1] == ("a", e.Stuck)


def test_an_attempt_that_failed_by_itself_is_not_lost() -> None:
    saga = Story(plan(step("a", attempts=1)))

    saga.fails("a")

    assert saga.action("a") is Action.UNKNOWN
    assert lost_in(saga) == []


def test_behind_the_pivot_a_lost_attempt_is_made_again_without_end() -> None:
    saga = Story(plan(PIVOT, after("a")))

    for worker in range(1, 10):
        saga.adopted_from(worker, worker)

    assert saga.doing == {"a"}


def test_a_readonly_step_leaves_nothing_behind_in_a_lost_worker() -> None:
    saga = Story(plan(each(look("r"), collect=True), step("z")), answers={"r": items(1)})
    saga.adopted_from(1)

    saga.rejects("r[0]")

    assert saga.action("r[0]") is Action.REJECTED
    assert saga.doing == {"z"}


# Poison


def test_deaths_are_counted_since_the_last_recorded_progress() -> None:
    saga = Story(plan(step("a", attempts=9), step("b", attempts=9)))

    saga.adopted_from(1)
    assert saga.state.deaths == 1
    assert not saga.state.careful
    saga.succeeds("a")
    assert saga.state.deaths == 0
    saga.adopted_from(2)
    assert saga.state.deaths == 1


def test_from_the_second_death_on_the_saga_runs_carefully() -> None:
    saga = Story(plan(step("a", attempts=9)))

    saga.adopted_from(1)
    saga.adopted_from(2)

    assert saga.state.careful


def test_workers_that_turn_out_to_have_survived_count_for_nobody() -> None:
    saga = Story(plan(step("a", attempts=9)))
    saga.adopted_from(1)
    saga.adopted_from(2, 1)

    assert saga.state.deaths == 1
    saga.adopted_from(3, 1, 2, 3)
    assert saga.state.deaths == 0
    assert not saga.state.careful


def test_only_deaths_in_an_attempt_that_was_made_alone_count_towards_parking() -> None:
    saga = Story(plan(step("a", attempts=None)))
    for worker in (1, 2, 3, 4, 5):
        saga.adopted_from(worker)

    assert saga.state.deaths == 5
    assert saga.state.kills == 0
    assert saga.doing == {"a"}


def test_the_third_death_in_an_attempt_made_alone_parks() -> None:
    saga = Story(plan(step("a", attempts=None)))
    saga.adopted_from(1)
    saga.adopted_from(2)
    for worker in (3, 4, 5):
        assert saga.doing == {"a"}
        begins(saga, "a")
        saga.adopted_from(worker)

    assert saga.status == "parked"
    assert saga.state.parked == "a: it took its worker down 3 times, running alone"


def test_a_compensation_that_takes_its_worker_down_parks_too() -> None:
    saga = Story(plan(step("a", undo_attempts=99), step("b")))
    saga.succeeds("a")
    saga.rejects("b")
    saga.adopted_from(1)
    saga.adopted_from(2)
    for worker in (3, 4, 5):
        begins(saga, "a", UNDO)
        saga.adopted_from(worker)

    assert saga.undo("a") is Undo.STUCK
    assert saga.status == "parked"


def test_running_carefully_only_the_attempt_that_had_begun_is_lost() -> None:
    saga = Story(plan(parallel(step("a", attempts=9), step("b", attempts=9))))
    saga.adopted_from(1)
    saga.adopted_from(2)
    begins(saga, "a")

    saga.adopted_from(3)

    assert saga.state.step("a").action.attempts == 4
    assert saga.state.step("b").action.attempts == 3
    assert saga.doing == {"a", "b"}


def test_running_carefully_with_nothing_begun_nothing_is_lost() -> None:
    saga = Story(plan(step("a", attempts=9)))
    saga.adopted_from(1)
    saga.adopted_from(2)

    saga.adopted_from(3)

    assert saga.state.step("a").action.attempts == 3
    assert saga.doing == {"a"}
    assert saga.state.kills == 0


def test_an_attempt_that_has_ended_is_not_the_one_that_takes_the_worker_down() -> None:
    first = StepNode("a", compensated=True, retry=Policy(attempts=3))
    saga = Story(plan(parallel(first, step("b", attempts=9))))
    saga.adopted_from(1)
    saga.adopted_from(2)
    begins(saga, "a")
    saga.fails("a", "timeout")
    assert saga.action("a") is Action.UNKNOWN

    saga.adopted_from(3)

    assert saga.state.kills == 0
    assert saga.state.late == 0
    assert saga.doing == {"b"}


def test_an_undo_that_has_ended_is_not_the_one_that_takes_the_worker_down() -> None:
    block = parallel(step("a", undo_attempts=9), step("b", undo_attempts=9))
    saga = Story(plan(block, step("z")))
    saga.succeeds("a", "b")
    saga.rejects("z")
    saga.adopted_from(1)
    saga.adopted_from(2)
    begins(saga, "a", UNDO)
    assert saga.state.begun == ("a", UNDO)
    saga.undo_rejects("a")

    saga.adopted_from(3)

    assert saga.state.kills == 0
    assert saga.undoing == {"b"}


def test_progress_and_a_persons_act_begin_the_count_anew() -> None:
    saga = Story(plan(sequence(step("a", attempts=9), step("b", attempts=9))))
    saga.adopted_from(1)
    saga.adopted_from(2)
    saga.fails("a")
    assert saga.state.deaths == 0
    saga.tick()
    saga.adopted_from(3)
    saga.adopted_from(4)

    saga.fails("a", park=True)
    saga.operate("retry", "a")

    assert (saga.state.deaths, saga.state.kills, saga.state.adopted) == (0, 0, ())


def test_a_begun_attempt_is_recorded_only_while_it_is_awaited() -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")

    begins(saga, "a")

    assert not saga.happened(e.Begun)


def test_every_outcome_of_an_attempt_made_alone_ends_it() -> None:
    node = StepNode("a", Place.AFTER, retry=Policy(None))
    for ending in (
        m.Done("a", e.ACTION),
        m.No("a", e.ACTION, "no", sure=True),
        m.Failure("a", e.ACTION, "lost"),
        m.Failure("a", e.ACTION, "credentials", park=True),
        m.Overdue("a", e.ACTION, 9),
    ):
        saga = Story(plan(PIVOT, node, StepNode("z", Place.AFTER)))
        saga.adopted_from(1)
        saga.adopted_from(2)
        begins(saga, "a")

        saga.tell(ending)

        assert saga.state.begun is None, ending
