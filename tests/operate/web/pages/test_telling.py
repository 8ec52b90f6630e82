"""What a page says of one saga in sentences, from a view, without a page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from amends.decide.events import Started
from amends.decide.evolve import evolve
from amends.decide.plan import Plan, SequenceNode
from amends.operate.values import SagaLine, SagaView, StepLine
from amends.operate.web.pages.telling import stand

NOW = 1000.0
LINE = SagaLine("order-1", "place-order", "running", 0.0, 1.0, None, None, "", "", "", "")
STEP = StepLine("charge_card", "step", "before", "pending", "pending", "", 0, 0, 1, None, "", None)
PLAN, STATE = Plan("place-order", SequenceNode(())), evolve(None, Started(b"{}"))
VIEW = SagaView(LINE, PLAN, STATE, b"{}", None, (), (), (), (), (), (), 0)


def told(*steps: StepLine, **line: object) -> tuple[str, str, tuple[str, ...]]:
    """Tone, title and sentences of a saga."""
    found = stand(replace(VIEW, line=LINE._replace(**line), steps=steps), NOW)  # type: ignore[arg-type]
    return found.tone, found.title, found.lines


def test_one_that_has_ended_says_how() -> None:
    assert told(status="completed")[:2] == ("good", "Completed")
    assert told(status="compensated", reason="the card was declined")[2] == (
        "It went back because: the card was declined",
        "What it did is undone.",
    )


def test_a_parked_one_says_why_first_and_names_a_step_once() -> None:
    _, title, lines = told(status="parked", reason="charge_card: no money", step="charge_card")

    assert title == "Parked: a person is needed"
    assert lines[0] == "charge_card: no money"
    assert told(status="parked", reason="no money", step="charge_card")[2][0] == "At charge_card: no money"
    assert told(status="parked")[2][0] == "nobody said why"


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (STEP._replace(status="running", attempts=1), "charge_card is being done."),
        (STEP._replace(status="running", attempts=3), "charge_card is being done (attempt 3)."),
        (
            STEP._replace(status="running", attempts=1, contract="bank.charge", due_at=NOW + 30),
            "charge_card is with bank; if no reply comes, it is asked again in 30 s.",
        ),
        (
            STEP._replace(status="waiting", attempts=2, due_at=NOW + 12, reason="no answer"),
            "charge_card is tried again in 12 s (attempt 2); the last attempt: no answer.",
        ),
        (
            STEP._replace(status="waiting", undo="waiting", undo_attempts=2, due_at=NOW - 1),
            "The undo of charge_card is tried again now (attempt 2).",
        ),
        (STEP._replace(kind="wait", status="waiting"), "It waits for the signal charge_card."),
        (
            STEP._replace(kind="sleep", status="waiting", due_at=NOW + 60),
            "It sleeps at charge_card until 1970-01-01 00:17:40 UTC, 1 min from now.",
        ),
        (STEP._replace(status="running", items=(("running", 2),)), "charge_card: 2 running."),
    ],
)
def test_what_happens_next_is_what_its_steps_do(step: StepLine, says: str) -> None:
    assert told(step)[2] == (says,)


def test_where_no_step_moves_it_says_who_takes_it_up() -> None:
    assert told()[2] == ("The next worker that is free takes it up.",)
    assert told(worker=3)[2] == ("Worker 3 has it in hand.",)
    assert told(due_at=NOW + 90)[2] == ("A worker takes it up again in 1 min 30 s.",)


@pytest.mark.parametrize(
    ("line", "title", "says"),
    [
        ({"stalled": "no such step"}, "Stalled: no worker has a definition that fits", "no such step. It goes on when"),
        ({"stranded": "nobody runs it"}, "Stranded: no live worker runs it", "nobody runs it."),
        ({"silent": "bank did not react"}, "Silent: a service did not react", "bank did not react."),
        ({"stuck": "ship"}, "One step is stuck, the rest goes on", "Stuck: ship."),
    ],
)
def test_trouble_comes_before_what_happens_next(line: dict[str, object], title: str, says: str) -> None:
    tone, found, lines = told(**line)

    assert (tone, found) == ("bad", title)
    assert lines[0].startswith(says)


def test_one_that_is_only_watched_says_where_to_act() -> None:
    assert "Its home is the service orders; act there." in told(home="orders")[2][0]


def test_messages_that_nobody_has_answered_are_told() -> None:
    found = stand(replace(VIEW, waiting_mail=2), NOW)

    assert found.lines[-1] == "2 messages for it are not answered yet."


def test_of_very_many_steps_under_way_some_are_named_and_the_rest_counted() -> None:
    steps = tuple(STEP._replace(address=f"s{number}", status="running", attempts=1) for number in range(9))

    assert told(*steps)[2][-1] == "3 more steps are under way."
