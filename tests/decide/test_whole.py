"""Named tuples that are made without their constructor have every field all the same."""

from __future__ import annotations

import pytest
from told import plan, step

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.decide import decide
from amends.decide.messages import Message

FORWARD: tuple[Message, ...] = (m.Done("a", e.ACTION, b"1"), m.Done("b", e.ACTION, b"2"))
BACK: tuple[Message, ...] = (m.Done("a", e.ACTION, b"1"), m.No("b", e.ACTION, "no"), m.Done("a", e.UNDO))


@pytest.mark.parametrize("messages", [FORWARD, BACK], ids=["forward", "back"])
def test_decisions_events_and_what_is_known_of_a_step_have_every_field(messages: tuple[Message, ...]) -> None:
    flow = plan(step("a"), step("b"))
    decisions = [decide(flow, None, m.Start(b"{}"), 0.0)]
    for message in messages:
        decisions.append(decide(flow, decisions[-1].state, message, 0.0))

    steps = [known for decision in decisions for known in decision.state.steps.values()]
    tracks = [track for known in steps for track in (known.action, known.undo) if track is not None]
    events = [event for decision in decisions for event in decision.events]
    for value in (*decisions, *steps, *tracks, *events):
        assert len(value) == len(value._fields)
