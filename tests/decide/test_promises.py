"""The promises that the core keeps by itself: P1, P3 and P5."""

from __future__ import annotations

import pytest
from told import PIVOT, UNDO, Story, after, go, parallel, plan, step

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.evolve import evolve
from amends.decide.plan import WaitNode
from amends.decide.state import Action, Status, in_flight
from amends.errors import ImpossibleTransition

ENDS = [
    m.Done("b", e.ACTION),
    m.No("b", e.ACTION, "no"),
    m.No("b", e.ACTION, "no", sure=True),
    m.Failure("b", e.ACTION, "lost"),
    m.Failure("b", e.ACTION, "rolled back", resolved=True),
    m.Failure("b", e.ACTION, "never", final=True),
    m.Failure("b", e.ACTION, "credentials", park=True),
    m.Overdue("b", e.ACTION, 1),
    m.Adopt(1),
    m.Cancel("mail", "ann", "changed her mind"),
    m.Operate("mail", "compensate", "", "bob", "he knows"),
]


@pytest.mark.parametrize("ends", ENDS, ids=repr)
@pytest.mark.parametrize("undo", ["done", "void", "no", "lost", "overdue"])
def test_p1_whatever_happens_a_saga_ends_or_is_parked_with_what_is_unsettled(ends: m.Message, undo: str) -> None:
    saga = Story(plan(step("a"), step("b", attempts=1), step("c")))
    saga.succeeds("a")
    saga.tell(ends)

    for _ in range(40):
        for address, phase in in_flight(saga.state):
            if phase is e.ACTION:
                saga.succeeds(address)
            else:
                saga.tell(undo_ends(address, undo))
        if saga.status in ("completed", "compensated", "parked"):
            break
        if saga.wake is not None:
            saga.tick()

    assert saga.status in ("completed", "compensated", "parked")
    if saga.status == "parked":
        assert saga.state.parked
        assert saga.unsettled
    if saga.status == "compensated":
        assert undo in ("done", "void")
        assert saga.unsettled == []


def undo_ends(address: str, how: str) -> m.Message:
    """What a compensation says."""
    match how:
        case "done" | "void":
            return m.Done(address, UNDO, void=how == "void")
        case "no":
            return m.No(address, UNDO, "cannot")
        case "lost":
            return m.Failure(address, UNDO, "lost")
        case _:
            return m.Overdue(address, UNDO, 1)


@pytest.mark.parametrize(
    "ends", [m.No("a", UNDO, "cannot"), m.Failure("a", UNDO, "lost", final=True), m.Overdue("a", UNDO, 1)], ids=repr
)
def test_p1_a_saga_is_never_reported_as_compensated_when_an_undo_failed(ends: m.Message) -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")
    saga.rejects("b")

    saga.tell(ends)
    saga.tick(10_000.0)

    assert saga.status == "parked"
    assert saga.unsettled == ["a"]


@pytest.mark.parametrize(
    "ends",
    [
        m.Failure("a", e.ACTION, "timeout"),
        m.Failure("a", e.ACTION, "connection lost", final=True),
        m.Failure("a", e.ACTION, "rolled back", resolved=True),
        m.Adopt(1),
    ],
    ids=repr,
)
def test_p3_whatever_is_no_definite_answer_is_unknown_and_compensated_like_success(ends: m.Message) -> None:
    saga = Story(plan(step("a", attempts=1)))

    saga.tell(ends)

    assert saga.action("a") is Action.UNKNOWN
    assert saga.undoing == {"a"}


def test_p3_a_definite_answer_ends_a_step_as_succeeded_or_rejected() -> None:
    saga = Story(plan(parallel(step("a"), step("b"))))

    saga.succeeds("a")
    saga.rejects("b")

    assert (saga.action("a"), saga.action("b")) == (Action.SUCCEEDED, Action.REJECTED)


BEHIND = [
    m.No("z", e.ACTION, "no"),
    m.Failure("z", e.ACTION, "lost", final=True),
    m.Failure("z", e.ACTION, "credentials", park=True),
    m.Overdue("z", e.ACTION, 1),
    m.Adopt(1),
    m.Cancel("mail", "ann", "changed her mind"),
    m.Operate("mail", "compensate", "", "bob", "he knows"),
    m.Halt("too long a history"),
    m.Tick(),
]


@pytest.mark.parametrize("pivot", ["a marker", "a step"])
@pytest.mark.parametrize("message", BEHIND, ids=repr)
def test_p5_behind_the_pivot_nothing_turns_the_saga_back(pivot: str, message: m.Message) -> None:
    saga = Story(plan(step("a"), PIVOT if pivot == "a marker" else go(), after("z"), deadline=60.0))
    saga.succeeds("a", *(["go"] if pivot == "a step" else []))
    assert saga.state.passed
    saga.now = 61.0

    saga.tell(message)

    assert saga.state.turned is None
    assert not any(event.phase is UNDO for event in saga.happened(e.Issued))


def test_p5_the_steps_success_is_the_point_of_no_return_and_its_recording_is_when_it_is_passed() -> None:
    saga = Story(plan(step("a"), go(), after("z")))
    saga.succeeds("a")
    assert not saga.state.passed

    saga.succeeds("go")

    assert saga.happened(e.PivotPassed) == [e.PivotPassed("go")]
    assert saga.history.index(e.Succeeded("go", b'"done"')) < saga.history.index(e.PivotPassed("go"))


def test_p5_a_saga_that_has_turned_back_never_passes_its_pivot() -> None:
    saga = Story(plan(step("a"), WaitNode("w"), PIVOT, after("z")))
    saga.succeeds("a")
    saga.cancel()

    saga.signal("w")
    saga.undone("a")

    assert saga.status == "compensated"
    assert not saga.state.passed


def test_p5_no_history_can_cross_the_pivot() -> None:
    passed = Story(plan(PIVOT, after("z"))).state
    turned = Story(plan(step("a")))
    turned.cancel()

    with pytest.raises(ImpossibleTransition, match="wrong side of the pivot"):
        evolve(passed, e.TurnedBack("rejected", "z", "no"))
    with pytest.raises(ImpossibleTransition, match="wrong side of the pivot"):
        evolve(turned.state, e.PivotPassed("pivot"))
    assert turned.state.status is Status.COMPENSATING
