"""Forward (rule 1), and the functions that steer (rule 10): what starts, when, and only once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from told import PIVOT, Story, after, each, items, look, parallel, plan, sequence, step

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.decide import decide
from amends.decide.plan import Node, SequenceNode, SleepNode, StepNode, WaitNode, WhenNode
from amends.decide.state import Action, Status
from amends.errors import ImpossibleTransition


def test_steps_run_in_plan_order() -> None:
    saga = Story(plan(step("a"), step("b"), PIVOT, after("c")))

    assert saga.doing == {"a"}
    saga.succeeds("a")
    assert saga.doing == {"b"}
    saga.succeeds("b")
    assert saga.doing == {"c"}
    saga.succeeds("c")
    assert saga.status == Status.COMPLETED


def test_a_three_step_saga_has_four_durable_points_and_the_last_outcome_is_the_end() -> None:
    one = decide(plan(step("a"), step("b")), None, m.Start(b"{}"), 0.0)
    two = decide(plan(step("a"), step("b")), one.state, m.Done("a", e.ACTION, b"1"), 0.0)
    three = decide(plan(step("a"), step("b")), two.state, m.Done("b", e.ACTION, b"2"), 0.0)

    assert one.events == (e.Started(b"{}"), e.Issued("a", e.ACTION))
    assert two.events == (e.Succeeded("a", b"1"), e.Issued("b", e.ACTION))
    assert three.events == (e.Succeeded("b", b"2"), e.Completed())


def test_branches_of_a_parallel_run_together_and_all_must_be_done() -> None:
    saga = Story(plan(parallel(step("a"), sequence(step("b"), step("c")), step("d")), step("e")))

    assert saga.doing == {"a", "b", "d"}
    saga.succeeds("b", "d")
    assert saga.doing == {"a", "c"}
    saga.succeeds("c")
    assert saga.doing == {"a"}
    saga.succeeds("a")
    assert saga.doing == {"e"}


@pytest.mark.parametrize("how", ["a rejection", "exhausted retries", "a deadline", "a cancel"])
def test_before_the_pivot_each_of_these_starts_compensation(how: str) -> None:
    saga = Story(plan(step("a"), step("b", attempts=1), PIVOT, after("c"), deadline=60.0))
    saga.succeeds("a")

    match how:
        case "a rejection":
            saga.rejects("b")
        case "exhausted retries":
            saga.fails("b")
        case "a deadline":
            saga.fails("b", park=True)
            saga.tell(m.Operate("mail", "retry", "b", "bob", "mended"))
            saga.tick(60.0)
            saga.succeeds("b")
        case _:
            saga.cancel()
            saga.rejects("b")

    assert saga.status == Status.COMPENSATING
    assert saga.undoing


def test_a_saga_without_a_pivot_is_before_it_throughout_its_last_step_too() -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")

    saga.rejects("b")

    assert saga.undoing == {"a"}
    saga.undone("a")
    assert saga.status == Status.COMPENSATED


def test_a_start_on_hold_issues_nothing_until_somebody_claims_the_saga() -> None:
    saga = Story(plan(step("a")), hold=True)

    assert saga.history == [e.Started(b"{}")]
    saga.tick(0.0)
    assert saga.doing == {"a"}


def test_a_history_begins_with_a_start_and_has_one() -> None:
    saga = Story(plan(step("a")))

    with pytest.raises(ImpossibleTransition, match="starts once"):
        saga.tell(m.Start(b"{}"))
    with pytest.raises(ImpossibleTransition, match="begins with a start"):
        decide(saga.plan, None, m.Tick(), 0.0)


# for_each


def test_for_each_starts_its_items_in_order_and_no_more_than_its_limit() -> None:
    saga = Story(plan(each(step("e"), limit=2), step("z")), answers={"e": items(4)})

    assert saga.doing == {"e[0]", "e[1]"}
    saga.succeeds("e[1]")
    assert saga.doing == {"e[0]", "e[2]"}
    saga.succeeds("e[0]", "e[2]")
    assert saga.doing == {"e[3]"}
    saga.succeeds("e[3]")
    assert saga.doing == {"z"}


def test_an_item_that_waits_for_its_next_attempt_keeps_its_place() -> None:
    saga = Story(plan(each(step("e"), limit=1)), answers={"e": items(2)})

    saga.fails("e[0]")

    assert saga.doing == set()
    saga.tick()
    assert saga.doing == {"e[0]"}


def test_for_each_over_nothing_is_done_at_once() -> None:
    saga = Story(plan(each(step("e")), step("z")), answers={"e": []})

    assert saga.doing == {"z"}


def test_a_rejected_item_turns_the_saga_back() -> None:
    saga = Story(plan(each(step("e"))), answers={"e": items(2)})
    saga.succeeds("e[0]")

    saga.rejects("e[1]")

    assert saga.undoing == {"e[0]"}


def test_collect_puts_a_rejection_into_the_list_and_goes_on() -> None:
    saga = Story(plan(each(step("e"), collect=True, limit=1), PIVOT, after("z")), answers={"e": items(2)})

    saga.rejects("e[0]")

    assert saga.doing == {"e[1]"}
    saga.succeeds("e[1]")
    assert saga.doing == {"z"}


def test_collect_behind_the_pivot_goes_on_too() -> None:
    saga = Story(plan(PIVOT, each(after("e"), collect=True)), answers={"e": items(1)})

    saga.rejects("e[0]")

    assert saga.status == Status.COMPLETED


def test_an_item_whose_rejection_follows_an_unresolved_attempt_is_unknown_and_not_collected() -> None:
    saga = Story(plan(each(step("e"), collect=True)), answers={"e": items(1)})
    saga.fails("e[0]")
    saga.tick()

    saga.rejects("e[0]")

    assert saga.action("e[0]") is Action.UNKNOWN
    assert saga.undoing == {"e[0]"}


def test_a_changed_definition_with_a_lower_limit_starts_no_item_before_there_is_a_place() -> None:
    saga = Story(plan(each(step("e"), limit=3)), answers={"e": items(9)})
    saga.plan = plan(each(step("e"), limit=1))

    saga.tell(m.Move(saga.plan.fingerprint))

    assert saga.doing == {"e[0]", "e[1]", "e[2]"}
    saga.succeeds("e[0]", "e[1]", "e[2]")
    assert saga.doing == {"e[3]"}


# What steers


@pytest.mark.parametrize(("taken", "then"), [(True, "a"), (False, "b")])
def test_a_condition_takes_one_branch_and_skips_the_other(taken: bool, then: str) -> None:
    saga = Story(plan(WhenNode("if", "function f", step("a"), step("b")), step("z")), answers={"if": taken})

    assert saga.doing == {then}
    assert saga.action("b" if taken else "a") is Action.SKIPPED
    saga.succeeds(then)
    assert saga.doing == {"z"}


def test_a_condition_that_says_no_without_an_otherwise_goes_on_at_once() -> None:
    saga = Story(plan(WhenNode("if", "function f", step("a")), step("z")), answers={"if": False})

    assert saga.doing == {"z"}


def test_a_condition_that_says_yes_without_an_otherwise_skips_nothing() -> None:
    saga = Story(plan(WhenNode("if", "function f", step("a")), step("z")), answers={"if": True})

    assert not saga.happened(e.Skipped)
    assert saga.doing == {"a"}


def test_everything_in_the_branch_not_taken_is_skipped_nested_nodes_too() -> None:
    inner = WhenNode("inner", "function g", sequence(step("a"), parallel(step("b"), each(step("e")))))
    saga = Story(plan(WhenNode("if", "function f", inner, step("z"))), answers={"if": False})

    assert saga.happened(e.Skipped) == [e.Skipped(("inner", "a", "b", "e"))]


def test_what_steers_is_asked_once_and_recorded_before_anything_runs() -> None:
    nodes = (WhenNode("if", "function f", each(step("e"))), SleepNode("nap", until="function g"), step("z"))
    saga = Story(plan(*nodes), answers={"if": True, "e": items(1), "nap": 50.0})
    saga.fails("e[0]")
    saga.tick()
    saga.succeeds("e[0]")
    saga.tick()

    assert saga.asked == ["condition if", "over e", "until nap"]
    assert saga.history[1:4] == [e.Chosen("if", True), e.Listed("e", (b"0",)), e.Issued("e[0]", e.ACTION)]


@pytest.mark.parametrize("name", ["if", "e", "nap"])
def test_an_exception_in_what_steers_parks_and_unpark_asks_again(name: str) -> None:
    nodes: dict[str, Node] = {
        "if": WhenNode("if", "function f", step("a")),
        "e": each(step("e")),
        "nap": SleepNode("nap", until="function g"),
    }
    saga = Story(plan(nodes[name], step("z")), answers={name: ValueError("no such thing")})

    assert saga.status == Status.PARKED
    assert saga.state.parked == f"{name}: no such thing"
    saga.answers.update({"if": False, "e": [], "nap": 0.0})
    saga.operate("unpark")
    assert saga.doing == {"z"}


# sleep


def test_a_sleep_is_recorded_once_as_an_instant_and_ends_at_it() -> None:
    saga = Story(plan(SleepNode("nap", seconds=30.0), step("a")))

    assert saga.happened(e.Waiting) == [e.Waiting("nap", 30.0)]
    saga.tick(29.0)
    assert saga.doing == set()
    assert saga.due == 30.0
    saga.tick(30.0)
    assert saga.doing == {"a"}
    assert len(saga.happened(e.Waiting)) == 1


def test_a_sleep_of_no_time_goes_on_at_once() -> None:
    saga = Story(plan(SleepNode("nap", seconds=0.0), step("a")))

    assert saga.doing == {"a"}


def test_the_nearest_instant_is_the_one_the_saga_wakes_for() -> None:
    saga = Story(plan(parallel(SleepNode("long", seconds=30.0), SleepNode("short", seconds=10.0)), deadline=20.0))

    assert saga.due == 10.0
    saga.tick()
    assert saga.due == 20.0


# wait_for


def test_a_signal_ends_the_wait_and_is_its_result() -> None:
    saga = Story(plan(WaitNode("w"), step("a")))

    saga.signal("w", b'"go"')

    assert saga.state.step("w").result == b'"go"'
    assert saga.doing == {"a"}


def test_a_signal_sent_before_the_wait_is_kept_for_it() -> None:
    saga = Story(plan(step("a"), WaitNode("w"), step("b")))

    saga.signal("w", b'"early"')
    saga.succeeds("a")

    assert saga.doing == {"b"}
    assert saga.state.step("w").result == b'"early"'


@pytest.mark.parametrize(
    ("node", "action", "status"),
    [
        (WaitNode("w", timeout=10.0), Action.REJECTED, Status.COMPENSATING),
        (WaitNode("w", timeout=10.0, default='"d"'), Action.SUCCEEDED, Status.RUNNING),
    ],
)
def test_before_the_pivot_a_wait_times_out_as_a_rejection_or_gives_its_default(
    node: WaitNode, action: Action, status: Status
) -> None:
    saga = Story(plan(step("a"), node, step("b")))
    saga.succeeds("a")

    saga.tick(10.0)

    assert saga.action("w") is action
    assert saga.status is status


def test_behind_the_pivot_a_wait_that_times_out_parks() -> None:
    saga = Story(plan(PIVOT, WaitNode("w", timeout=10.0, place=after("x").place)))

    saga.tick(10.0)

    assert saga.status == Status.PARKED
    assert saga.action("w") is Action.STUCK


def test_a_second_wait_that_times_out_with_the_first_is_abandoned() -> None:
    saga = Story(plan(parallel(WaitNode("v", timeout=10.0), WaitNode("w", timeout=10.0), WaitNode("x", timeout=20.0))))

    saga.tick(10.0)

    assert saga.action("v") is Action.REJECTED
    assert saga.action("w") is Action.SKIPPED
    assert saga.status == Status.COMPENSATED


def test_a_walk_that_changes_nothing_emits_nothing() -> None:
    wait = WaitNode("w", timeout=90.0)
    whole = plan(parallel(step("a"), wait, SleepNode("nap", seconds=50.0), each(step("e"))), step("z"))
    saga = Story(whole, answers={"e": items(3)})

    assert saga.tick(1.0) == []


def test_plans_are_walked_at_any_depth() -> None:
    inner: SequenceNode | StepNode = look("deep")
    for _ in range(20):
        inner = sequence(parallel(sequence(inner)))

    saga = Story(replace(plan(inner), output="deep"))

    saga.succeeds("deep")
    assert saga.status == Status.COMPLETED
