"""The barrier, line by line as the design's table has it. The horizon, its first line, needs a
clock and the message's send time, and stands where messages arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amends.decide.barrier import Entry, Kept, Ruling, Verdict, action_arrives, undo_arrives

SUCCEEDED = Entry(Kept.SUCCEEDED, result=b'"r"')
REJECTED = Entry(Kept.REJECTED, reason="no")
COMPENSATED = Entry(Kept.SUCCEEDED, compensated=True)
TOMBSTONE = Entry(Kept.TOMBSTONE)
MISSING = Entry(Kept.TOMBSTONE, missing=True)

entries = st.sampled_from([None, SUCCEEDED, REJECTED, COMPENSATED, TOMBSTONE, MISSING])


# An action


@pytest.mark.parametrize("entry", [TOMBSTONE, MISSING, COMPENSATED])
def test_an_action_that_meets_a_tombstone_or_a_compensation_is_fenced(entry: Entry) -> None:
    assert action_arrives(entry, {}, 1) == Ruling(Verdict.FENCED)


@pytest.mark.parametrize("entry", [None, SUCCEEDED, REJECTED, TOMBSTONE])
def test_an_action_of_a_round_below_another_is_fenced_whatever_its_own_row_says(entry: Entry | None) -> None:
    assert action_arrives(entry, {2: TOMBSTONE}, 1) == Ruling(Verdict.FENCED)


def test_an_action_while_an_earlier_round_has_its_effect_still_is_not_run() -> None:
    assert action_arrives(None, {1: SUCCEEDED}, 2) == Ruling(Verdict.EARLIER_OPEN)


@pytest.mark.parametrize("earlier", [REJECTED, COMPENSATED, TOMBSTONE, MISSING])
def test_an_action_after_an_earlier_round_that_is_settled_runs(earlier: Entry) -> None:
    assert action_arrives(None, {1: earlier}, 2) == Ruling(Verdict.RUN)


def test_an_action_after_an_earlier_round_that_a_person_closed_runs() -> None:
    assert action_arrives(None, {1: SUCCEEDED}, 2, closed_round=1) == Ruling(Verdict.RUN)
    assert action_arrives(None, {1: SUCCEEDED, 2: SUCCEEDED}, 3, closed_round=1) == Ruling(Verdict.EARLIER_OPEN)


def test_an_action_that_meets_nothing_runs() -> None:
    assert action_arrives(None, {}, 1) == Ruling(Verdict.RUN)


@pytest.mark.parametrize("entry", [SUCCEEDED, REJECTED])
def test_an_action_that_was_done_is_answered_as_before(entry: Entry) -> None:
    assert action_arrives(entry, {}, 1) == Ruling(Verdict.REPLAY)


def test_a_repeat_of_the_latest_round_is_answered_as_before_though_earlier_rounds_exist() -> None:
    assert action_arrives(SUCCEEDED, {1: SUCCEEDED}, 2) == Ruling(Verdict.REPLAY)


# A compensation


@pytest.mark.parametrize("succeeded", [True, False])
def test_a_compensation_of_what_succeeded_runs_whatever_the_sender_knows(succeeded: bool) -> None:
    assert undo_arrives(SUCCEEDED, succeeded=succeeded) == Ruling(Verdict.RUN)


@pytest.mark.parametrize("succeeded", [True, False])
def test_a_compensation_that_was_done_is_answered_as_before(succeeded: bool) -> None:
    assert undo_arrives(COMPENSATED, succeeded=succeeded) == Ruling(Verdict.REPLAY)


@pytest.mark.parametrize("succeeded", [True, False])
def test_what_was_missing_is_missing_every_time(succeeded: bool) -> None:
    assert undo_arrives(MISSING, succeeded=succeeded).verdict is Verdict.MISSING
    assert undo_arrives(MISSING, succeeded=succeeded).entry in (None, MISSING)


@pytest.mark.parametrize("entry", [None, TOMBSTONE])
def test_a_compensation_of_a_success_that_nobody_here_knows_is_missing_and_marked(entry: Entry | None) -> None:
    assert undo_arrives(entry, succeeded=True) == Ruling(Verdict.MISSING, MISSING)


def test_a_compensation_that_meets_nothing_leaves_a_tombstone_and_is_void() -> None:
    assert undo_arrives(None, succeeded=False) == Ruling(Verdict.VOID, TOMBSTONE)


@pytest.mark.parametrize(("entry", "succeeded"), [(REJECTED, True), (REJECTED, False), (TOMBSTONE, False)])
def test_a_compensation_of_what_never_had_an_effect_is_void(entry: Entry, succeeded: bool) -> None:
    assert undo_arrives(entry, succeeded=succeeded) == Ruling(Verdict.VOID)


# What follows from the lines together (P2)

arrivals = st.lists(st.sampled_from(["action", "undo of a success", "undo of an unknown"]), max_size=12)


@given(arrivals, st.lists(st.sampled_from(["succeeds", "rejects", "rolls back"]), min_size=12, max_size=12))
def test_whatever_arrives_in_whatever_order_there_is_one_effect_and_none_after_its_compensation(
    arriving: list[str], handling: list[str]
) -> None:
    row: Entry | None = None
    effects = undone = 0

    for what, outcome in zip(arriving, handling, strict=False):
        ruling = action_arrives(row, {}, 1) if what == "action" else undo_arrives(row, succeeded="success" in what)
        row = ruling.entry or row
        if ruling.verdict is not Verdict.RUN or outcome == "rolls back":
            continue
        if what != "action":
            assert row == SUCCEEDED
            row, undone = COMPENSATED, undone + 1
        elif outcome == "succeeds":
            assert undone == 0
            row, effects = SUCCEEDED, effects + 1
        else:
            row = REJECTED

    assert undone <= effects <= 1


@given(entries, entries)
def test_at_most_the_latest_round_ever_runs(mine: Entry | None, other: Entry | None) -> None:
    rounds = {} if other is None else {2: other}

    assert other is None or action_arrives(mine, rounds, 1).verdict is Verdict.FENCED
