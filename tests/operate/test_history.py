"""The history: every event has words, with its attempt, who acted and why."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from told import Story, plan, step

from amends.decide import events as e
from amends.decide.events import Event, Phase
from amends.decide.plan import Plan, SequenceNode, SleepNode, StepNode, WaitNode, WhenNode
from amends.decide.state import Track, Undo
from amends.errors import StoreDamaged
from amends.operate import history
from amends.run import journal, mailbox
from amends.store.base import MailRow

ACTION, UNDO = Phase.ACTION, Phase.UNDO
NOON = 1_764_072_000.0
PLAN = Plan(
    "shop",
    SequenceNode(
        (
            StepNode("a", compensated=True),
            StepNode("b", compensated=True, work="command:stock/reserve"),
            SleepNode("nap", seconds=9.0),
            WaitNode("approval"),
            WhenNode("big", "big", SequenceNode((StepNode("extra", compensated=True),))),
        )
    ),
)
WORDS: list[tuple[Event, str]] = [
    (e.Started(b"{}"), "started"),
    (e.Started(b"{}", NOON), "started; to be done by 2025-11-25 12:00:00 UTC"),
    (e.Issued("a", ACTION), "a: attempt 1"),
    (e.Built("b", b"{}"), "b: the command for stock.reserve"),
    (
        e.Sent("b", ACTION, NOON),
        "b: attempt 0 goes to stock.reserve, a reply is waited for until 2025-11-25 12:00:00 UTC",
    ),
    (
        e.Sent("b", UNDO, NOON),
        "the undo of b: attempt 0 goes to the undo of stock.reserve, a reply is waited for until "
        "2025-11-25 12:00:00 UTC",
    ),
    (
        e.Postponed("b", ACTION, NOON),
        "b: the broker is away, a reply is waited for until 2025-11-25 12:00:00 UTC",
    ),
    (e.Begun("a", ACTION), "a: carefully, alone, since workers died while this saga ran"),
    (e.Succeeded("a", b"1"), "a succeeded"),
    (e.Succeeded("nap", b"null"), "nap: the time has come"),
    (e.Succeeded("approval", b"true"), "the signal approval is here"),
    (e.Rejected("a", "sold out"), "a said no: sold out"),
    (
        e.Failed("a", ACTION, "timeout", False, NOON + 2.5),
        "a: the attempt ended without a clear answer: timeout; the next attempt in 2.5 s",
    ),
    (
        e.Failed("a", ACTION, "locked", True, NOON),
        "a: the attempt failed, and nothing stayed: locked; the next attempt at once",
    ),
    (
        e.Failed("a", UNDO, "worker 3", False, NOON, lost=True),
        "the undo of a: the attempt went down with its worker: worker 3; the next attempt at once",
    ),
    (e.Unknown("a", "timeout"), "a is unknown, and no attempt is left: timeout"),
    (e.Stuck("a", UNDO, "no shelf"), "the undo of a is stuck: no shelf"),
    (
        e.Stuck("a", ACTION, "still running", overdue=4),
        "a is stuck, its function still runs in worker 4: still running",
    ),
    (e.Undone("a"), "a is undone"),
    (e.Voided("a"), "a: there was nothing to undo"),
    (e.Waiting("nap", NOON), "nap: sleeps until 2025-11-25 12:00:00 UTC"),
    (e.Waiting("approval", None), "waits for the signal approval"),
    (e.Chosen("big", True), "big: the condition holds"),
    (e.Chosen("big", False), "big: the condition does not hold"),
    (e.Skipped(("extra",)), "not taken: extra"),
    (e.Listed("each", (b"1", b"2")), "each: 2 items"),
    (e.Abandoned("nap"), "nap is no longer waited for"),
    (e.PivotPassed("b"), "the pivot is passed: only forward from here"),
    (e.TurnedBack("rejected", "b", "no"), "goes back, since b said no: no"),
    (e.TurnedBack("deadline", "", "its deadline passed"), "goes back: its deadline passed"),
    (e.Kept("approval", b"1"), "the signal approval came and is kept"),
    (e.CancelNoted("m-1", "changed"), "the cancel waits for the outcome of the pivot"),
    (e.Parked("a: no shelf"), "parked, a person is needed: a: no shelf"),
    (e.Resumed(), "goes on"),
    (e.ResumedBack(), "goes on going back"),
    (e.Completed(), "completed"),
    (e.Compensated(), "compensated: everything that was done is undone"),
    (e.Adopted(3, 1, 0), "worker 3 is gone, and the saga was taken over from it"),
    (
        e.Adopted(3, 2, 0),
        "worker 3 is gone, and the saga was taken over from it; 2 workers died since its last progress",
    ),
    (e.Operated("retry", "a", "ada", "it is back"), "ada: retry a, because: it is back"),
    (e.Operated("unpark", "", "ada", ""), "ada: unpark"),
    (e.Refused("skip", "m-1", "it is running"), "skip (from ada) was refused: it is running"),
    (e.Refused("skip", "m-9", "it is running"), "skip was refused: it is running"),
    (e.Retried("a", ACTION, 1), "a is tried again"),
    (e.Retried("a", ACTION, 2), "a is tried again, in round 2 and under new keys"),
    (
        e.Retried("a", ACTION, 2, closed=True),
        "a is tried again, in round 2 and under new keys: nothing stayed of the round before, that person says",
    ),
    (e.Retried("a", UNDO, 2), "the undo of a is tried again"),
    (e.Closed("a", UNDO, "by hand"), "the undo of a is settled by hand: by hand"),
    (e.Late("a", ACTION, "succeeded"), "a was heard of after the saga had moved on: succeeded"),
    (e.Given("a", b'{"order":1}'), "a is called with other arguments from here on"),
    (e.Assigned("ada", "bob", ""), "bob: assigned to ada"),
    (e.Assigned("", "bob", "his shift is over"), "bob: assigned to nobody, because: his shift is over"),
    (e.Noted("the bank calls back", "bob"), "bob notes: the bank calls back"),
    (e.Moved("0123456789abcdef"), "runs on a changed definition from here on (0123456789ab)"),
]


def mail(message: str, kind: str, answer: str | None = "accepted", **fields: Any) -> MailRow:
    """A mail as the store gives it."""
    return MailRow(1, b"", message, kind, mailbox.write(**fields), NOON, answer, None, None)


@pytest.mark.parametrize(("event", "words"), WORDS)
def test_every_event_has_its_words(event: Event, words: str) -> None:
    told = Story(PLAN)
    senders = {"m-1": history.Sender("act", "", "ada", True)}

    assert history._word(PLAN, told.state, event, senders, NOON).text == words


def test_a_saga_with_an_undo_that_a_person_settled_is_not_said_to_have_undone_everything() -> None:
    state = Story(PLAN).state
    state.steps["a"] = state.step("a")._replace(undo=Track(Undo.CLOSED))

    word = history._word(PLAN, state, e.Compensated(), {}, NOON)

    assert word.text == "compensated: what was done is undone, or settled by hand"


def test_a_wait_is_not_said_to_have_said_no_when_nobody_has_answered() -> None:
    event = e.Rejected("approval", "no signal came in time")

    assert history._word(PLAN, Story(PLAN).state, event, {}, NOON).text == "approval: no signal came in time"


def test_no_kind_of_event_is_without_a_test_of_its_words() -> None:
    assert {type(event) for event, _ in WORDS} == set(get_args(Event))


def test_a_line_carries_the_attempt_and_the_round_as_they_were_then() -> None:
    told = Story(plan(step("a", attempts=3)))
    told.fails("a", "timeout")
    told.tick()
    told.fails("a", "reset")
    rows = [journal.encode(NOON, 5, [event]) for event in told.history]

    lines = history.lines(told.plan, rows, ())

    assert [(line.event, line.attempt, line.round, line.worker) for line in lines] == [
        ("started", 0, 0, 5),
        ("issued", 1, 1, 5),
        ("failed", 1, 1, 5),
        ("issued", 2, 1, 5),
        ("failed", 2, 1, 5),
    ]
    assert [line.reason for line in lines if line.event == "failed"] == ["timeout", "reset"]


def test_an_undo_has_attempts_of_its_own() -> None:
    told = Story(plan(step("a"), step("b")))
    told.succeeds("a")
    told.rejects("b")

    lines = history.lines(told.plan, [journal.encode(NOON, 1, told.history)], ())

    assert lines[-1].text == "the undo of a: attempt 1"
    assert (lines[-1].phase, lines[-1].attempt) == (UNDO, 1)


def test_a_signal_is_told_with_whoever_sent_the_one_that_counted() -> None:
    told = Story(plan(step("a"), WaitNode("approval")))
    told.succeeds("a")
    told.signal("approval")
    rows = [journal.encode(NOON, 1, told.history)]
    mails = [
        mail("m-1", "signal", "refused", name="approval", actor="bob"),
        mail("m-2", "signal", name="approval", actor="ada"),
        mail("m-3", "signal", name="other", actor="eve"),
    ]

    lines = history.lines(told.plan, rows, mails)

    assert [(line.actor, line.value) for line in lines if "approval is here" in line.text] == [("ada", b'"yes"')]


def test_a_row_that_is_none_is_said_to_be_damaged() -> None:
    with pytest.raises(StoreDamaged, match="a journal row cannot be read"):
        history.lines(PLAN, [b"[1, 2"], ())
