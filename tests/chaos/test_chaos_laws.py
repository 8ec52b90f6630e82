"""The laws about histories find what is wrong: each is broken by hand, and must be reported by its name.

Must not: need a server, or a process.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from chaos_laws import asked_back, calls_were_decided, explained, tried, undone_unasked, until_taken_over

from amends.decide import events as e
from amends.decide.events import Phase
from amends.decide.plan import Plan, SequenceNode, StepNode
from amends.decide.policy import Policy
from amends.operate.values import SagaView
from amends.run.journal import Row

ACTION, UNDO = Phase.ACTION, Phase.UNDO
TWICE = Plan("buy", SequenceNode((StepNode("charge", compensated=True, retry=Policy(2), undo_retry=Policy(2)),)))
STARTED = e.Started(b"{}")
CHARGED = (STARTED, e.Issued("charge", ACTION), e.Succeeded("charge", b"1"))
BACK = (*CHARGED, e.TurnedBack("cancelled", "", "the customer called"), e.Issued("charge", UNDO))


def _saga(status: str) -> SagaView:
    return cast(SagaView, SimpleNamespace(line=SimpleNamespace(status=status), plan=TWICE))


def _rows(*events: e.Event, worker: int = 1, at: float = 1.0) -> list[Row]:
    return [Row(at, worker, events)]


def test_a_saga_that_went_back_and_says_why_breaks_no_law() -> None:
    events = (*BACK, e.Undone("charge"), e.Compensated())

    found = [*explained("a", _saga("compensated"), events), *asked_back("a", events), *tried("a", _saga("-"), events)]

    assert found == []


@pytest.mark.parametrize(
    ("status", "events", "told"),
    [
        ("completed", BACK, "S18 a: its history makes it compensating, and it is shown as completed"),
        ("compensated", (STARTED, e.Compensated()), "S18 a: its history cannot be"),
        (
            "compensating",
            (*CHARGED, e.TurnedBack("boredom", "", "who knows"), e.Issued("charge", UNDO)),
            "S18 a: it went back, and its history does not say why",
        ),
        (
            "compensating",
            (*CHARGED, e.TurnedBack("rejected", "", ""), e.Issued("charge", UNDO)),
            "S18 a: it went back, and its history does not say why",
        ),
        ("parked", (*CHARGED, e.Parked("")), "S18 a: it is parked, and its history does not say why"),
    ],
)
def test_s18_what_a_history_does_not_explain_is_told(status: str, events: Sequence[e.Event], told: str) -> None:
    found = [*explained("a", _saga(status), events)]

    assert len(found) == 1
    assert found[0].startswith(told)


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ((STARTED, e.Issued("charge", ACTION), e.Issued("charge", UNDO)), "before its action had ended"),
        ((STARTED, e.Sent("charge", ACTION, 9.0), e.Sent("charge", UNDO, 9.0)), "before its action had ended"),
        ((STARTED, e.Rejected("charge", "declined"), e.Issued("charge", UNDO)), "said no, and its undo"),
        ((*CHARGED, e.Retried("charge", ACTION, 2), e.Issued("charge", UNDO)), "before its action had ended"),
    ],
)
def test_s8_an_undo_that_is_asked_for_without_knowledge_is_told(events: Sequence[e.Event], told: str) -> None:
    (found,) = asked_back("a", events)

    assert found.startswith("S8 a")
    assert told in found


def test_s8_a_step_of_which_nobody_knows_may_be_undone() -> None:
    events = (STARTED, e.Issued("charge", ACTION), e.Unknown("charge", "no answer"), e.Issued("charge", UNDO))

    assert [*asked_back("a", events)] == []


def test_l5_an_attempt_beyond_those_of_its_step_is_told_once() -> None:
    attempt = (e.Issued("charge", ACTION), e.Failed("charge", ACTION, "away", resolved=False, due=1.0))

    assert [*tried("a", _saga("-"), (STARTED, *attempt * 2))] == []
    assert [*tried("a", _saga("-"), (STARTED, *attempt * 4))] == [
        "L5 a: the action of charge is tried more than 2 times"
    ]


def test_l5_an_attempt_that_went_down_with_its_worker_counts_for_none_and_a_person_begins_anew() -> None:
    lost = (e.Issued("charge", UNDO), e.Failed("charge", UNDO, "its worker died", resolved=False, due=1.0, lost=True))
    failed = (e.Issued("charge", UNDO), e.Failed("charge", UNDO, "away", resolved=False, due=1.0))

    events = (*lost * 3, *failed * 2, e.Retried("charge", UNDO, 1), *failed * 2)

    assert [*tried("a", _saga("-"), events)] == []


def test_l5_a_call_that_no_history_has_is_told() -> None:
    calls: list[dict[str, Any]] = [{"op": "do", "saga": "a", "step": "charge"}] * 2

    assert [*calls_were_decided(calls[:1], {"a": _rows(*CHARGED)})] == []
    assert [*calls_were_decided(calls, {"a": _rows(*CHARGED)})] == [
        "L5 a: the action of charge was called 2 times, and decided 1 times"
    ]


def test_s7_an_undo_of_what_was_never_done_is_told() -> None:
    calls = [{"op": "undo", "saga": "a", "step": "charge"}, {"op": "do", "saga": "b", "step": "charge"}]

    assert [*undone_unasked(calls, [("a", "charge")])] == []
    assert [*undone_unasked(calls, [("b", "charge")])] == [
        "S7 a: the undo of charge was called, and it never had an effect"
    ]


def test_l2_how_long_nobody_had_a_saga_is_counted_from_the_last_line_of_who_is_gone() -> None:
    histories = {
        "a": [Row(1.0, 1, CHARGED), Row(9.0, 2, (e.Adopted(1, 1, 0),))],
        "b": [Row(4.0, 1, CHARGED), Row(6.0, 2, (e.Adopted(1, 1, 0),))],
    }

    found = until_taken_over(histories)

    assert found.seconds == (2.0, 5.0)
    assert (found.median, found.longest) == (5.0, 5.0)
