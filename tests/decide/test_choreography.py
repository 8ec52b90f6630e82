"""Which plans go from service to service with nobody in the middle, and with whom a saga is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from told import ACTION, UNDO, Story, each, go, look, parallel, plan, remote, sequence, step

from amends.decide.choreography import next_hop, obstacles, travelling
from amends.decide.plan import Node, PivotNode, SleepNode, StepNode, WaitNode, WhenNode, walk


def test_commands_in_a_row_can_be_choreographed() -> None:
    assert obstacles(plan(remote("a"), remote("b"), PivotNode(), remote("c"))) == ()


def test_a_choice_by_the_input_can_be_choreographed() -> None:
    assert obstacles(plan(WhenNode("if", "function f", remote("a"), remote("b")))) == ()


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (step("pack"), "pack is a local step"),
        (look("see"), "see is a local step"),
        (parallel(remote("a"), remote("b")), "a, b"),
        (each(remote("a")), "a is a for_each"),
        (SleepNode("nap", 1.0), "nap is a sleep"),
        (WaitNode("answer"), "answer waits for a signal"),
    ],
    ids=["local", "readonly", "parallel", "each", "sleep", "wait"],
)
def test_what_needs_somebody_in_the_middle_is_named_with_what_would_help(node: Node, words: str) -> None:
    [obstacle] = obstacles(plan(remote("first"), node))

    assert words in obstacle
    assert ": " in obstacle or "; " in obstacle


def test_a_plan_that_no_service_does_anything_for_has_nobody_to_go_to() -> None:
    assert obstacles(plan(PivotNode())) == ("it has no step that a service does",)


def test_a_saga_is_with_the_service_whose_half_of_a_step_is_next() -> None:
    saga = Story(plan(remote("a"), remote("b"), go("p", work="command:shop/p", timeout=10.0)))
    assert next_hop(saga.state) == ("a", ACTION)
    saga.succeeds("a")
    assert next_hop(saga.state) == ("b", ACTION)
    saga.rejects("b", sure=True)
    assert next_hop(saga.state) == ("a", UNDO)
    saga.undone("a")
    assert next_hop(saga.state) is None


def test_a_saga_that_waits_for_another_attempt_is_with_nobody_else() -> None:
    saga = Story(plan(remote("a")))
    saga.fails("a", resolved=True)

    assert next_hop(saga.state) is None
    assert saga.wake is not None


def test_a_travelling_saga_waits_for_no_reply_and_is_the_same_saga_otherwise() -> None:
    choice = WhenNode("if", "function f", remote("b"), sequence(remote("c"), remote("d")))
    given = plan(remote("a"), choice, WhenNode("or", "function g", remote("e")), PivotNode(), remote("f"))

    travels = travelling(given)

    named = {node.address: node for node in walk(given.root) if isinstance(node, StepNode)}
    seen = {node.address: node for node in walk(travels.root) if isinstance(node, StepNode)}
    assert list(seen) == list(named) == ["a", "b", "c", "d", "e", "f"]
    for address, node in seen.items():
        assert min(node.timeout, node.undo_timeout) > 90 * 365 * 86_400
        assert replace(node, timeout=10.0, undo_timeout=10.0) == named[address]


def test_a_message_that_takes_a_year_is_no_outcome_of_a_travelling_saga() -> None:
    saga = Story(travelling(plan(remote("a"), remote("b"))))

    saga.tick(at=365 * 86_400.0)

    assert next_hop(saga.state) == ("a", ACTION)
    assert saga.state.step("a").action.attempts == 1
