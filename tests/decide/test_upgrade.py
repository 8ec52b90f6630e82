"""May a saga go over to a changed plan: only where what has touched it is the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import plans, with_policy
from told import PIVOT, Story, after, each, go, items, look, parallel, plan, sequence, step

from amends.decide import messages as m
from amends.decide.events import Phase
from amends.decide.plan import EachNode, Node, Place, Plan, SequenceNode, SleepNode, StepNode, WaitNode, WhenNode
from amends.decide.policy import Policy
from amends.decide.state import Action, State, in_flight
from amends.decide.upgrade import obstacle


def half_way() -> Story:
    """`a` has run, `b` is in flight, `c` has not been reached."""
    saga = Story(plan(step("a"), step("b"), step("c"), PIVOT, after("z")))
    saga.succeeds("a")
    return saga


def passed() -> Story:
    """The pivot is behind, `z` is in flight."""
    saga = Story(plan(step("a"), PIVOT, after("y"), after("z")))
    saga.succeeds("a", "y")
    return saga


def chosen(*, taken: bool) -> Story:
    """A branch was taken and its first step is in flight."""
    choice = WhenNode("if", "function f", sequence(step("a"), step("b")), sequence(step("c"), step("d")))
    return Story(plan(choice, step("z")), answers={"if": taken})


def why_not(saga: Story, *nodes: Node) -> str:
    """Why the saga cannot go over to a plan of these nodes."""
    return obstacle(saga.plan, plan(*nodes), saga.state)


TAIL = (PIVOT, after("z"))


# What may change


def test_a_step_may_come_after_what_has_run() -> None:
    assert why_not(half_way(), step("a"), step("b"), step("new"), step("c"), *TAIL) == ""


def test_what_has_not_been_reached_may_go_and_change_its_kind_or_its_place() -> None:
    saga = half_way()

    assert why_not(saga, step("a"), step("b")) == ""
    assert why_not(saga, step("a"), step("b"), SleepNode("c", 5.0), *TAIL) == ""
    assert why_not(saga, step("a"), step("b"), PIVOT, after("c"), after("z")) == ""


def test_policies_timeouts_and_what_a_step_reads_may_change() -> None:
    changed = StepNode("a", compensated=True, retry=Policy(77), undo_retry=Policy(88), timeout=1.0, undo_timeout=2.0)

    assert why_not(half_way(), changed, replace(step("b"), reads=("a",), result="int"), step("c"), *TAIL) == ""


def test_conditions_lists_and_instants_that_were_recorded_may_be_asked_of_others() -> None:
    nodes = (WhenNode("if", "function f", each(step("e"), limit=3)), SleepNode("nap", until="function g"))
    saga = Story(plan(*nodes, WaitNode("w", timeout=5.0)), answers={"if": True, "e": items(1), "nap": 0.0})
    saga.succeeds("e[0]")
    other = WhenNode("if", "r", replace(each(step("e"), limit=9), over="r"))

    assert why_not(saga, other, SleepNode("nap", seconds=7.0), WaitNode("w", timeout=9.0, default="1")) == ""


def test_the_deadline_the_version_and_the_output_may_change() -> None:
    saga = half_way()

    assert obstacle(saga.plan, replace(saga.plan, version="2", deadline=5.0, output="z"), saga.state) == ""


def test_a_branch_that_has_not_begun_may_join_a_parallel_that_has() -> None:
    saga = Story(plan(parallel(step("a"), step("b"))))

    assert why_not(saga, parallel(step("a"), step("b"), step("new"))) == ""


def test_behind_the_pivot_a_step_may_come_after_what_has_run() -> None:
    assert why_not(passed(), step("a"), PIVOT, after("y"), after("z"), after("new")) == ""


def test_the_branch_not_taken_may_change_and_go() -> None:
    saga = chosen(taken=True)
    first = sequence(step("a"), step("b"))

    assert why_not(saga, WhenNode("if", "function f", first, sequence(step("c"))), step("z")) == ""
    assert why_not(saga, WhenNode("if", "function f", first, sequence(step("c"), step("d"), step("e")))) == ""
    assert why_not(saga, WhenNode("if", "function f", first), step("z")) == ""


def test_the_branch_taken_may_get_a_step_at_its_end() -> None:
    saga = chosen(taken=True)
    longer = WhenNode("if", "function f", sequence(step("a"), step("new"), step("b")), sequence(step("c"), step("d")))

    assert why_not(saga, longer, step("z")) == ""


def test_a_saga_that_goes_back_may_get_any_step_that_never_runs() -> None:
    saga = half_way()
    saga.rejects("b")

    assert why_not(saga, step("new"), step("a"), step("b"), *TAIL) == ""


# What may not


def test_another_saga_is_another_saga() -> None:
    saga = half_way()

    assert obstacle(saga.plan, replace(saga.plan, name="other"), saga.state) == "other is another saga"


def test_what_has_run_may_not_be_gone() -> None:
    assert why_not(half_way(), step("b"), step("c"), *TAIL) == "a has run and is gone"


def test_what_is_in_flight_may_not_be_gone() -> None:
    assert why_not(half_way(), step("a"), step("c"), *TAIL) == "b has run and is gone"


def test_of_several_that_are_gone_the_first_is_named() -> None:
    assert why_not(half_way(), step("c"), *TAIL) == "a has run and is gone"


def test_what_has_run_may_not_stand_in_another_order_or_grouping() -> None:
    wrong = "what has run stands in another order or grouping now"

    assert why_not(half_way(), step("b"), step("a"), step("c"), *TAIL) == wrong
    assert why_not(half_way(), parallel(step("a"), step("b")), step("c"), *TAIL) == wrong


def test_what_has_run_may_not_be_another_kind_of_node() -> None:
    changed = why_not(half_way(), SleepNode("a", 1.0), step("b"), *TAIL)

    assert changed == "a has run and is another kind of node now"


@pytest.mark.parametrize(
    "changed",
    [
        StepNode("a", compensated=False, readonly=True),
        StepNode("a", compensated=True, work="command:inventory/reserve"),
        StepNode("a", Place.AFTER, compensated=True),
        StepNode("a", Place.PIVOT, compensated=True),
    ],
)
def test_a_step_that_has_run_keeps_its_side_its_worker_and_its_compensation(changed: StepNode) -> None:
    reason = why_not(half_way(), changed, step("b"), *TAIL)

    assert reason == "a has run and changed its side of the pivot, its worker or its compensation"


def test_the_items_of_a_for_each_that_has_begun_keep_theirs() -> None:
    saga = Story(plan(each(step("e"))), answers={"e": items(1)})

    reason = why_not(saga, each(StepNode("e", work="tx", compensated=True)))

    assert reason == "e has run and changed its side of the pivot, its worker or its compensation"


def test_a_new_step_before_what_has_run_is_named() -> None:
    reason = why_not(half_way(), step("a"), parallel(step("new")), step("b"), *TAIL)

    assert reason == "new is new and stands before what has run already"


def test_a_step_that_moves_before_what_has_run_is_named() -> None:
    assert why_not(half_way(), step("c"), step("a"), step("b")) == "c is new and stands before what has run already"


def test_the_pivot_may_not_be_crossed() -> None:
    saga = half_way()

    assert (
        why_not(saga, step("a"), PIVOT, step("b"), after("c")) == "pivot is new and stands before what has run already"
    )
    assert why_not(passed(), step("a"), after("y"), PIVOT, after("z")) != ""
    assert why_not(passed(), step("a"), go("pivot-step"), after("y"), after("z")) == "pivot has run and is gone"


def test_a_new_step_in_the_branch_taken_before_what_has_run_is_named() -> None:
    saga = chosen(taken=False)
    changed = WhenNode("if", "function f", sequence(step("a"), step("b")), sequence(step("new"), step("c"), step("d")))

    assert why_not(saga, changed, step("z")) == "new is new and stands before what has run already"


def test_a_new_step_in_the_branch_taken_is_named_once_something_behind_it_has_run() -> None:
    saga = Story(plan(WhenNode("if", "function f", step("a")), step("z")), answers={"if": True})
    saga.succeeds("a")

    longer = WhenNode("if", "function f", sequence(step("a"), step("new")))

    assert why_not(saga, longer, step("z")) == "new is new and stands before what has run already"
    assert why_not(saga, longer) == "z has run and is gone"


def test_one_step_more_in_a_branch_is_no_other_grouping() -> None:
    saga = Story(plan(WhenNode("if", "function f", step("a")), step("z")), answers={"if": True})

    assert why_not(saga, WhenNode("if", "function f", sequence(step("a"), step("new"))), step("z")) == ""


def test_a_branch_that_was_not_there_when_the_answer_was_no_may_not_appear_before_what_has_run() -> None:
    saga = Story(plan(WhenNode("if", "function f", step("a")), step("z")), answers={"if": False})
    changed = WhenNode("if", "function f", step("a"), step("new"))

    assert why_not(saga, changed, step("z")) == "new is new and stands before what has run already"


def test_what_stood_in_the_branch_not_taken_may_not_stand_where_it_would_be_held_for_done() -> None:
    saga = Story(plan(WhenNode("if", "function f", step("a"), step("b")), step("z")), answers={"if": True})

    assert why_not(saga, WhenNode("if", "function f", step("a")), step("z"), step("b")) != ""


def test_a_saga_that_goes_back_keeps_its_tree_and_its_compensations() -> None:
    saga = half_way()
    saga.rejects("b")

    assert why_not(saga, step("b"), step("a")) != ""
    assert why_not(saga, look("a"), step("b"), *TAIL) != ""


def test_a_condition_without_an_answer_and_empty_blocks_are_no_obstacle() -> None:
    broken = WhenNode("if", "function f", step("a"))
    saga = Story(plan(sequence(), parallel(), step("x"), broken, sequence()), answers={"if": ValueError("broken")})
    saga.succeeds("x")

    assert saga.action("if") is Action.STUCK
    assert obstacle(saga.plan, saga.plan, saga.state) == ""


# For any plan and any state


@st.composite
def played(draw: st.DrawFn) -> tuple[Plan, State]:
    """A random plan and a state that it can come to."""
    given = draw(plans())
    names = [address for address in given.by_address if address != "pivot"]
    saga = Story(given, answers={name: _said(given.by_address[name], draw(st.booleans())) for name in names})
    for _ in range(draw(st.integers(0, 12))):
        running = in_flight(saga.state)
        if running:
            address, phase = draw(st.sampled_from(running))
            done = m.Done(address, phase)
            ends: list[m.Message] = [done, done, done, m.No(address, phase, "no"), m.Failure(address, phase, "lost")]
            saga.tell(draw(st.sampled_from(ends)) if phase is Phase.ACTION else done)
        elif saga.wake is not None:
            saga.tick()
    return given, saga.state


def _said(node: Node, taken: bool) -> bool | float | list[bytes]:
    if isinstance(node, EachNode):
        return items(2)
    return taken if isinstance(node, WhenNode) else 1.0


@given(played())
def test_an_equal_plan_is_never_an_obstacle(case: tuple[Plan, State]) -> None:
    given, state = case

    assert obstacle(given, given, state) == ""


@given(played())
def test_other_policies_are_never_an_obstacle(case: tuple[Plan, State]) -> None:
    given, state = case

    assert obstacle(given, with_policy(given, Policy(attempts=9, cap=1.0)), state) == ""


@given(played())
def test_a_node_at_the_end_is_never_an_obstacle(case: tuple[Plan, State]) -> None:
    given, state = case
    place = Place.AFTER if given.pivot or PIVOT in given.root.nodes else Place.BEFORE
    longer = replace(given, root=SequenceNode((*given.root.nodes, StepNode("new", place))))

    assert obstacle(given, longer, state) == ""


@given(played(), st.data())
def test_taking_away_a_step_that_has_run_is_always_an_obstacle(case: tuple[Plan, State], data: st.DataObject) -> None:
    given, state = case
    done = (Action.SUCCEEDED, Action.RUNNING, Action.WAITING, Action.UNKNOWN, Action.REJECTED)
    run = [node for node in given.root.nodes if state.step(getattr(node, "address", "")).action.status in done]
    if not run:
        return
    gone = data.draw(st.sampled_from(run))
    shorter = replace(given, root=SequenceNode(tuple(node for node in given.root.nodes if node is not gone)))

    assert obstacle(given, shorter, state).endswith("has run and is gone")
