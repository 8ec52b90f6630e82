"""Steps that services do: commands, replies and what the barrier says (the design's sections 4 and 6)."""

from __future__ import annotations

import pytest
from told import ACTION, COMMAND, UNDO, Refusal, Story, after, each, go, items, plan, remote, step

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.evolve import replay
from amends.decide.plan import Place, StepNode
from amends.decide.policy import Policy
from amends.decide.state import Action, Undo
from amends.decide.wire import Word
from amends.errors import ImpossibleTransition


def late(name: str) -> StepNode:
    """A remote step behind the pivot."""
    return StepNode(name, Place.AFTER, f"command:shop/{name}", retry=Policy(None, 1.0), timeout=10.0)


def test_a_command_is_built_once_and_sent_in_the_decision_that_makes_it_its_turn() -> None:
    saga = Story(plan(remote("a"), remote("b")))

    assert saga.history == [e.Started(b"{}"), e.Built("a", COMMAND), e.Sent("a", ACTION, 10.0)]
    assert saga.due == 10.0
    assert saga.state.step("a").command == COMMAND


def test_a_reply_goes_on_to_the_next_step() -> None:
    saga = Story(plan(remote("a"), step("b")))

    saga.succeeds("a", result=b"7")
    saga.succeeds("b")

    assert saga.status == "completed"
    assert saga.state.step("a").result == b"7"


def test_without_a_reply_the_same_command_is_sent_again_and_then_its_outcome_is_unknown() -> None:
    saga = Story(plan(remote("a", attempts=2)))

    saga.tick()
    again = saga.tick()
    saga.tick()

    assert again == [e.Sent("a", ACTION, 21.0)]
    assert saga.asked == ["request a"]
    assert saga.state.step("a").action.status is Action.UNKNOWN
    assert saga.undoing == {"a"}


def test_a_reply_that_comes_between_two_attempts_settles_the_step() -> None:
    saga = Story(plan(remote("a")))
    saga.tick()
    assert saga.state.step("a").action.status is Action.WAITING

    saga.succeeds("a")

    assert saga.status == "completed"


def test_a_reply_that_nothing_stayed_of_an_earlier_attempt_leaves_the_one_in_flight_alone() -> None:
    saga = Story(plan(remote("a")))
    saga.tick()
    saga.tick()

    told = saga.tell(m.Failure("a", ACTION, "deadlock", resolved=True, attempt=1))

    assert told == []
    assert saga.doing == {"a"}


def test_a_reply_that_nothing_stayed_has_the_command_sent_again_when_the_service_says() -> None:
    saga = Story(plan(remote("a")))

    saga.tell(m.Failure("a", ACTION, "busy", resolved=True, after=3.0, attempt=1))

    assert saga.due == 3.0
    assert not saga.state.step("a").action.doubt
    saga.tick()
    assert saga.doing == {"a"}


def test_the_barrier_vouches_for_all_attempts_so_its_rejection_is_one() -> None:
    saga = Story(plan(step("z"), remote("a")))
    saga.succeeds("z")
    saga.tick()
    saga.tick()

    saga.rejects("a", sure=True)

    assert saga.state.step("a").action.status is Action.REJECTED
    assert saga.undoing == {"z"}


def test_a_request_that_says_no_sends_nothing_and_turns_the_saga_back() -> None:
    saga = Story(plan(step("z"), remote("a")), answers={"a": Refusal("sold out")})

    saga.succeeds("z")

    assert not [event for event in saga.history if isinstance(event, e.Sent)]
    assert saga.state.step("a").action.status is Action.REJECTED
    assert saga.undoing == {"z"}


def test_a_request_that_says_no_behind_the_pivot_is_for_a_person() -> None:
    saga = Story(plan(go(), late("a")), answers={"a": Refusal("sold out")})

    saga.succeeds("go")

    assert saga.status == "parked"
    assert saga.state.step("a").action.rejected


def test_a_request_that_breaks_parks_the_saga_and_is_asked_again_when_a_person_says() -> None:
    saga = Story(plan(remote("a")), answers={"a": ValueError("no such price")})
    assert saga.status == "parked"

    saga.answers["a"] = [COMMAND]
    saga.operate("retry", "a")

    assert saga.doing == {"a"}


def test_each_item_has_its_own_command() -> None:
    saga = Story(plan(each(remote("a"))), answers={"a": items(2), "a[0]": [b"1"], "a[1]": [b"2"]})

    assert [saga.state.step(f"a[{index}]").command for index in range(2)] == [b"1", b"2"]
    saga.succeeds("a[1]", "a[0]")
    assert saga.status == "completed"


def test_an_undo_is_a_command_too_and_waits_for_its_reply() -> None:
    saga = Story(plan(remote("a"), step("b")))
    saga.succeeds("a")
    saga.rejects("b")
    assert saga.history[-1] == e.Sent("a", UNDO, 10.0)

    saga.tick()
    assert saga.state.step("a").undo is not None
    saga.undone("a")

    assert saga.status == "compensated"


def test_what_is_in_flight_at_a_service_is_awaited_before_the_saga_goes_back() -> None:
    saga = Story(plan(remote("a")))

    saga.cancel()
    assert saga.undoing == set()
    assert saga.due == 10.0
    saga.tick()

    assert saga.state.step("a").action.status is Action.UNKNOWN
    assert saga.undoing == {"a"}


def test_a_worker_that_is_gone_takes_no_command_with_it() -> None:
    saga = Story(plan(remote("a")))

    told = saga.adopted_from(1)

    assert told == []
    assert saga.doing == {"a"}


def test_a_broker_that_is_away_uses_up_no_attempt() -> None:
    saga = Story(plan(remote("a", attempts=1), step("b")))
    saga.now = 10.0
    told = saga.tell(m.Postpone())

    assert told == [e.Postponed("a", ACTION, 20.0)]
    assert saga.due == 20.0
    assert saga.state.step("a").action.attempts == 1
    saga.succeeds("a")
    saga.rejects("b")
    saga.now = 20.0
    assert saga.tell(m.Postpone()) == [e.Postponed("a", UNDO, 30.0)]


def test_what_is_not_in_flight_cannot_be_postponed() -> None:
    with pytest.raises(ImpossibleTransition, match="not in flight"):
        replay([e.Started(b"{}"), e.Postponed("a", ACTION, 1.0)])


def test_a_broker_that_is_away_for_long_makes_no_history_too_long() -> None:
    saga = Story(plan(remote("a")))
    before = saga.state.length

    for hour in range(1, 100):
        saga.now = hour * 3600.0
        saga.tell(m.Postpone())

    assert saga.state.length == before


def test_fenced_on_the_way_forward_is_unknown() -> None:
    saga = Story(plan(remote("a")))

    saga.tell(m.Barred("a", ACTION, Word.FENCED))

    assert saga.state.step("a").action.status is Action.UNKNOWN
    assert saga.undoing == {"a"}


def test_fenced_behind_the_pivot_is_for_a_person() -> None:
    saga = Story(plan(go(), late("a")))
    saga.succeeds("go")

    saga.tell(m.Barred("a", ACTION, Word.FENCED))

    assert saga.status == "parked"


def test_expired_is_sent_again_at_once_with_a_fresh_time() -> None:
    saga = Story(plan(remote("a")))
    saga.now = 5.0

    told = saga.tell(m.Barred("a", ACTION, Word.EXPIRED))

    assert told[-1] == e.Sent("a", ACTION, 15.0)
    assert not saga.state.step("a").action.doubt


def test_an_earlier_round_that_stands_makes_the_step_stuck() -> None:
    saga = Story(plan(remote("a")))

    saga.tell(m.Barred("a", ACTION, Word.EARLIER_OPEN, "round 1 is not undone"))

    assert saga.status == "parked"
    assert "round 1 is not undone" in saga.state.parked


def test_a_missing_effect_makes_the_undo_stuck_and_ends_only_by_a_person() -> None:
    saga = Story(plan(remote("a"), step("b")))
    saga.succeeds("a")
    saga.rejects("b")

    saga.tell(m.Barred("a", UNDO, Word.MISSING))
    assert saga.status == "parked"
    saga.operate("retry", "a")
    saga.tell(m.Barred("a", UNDO, Word.MISSING))
    assert saga.status == "parked"
    saga.operate("skip", "a")

    assert saga.status == "compensated"
    assert saga.state.step("a").closed == 1


def test_a_step_that_a_person_closed_remembers_which_round_that_was() -> None:
    saga = Story(plan(remote("a"), remote("b")))
    saga.tell(m.Failure("a", ACTION, "locked out", park=True))

    saga.operate("resolve", "a", result=b"1")

    assert saga.state.step("a").closed == 1


def test_what_the_barrier_says_too_late_is_recorded_and_moves_nothing() -> None:
    saga = Story(plan(remote("a", attempts=1)))
    saga.tick()

    saga.tell(m.Barred("a", ACTION, Word.FENCED))

    assert isinstance(saga.history[-1], e.Late)


@pytest.mark.parametrize(
    "again", [m.Done("a", ACTION, b"1"), m.No("a", ACTION, "no"), m.Barred("a", ACTION, Word.FENCED)]
)
def test_a_reply_to_what_is_known_is_no_news(again: m.Message) -> None:
    saga = Story(plan(remote("a"), step("b")))
    saga.succeeds("a", result=b"1")

    assert saga.tell(again) == []
    assert saga.state.late == 0


def test_a_late_success_is_what_the_undo_may_want_to_know() -> None:
    saga = Story(plan(remote("a", attempts=1)))
    saga.tick()

    saga.succeeds("a", result=b"7")

    assert saga.state.step("a").result == b"7"
    undo = saga.state.step("a").undo
    assert undo is not None
    assert undo.status is Undo.RUNNING


def test_a_plan_knows_its_services_and_their_commands() -> None:
    given = plan(remote("a"), step("b"), each(remote("c")), after("d"))

    assert given.remote
    assert given.services == ("shop",)
    assert given.step("a").command == "shop.a"
    assert (given.step("b").command, given.step("b").service) == ("", "")
    assert not plan(step("b")).remote
