"""Statuses (rule 14): what the tables have happens, what they do not have cannot; the docs show them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from state_diagrams import PAGE, diagram, drawn, words
from told import PIVOT, UNDO, Refusal, Story, after, each, go, items, look, parallel, plan, remote, step

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.events import Event
from amends.decide.evolve import evolve, replay
from amends.decide.plan import Place, SleepNode, WaitNode, WhenNode
from amends.decide.state import (
    ACTION_TABLE,
    SAGA_TABLE,
    UNDO_TABLE,
    Action,
    State,
    Status,
    StepState,
    Track,
    Undo,
    begin,
)
from amends.errors import ImpossibleTransition

ON_STEP: dict[type[Event], Event] = {
    e.Issued: e.Issued("a", e.ACTION),
    e.Sent: e.Sent("a", e.ACTION, 1.0),
    e.Succeeded: e.Succeeded("a", b"1"),
    e.Rejected: e.Rejected("a", "no"),
    e.Failed: e.Failed("a", e.ACTION, "lost", False, 1.0),
    e.Unknown: e.Unknown("a", "lost"),
    e.Stuck: e.Stuck("a", e.ACTION, "stuck"),
    e.Waiting: e.Waiting("a", 1.0),
    e.Chosen: e.Chosen("a", True),
    e.Listed: e.Listed("a", ()),
    e.Skipped: e.Skipped(("a",)),
    e.Abandoned: e.Abandoned("a"),
    e.Retried: e.Retried("a", e.ACTION, 1),
    e.Closed: e.Closed("a", e.ACTION, "by hand"),
}
ON_UNDO: dict[type[Event], Event] = {
    e.Issued: e.Issued("a", UNDO),
    e.Sent: e.Sent("a", UNDO, 1.0),
    e.Undone: e.Undone("a"),
    e.Voided: e.Voided("a"),
    e.Failed: e.Failed("a", UNDO, "lost", False, 1.0),
    e.Stuck: e.Stuck("a", UNDO, "stuck"),
    e.Retried: e.Retried("a", UNDO, 1),
    e.Closed: e.Closed("a", UNDO, "by hand"),
}
ON_SAGA: dict[type[Event], Event] = {
    e.TurnedBack: e.TurnedBack("rejected", "a", "no"),
    e.Parked: e.Parked("stuck"),
    e.Resumed: e.Resumed(),
    e.ResumedBack: e.ResumedBack(),
    e.Completed: e.Completed(),
    e.Compensated: e.Compensated(),
}


def state(status: Status = Status.RUNNING, action: Action = Action.PENDING, undo: Undo | None = None) -> State:
    """A state as it is asked for, whether a saga can come to it or not."""
    given = begin(e.Started(b"{}"))
    given.status = status
    given.steps["a"] = StepState(Track(action, due=1.0), None if undo is None else Track(undo, due=1.0))
    given.running = int(action is Action.RUNNING)
    return given


# The tables


@pytest.mark.parametrize("event", ON_STEP.values(), ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("before", Action)
def test_an_action_moves_as_its_table_says_and_in_no_other_way(event: Event, before: Action) -> None:
    now = ACTION_TABLE[type(event)].get(before)

    if now is None:
        with pytest.raises(ImpossibleTransition, match=f"cannot happen to what is {before}"):
            evolve(state(action=before), event)
    else:
        assert evolve(state(action=before), event).step("a").action.status is now


@pytest.mark.parametrize("event", ON_UNDO.values(), ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("before", Undo)
def test_an_undo_moves_as_its_table_says_and_in_no_other_way(event: Event, before: Undo) -> None:
    now = UNDO_TABLE[type(event)].get(before)

    if now is None:
        with pytest.raises(ImpossibleTransition, match=f"cannot happen to what is {before}"):
            evolve(state(undo=before), event)
    else:
        undo = evolve(state(undo=before), event).step("a").undo
        assert undo is not None
        assert undo.status is now


@pytest.mark.parametrize("event", ON_SAGA.values(), ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("before", Status)
def test_a_saga_moves_as_its_table_says_and_in_no_other_way(event: Event, before: Status) -> None:
    now = SAGA_TABLE[type(event)].get(before)

    if now is None:
        with pytest.raises(ImpossibleTransition, match=f"cannot happen to what is {before}"):
            evolve(state(status=before), event)
    else:
        assert evolve(state(status=before), event).status is now


def test_the_tables_speak_of_every_event_that_moves_something() -> None:
    assert set(ON_STEP) == set(ACTION_TABLE)
    assert set(ON_UNDO) == set(UNDO_TABLE)
    assert set(ON_SAGA) == set(SAGA_TABLE)


def test_a_history_begins_with_its_start_and_has_only_one() -> None:
    with pytest.raises(ImpossibleTransition, match="begins with Started"):
        evolve(None, e.Completed())
    with pytest.raises(ImpossibleTransition, match="a history has one start"):
        replay([e.Started(b"{}"), e.Started(b"{}")])


def test_the_error_of_an_impossible_transition_says_what_to_do() -> None:
    with pytest.raises(ImpossibleTransition, match="please report it with the saga's history"):
        evolve(state(), e.Resumed())


def test_evolve_leaves_the_old_state_alone() -> None:
    before = state(action=Action.RUNNING)
    same = repr(before)

    after_ = evolve(before, e.Succeeded("a", b"1"))

    assert repr(before) == same
    assert after_ != before
    assert after_ != "a state"


# Every transition happens


def stories() -> Iterator[Story]:
    """Sagas that, with the others below, meet every transition of the tables."""
    yield (saga := Story(plan(parallel(step("a"), step("b"), step("c"), WaitNode("v"), SleepNode("n", 9.0)))))
    saga.fails("a")
    saga.fails("b", park=True)
    saga.rejects("c")
    saga.fails("a", phase=UNDO)
    saga.tick()
    saga.undo_rejects("a")
    saga.undo_rejects("b")
    saga.operate("unpark")
    saga.fails("a", phase=UNDO)
    saga.operate("retry", "a")
    saga.fails("a", phase=UNDO)
    saga.tell(m.Halt("too long"))
    saga.operate("skip", "a")
    saga.undo_rejects("b")
    saga.operate("retry", "b")
    saga.tell(m.Done("b", UNDO, void=True))

    yield (saga := Story(plan(step("a"), go(attempts=1), after("z"))))
    saga.succeeds("a")
    saga.fails("go")
    saga.operate("retry", "go")
    saga.fails("go")
    saga.operate("skip", "go")
    saga.fails("z")
    saga.tell(m.Halt("too long"))
    saga.operate("skip", "z")

    yield (saga := Story(plan(WaitNode("w"), step("a"), WaitNode("v", timeout=1.0), step("b"))))
    saga.operate("resolve", "w")
    saga.fails("a")
    saga.operate("retry", "a")
    saga.fails("a")
    saga.tick()
    saga.succeeds("a")
    saga.tick()
    saga.fails("a", phase=UNDO)
    saga.operate("skip", "a")


def remote_stories() -> Iterator[Story]:
    """Steps that services do."""
    yield (saga := Story(plan(remote("a"), remote("b"), remote("c"), step("z"))))
    saga.tick()
    saga.tick()
    saga.succeeds("a")
    saga.tick()
    saga.succeeds("b")
    saga.succeeds("c")
    saga.rejects("z")
    saga.tick()
    saga.tick()
    saga.undone("c")
    saga.tick()
    saga.tell(m.Done("b", UNDO, void=True))
    saga.tick()
    saga.undone("a")

    for done in ("resolve", "retry"):
        yield (saga := Story(plan(remote("a"), remote("b"), step("z"))))
        saga.operate("retry", "a")
        saga.succeeds("a")
        saga.operate("resolve", "b", result=b"1")
        saga.rejects("z")
        saga.operate(done, "a")

    yield (saga := Story(plan(remote("a"), remote("b")), answers={"b": Refusal("sold out")}))
    saga.succeeds("a")
    saga.undone("a")


def other_stories() -> Iterator[Story]:
    """What is left."""
    asked = WhenNode("if", "function f", each(step("e")), step("x"))
    yield (saga := Story(plan(asked, WaitNode("w"), step("z")), answers={"if": True, "e": items(1)}))
    saga.succeeds("e[0]")
    saga.signal("w")
    saga.succeeds("z")

    yield (saga := Story(plan(step("y"), parallel(step("a"), each(step("e")))), answers={"e": ValueError("x")}))
    saga.succeeds("y")
    saga.succeeds("a")
    saga.cancel()
    saga.undone("a", "y")

    yield (saga := Story(plan(PIVOT, WaitNode("w", timeout=1.0, place=Place.AFTER))))
    saga.tick()

    yield (saga := Story(plan(each(step("e"), limit=1), step("z")), answers={"e": items(2)}))
    saga.fails("e[0]", park=True)
    saga.operate("retry", "e[0]")
    saga.rejects("e[1]")

    yield (saga := Story(plan(look("r"))))
    saga.fails("r", park=True)
    saga.operate("skip", "r")


def transitions(saga: Story) -> Iterator[tuple[type[Event], str, str]]:
    """Every move of a status in a history: the event, before and after."""
    known = evolve(None, saga.history[0])
    for event in saga.history[1:]:
        now = evolve(known, event)
        if now.status is not known.status:
            yield type(event), f"saga {known.status}", f"saga {now.status}"
        for address, after_ in now.steps.items():
            before = known.step(address)
            if after_.action.status is not before.action.status:
                yield type(event), f"action {before.action.status}", f"action {after_.action.status}"
            if after_.undo is not None and (before.undo is None or after_.undo.status is not before.undo.status):
                was = Undo.PENDING if before.undo is None else before.undo.status
                yield type(event), f"undo {was}", f"undo {after_.undo.status}"
        known = now


def test_every_transition_of_the_tables_happens() -> None:
    tables = (("saga", SAGA_TABLE), ("action", ACTION_TABLE), ("undo", UNDO_TABLE))
    wanted = {
        (event, f"{name} {before}", f"{name} {now}")
        for name, table in tables
        for event, moves in table.items()
        for before, now in moves.items()
    }

    happened = {move for saga in [*stories(), *remote_stories(), *other_stories()] for move in transitions(saga)}

    assert happened == wanted


# The diagrams


def test_the_page_shows_the_tables_as_they_are() -> None:
    page = PAGE.read_text()

    assert drawn(page) == page, "run: python tests/decide/state_diagrams.py"


def test_every_transition_is_drawn_once_with_its_events() -> None:
    text = diagram(UNDO_TABLE, Undo.PENDING, [Undo.VOID])

    moves = {(before, now) for table in UNDO_TABLE.values() for before, now in table.items()}
    assert text.count("-->") == len(moves) + 2
    assert "    waiting --> running: issued, sent\n" in text
    assert text.endswith("    void --> [*]")


def test_a_page_without_a_place_for_a_diagram_is_refused() -> None:
    with pytest.raises(ValueError, match="0 places for the diagram 'saga'"):
        drawn("no markers here")


def test_events_are_written_as_they_are_read() -> None:
    assert words(e.TurnedBack) == "turned back"
    assert words(e.Issued) == "issued"
