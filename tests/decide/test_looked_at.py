"""An act may be meant for one version of a saga; who sees to one, and notes about it, move nothing."""

from __future__ import annotations

import pytest
from told import Story, go, parallel, plan, remote, step

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.draft import Word
from amends.decide.mail import NOTES_CHARACTERS_MAX, changed_by
from amends.decide.messages import Looked
from amends.decide.plan import WaitNode
from amends.decide.state import Action

SAME = Looked(seen=7, changed=7, now=9)  # what came since moved nothing
STALE = Looked(seen=7, changed=8, now=9)


def parked() -> Story:
    """A saga that waits for a person."""
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")
    saga.fails("b", "credentials", park=True)
    return saga


# The version


def test_an_act_for_a_version_that_the_saga_has_left_is_refused_and_says_where_it_is() -> None:
    saga = parked()

    assert saga.operate("retry", "b", looked=STALE) is Word.CHANGED

    assert saga.said == "the saga has moved on: it is at version 9 now, you looked at 7; look again"
    assert saga.happened(e.Refused) == [e.Refused("retry", "mail-1", saga.said)]
    assert saga.doing == set()


def test_an_act_for_the_version_that_the_saga_is_at_is_done() -> None:
    saga = parked()

    assert saga.operate("retry", "b", looked=Looked(9, 9, 9)) is Word.ACCEPTED


def test_what_moved_nothing_since_stands_in_nobodys_way() -> None:
    saga = parked()

    assert saga.operate("retry", "b", looked=SAME) is Word.ACCEPTED


def test_a_version_that_is_still_to_come_is_of_another_saga_with_this_id() -> None:
    saga = parked()

    assert saga.operate("retry", "b", looked=Looked(seen=12, changed=7, now=9)) is Word.CHANGED


@pytest.mark.parametrize(
    ("mail", "verb"),
    [
        (m.Signal("m", "w", b"1", looked=STALE), "signal"),
        (m.Cancel("m", "bob", "", STALE), "cancel"),
        (m.Operate("m", "compensate", "", "bob", "", looked=STALE), "compensate"),
        (m.Assign("m", "ada", "bob", "", STALE), "assign"),
        (m.Note("m", "hm", "bob", STALE), "note"),
    ],
)
def test_every_kind_of_mail_may_be_meant_for_one_version(mail: m.Mail, verb: str) -> None:
    saga = Story(plan(step("a"), WaitNode("w")))

    saga.tell(mail)

    assert saga.word("m") is Word.CHANGED
    assert [refused.verb for refused in saga.happened(e.Refused)] == [verb]


@pytest.mark.parametrize(
    ("events", "changed"),
    [
        ((), False),
        ((e.Refused("retry", "m", "no"),), False),
        ((e.Noted("hm", "bob"), e.Assigned("ada", "bob", "")), False),
        ((e.Postponed("a", e.ACTION, 1.0),), False),
        ((e.Adopted(3, 1, 0),), False),
        ((e.Adopted(3, 1, 0), e.Failed("a", e.ACTION, "its worker died", False, 0.0, True)), True),
        ((e.Succeeded("a", b"1"),), True),
        ((e.Late("a", e.ACTION, "succeeded", b"1"),), True),
        ((e.Kept("w", b"1"),), True),
        ((e.CancelNoted("m", ""),), True),
    ],
)
def test_a_saga_is_another_once_something_is_known_of_it_that_an_act_may_depend_upon(
    events: tuple[e.Event, ...], changed: bool
) -> None:
    assert changed_by(events) is changed


# Who sees to it


def test_a_saga_is_assigned_and_its_history_says_by_whom() -> None:
    saga = parked()

    assert saga.assign("ada") is Word.ACCEPTED

    assert saga.state.assigned == "ada"
    assert saga.happened(e.Assigned) == [e.Assigned("ada", "bob", "he knows")]


def test_to_assign_it_to_the_same_person_again_is_no_news() -> None:
    saga = parked()
    saga.assign("ada")

    assert saga.assign("ada") is Word.ACCEPTED

    assert saga.said == "it was assigned to ada already"
    assert len(saga.happened(e.Assigned)) == 1


def test_a_saga_may_be_nobodys_again() -> None:
    saga = parked()
    assert saga.assign("") is Word.ACCEPTED
    assert saga.said == "it was assigned to nobody"
    saga.assign("ada")

    assert saga.assign("") is Word.ACCEPTED

    assert saga.said == "it was assigned to ada before"
    assert saga.state.assigned == ""


def test_the_last_note_stands_and_all_are_in_the_history() -> None:
    saga = parked()

    saga.note("the bank calls back")
    assert saga.note("at nine") is Word.ACCEPTED

    assert saga.state.note == "at nine"
    assert saga.happened(e.Noted) == [e.Noted("the bank calls back", "bob"), e.Noted("at nine", "bob")]


@pytest.mark.parametrize("text", ["", "  \n", "x" * (NOTES_CHARACTERS_MAX + 1)])
def test_a_note_says_something_and_not_too_much(text: str) -> None:
    saga = parked()

    assert saga.note(text) is Word.REFUSED
    assert saga.state.note == ""


def test_a_name_that_is_too_long_is_refused() -> None:
    saga = parked()

    assert saga.assign("x" * (NOTES_CHARACTERS_MAX + 1)) is Word.REFUSED
    assert saga.state.assigned == ""


@pytest.mark.parametrize("say", ["assign", "note"])
def test_neither_wakes_or_moves_anything(say: str) -> None:
    waiting = Story(plan(parallel(step("a"), remote("b")), go()))
    waiting.fails("a", after=3600.0)
    for saga in (parked(), waiting):
        before = (saga.status, saga.doing, saga.state.steps, saga.wake, len(saga.history))

        assert (saga.assign("ada") if say == "assign" else saga.note("hm")) is Word.ACCEPTED

        assert (saga.status, saga.doing, saga.state.steps, saga.wake) == before[:4]
        assert len(saga.history) == before[4] + 1
    assert waiting.action("a") is Action.WAITING


def test_a_saga_that_goes_back_is_assigned_too_and_one_that_has_ended_is_not() -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")
    saga.rejects("b")

    assert saga.assign("ada") is Word.ACCEPTED
    saga.undone("a")
    assert saga.assign("bob") is Word.TOO_LATE
    assert saga.note("well done") is Word.TOO_LATE
