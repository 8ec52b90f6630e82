"""What a person could do now: exactly what the core would accept."""

from __future__ import annotations

from told import Story, after, go, parallel, plan, sequence, step

from amends.decide.draft import Word
from amends.decide.plan import PivotNode, StepNode, WaitNode
from amends.operate.preview import STEPS_MAX, acts, open_waits


def offered(told: Story, *live: int) -> list[tuple[str, str]]:
    """The acts on offer."""
    return [(act.verb, act.step) for act in acts(told.plan, told.state, told.now, frozenset(live))]


def test_a_step_that_is_stuck_before_the_pivot_may_be_retried_settled_or_undone() -> None:
    told = Story(plan(step("a"), step("b")))
    told.succeeds("a")

    told.fails("b", "bad password", park=True)

    assert offered(told) == [
        ("retry", "b"),
        ("unpark", ""),
        ("skip", "b"),
        ("resolve", "b"),
        ("compensate", ""),
    ]


def test_a_step_whose_result_is_read_is_resolved_with_one_and_not_skipped() -> None:
    told = Story(plan(step("a"), step("b", reads=("a",))))

    told.fails("a", "bad password", park=True)

    found = acts(told.plan, told.state, told.now, frozenset())
    assert ("resolve", "a", True) in [act[:3] for act in found]
    assert "skip" not in [act.verb for act in found]


def test_after_the_pivot_nothing_that_goes_back_is_offered() -> None:
    told = Story(plan(step("a"), go(), after("b")))
    told.succeeds("a", "go")

    told.rejects("b")

    assert {verb for verb, _ in offered(told)} == {"retry", "unpark", "skip", "resolve"}


def test_a_pivot_in_doubt_may_be_compensated_but_not_cancelled() -> None:
    told = Story(plan(step("a"), go(attempts=1)))
    told.succeeds("a")

    told.fails("go", "timeout")

    verbs = {verb for verb, _ in offered(told)}
    assert "compensate" in verbs
    assert "cancel" not in verbs


def test_a_stuck_undo_may_be_retried_or_settled_and_nothing_else() -> None:
    told = Story(plan(step("a"), step("b")))
    told.succeeds("a")
    told.rejects("b")

    told.undo_rejects("a")

    assert offered(told) == [("retry", "a"), ("unpark", ""), ("skip", "a"), ("resolve", "a")]


def test_what_still_runs_in_a_live_worker_is_not_to_be_retried() -> None:
    told = Story(plan(step("a")))
    told.hangs("a", worker=7)

    assert ("retry", "a") not in offered(told, 7)
    assert ("retry", "a") in offered(told)


def test_a_wait_may_be_signalled_and_the_saga_cancelled_or_compensated() -> None:
    told = Story(plan(step("a"), WaitNode("approval")))
    told.succeeds("a")

    assert ("signal", "approval") in offered(told)
    assert ("compensate", "") in offered(told)
    assert open_waits(told.plan, told.state) == ("approval",)
    told.signal("approval")
    assert open_waits(told.plan, told.state) == ()


def test_an_ended_saga_leaves_nothing_to_do() -> None:
    told = Story(plan(step("a")))

    told.succeeds("a")

    assert offered(told) == []


def test_asking_what_could_be_done_changes_nothing() -> None:
    told = Story(plan(step("a"), step("b")))
    told.succeeds("a")
    told.fails("b", "bad password", park=True)
    before = repr(told.state)

    offered(told)

    assert repr(told.state) == before


def test_whatever_is_offered_is_accepted() -> None:
    def parked() -> Story:
        told = Story(plan(step("z"), parallel(sequence(step("a"), step("b")), step("c")), PivotNode(), after("d")))
        told.succeeds("z", "a")
        told.fails("b", "bad password", park=True)
        told.fails("c", "bad password", park=True)
        return told

    for act in acts(parked().plan, parked().state, 0.0, frozenset()):
        told = parked()
        word = told.cancel() if act.verb == "cancel" else told.operate(act.verb, act.step, result=b"{}")
        assert word is Word.ACCEPTED, act


def test_of_very_many_stuck_steps_only_some_are_asked_about() -> None:
    nodes: list[StepNode] = [step(f"s{number}") for number in range(STEPS_MAX + 5)]
    told = Story(plan(parallel(*nodes)))
    for node in nodes:
        told.fails(node.address, "bad password", park=True)

    assert len([verb for verb, _ in offered(told) if verb == "retry"]) == STEPS_MAX
