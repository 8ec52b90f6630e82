"""The barrier, line by line as its table has it; `test_barrier_model.py` has what follows from the
lines together, over all interleavings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amends.decide.barrier import (
    HORIZON_SECONDS,
    Arrival,
    Entry,
    Kept,
    Ruling,
    Verdict,
    action_arrives,
    answer,
    arrives,
    expired,
    undo_arrives,
)
from amends.decide.events import ACTION, UNDO, Phase
from amends.decide.wire import Word

NOW = 1_000_000_000.0
OLD = NOW - HORIZON_SECONDS - 1
SUCCEEDED = Entry(Kept.SUCCEEDED, result=b'"r"')
REJECTED = Entry(Kept.REJECTED, reason="no")
COMPENSATED = Entry(Kept.SUCCEEDED, compensated=True)
TOMBSTONE = Entry(Kept.TOMBSTONE)
MISSING = Entry(Kept.TOMBSTONE, missing=True)

entries = st.sampled_from([None, SUCCEEDED, REJECTED, COMPENSATED, TOMBSTONE, MISSING])


# Anything


@pytest.mark.parametrize("phase", [ACTION, UNDO])
@pytest.mark.parametrize("row", [None, SUCCEEDED, REJECTED, COMPENSATED, TOMBSTONE, MISSING])
def test_what_is_older_than_the_horizon_is_expired_whatever_the_row_says(phase: Phase, row: Entry | None) -> None:
    rows = {} if row is None else {1: row}

    assert arrives(Arrival(phase, 1, OLD, known=True), rows, NOW) == Ruling(Verdict.EXPIRED)


def test_the_horizon_is_counted_from_when_the_command_was_sent() -> None:
    assert not expired(NOW - HORIZON_SECONDS, NOW)
    assert expired(NOW - HORIZON_SECONDS - 0.001, NOW)
    assert expired(NOW - 61, NOW, horizon_seconds=60)


@pytest.mark.parametrize("sent_at", [NOW + 1, NOW + HORIZON_SECONDS])
def test_a_sender_whose_clock_is_ahead_is_obeyed(sent_at: float) -> None:
    assert not expired(sent_at, NOW)


def test_a_send_time_that_is_no_number_is_too_old() -> None:
    assert expired(float("nan"), NOW)


@pytest.mark.parametrize("closed", [0, 1])
@pytest.mark.parametrize("row", [None, SUCCEEDED, REJECTED, COMPENSATED, TOMBSTONE, MISSING])
@pytest.mark.parametrize("known", [True, False])
def test_what_is_in_time_is_judged_by_its_phase(row: Entry | None, known: bool, closed: int) -> None:
    rows = {1: SUCCEEDED} | ({} if row is None else {2: row})
    action, undo = Arrival(ACTION, 2, NOW, closed), Arrival(UNDO, 2, NOW, closed, known)

    assert arrives(action, rows, NOW) == action_arrives(row, {1: SUCCEEDED}, 2, closed)
    assert arrives(undo, rows, NOW) == undo_arrives(row, succeeded=known)


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


def test_a_person_closes_no_round_but_those_that_the_command_names() -> None:
    assert action_arrives(None, {1: SUCCEEDED, 2: SUCCEEDED}, 3, closed_round=0) == Ruling(Verdict.EARLIER_OPEN)
    assert action_arrives(None, {1: SUCCEEDED, 2: COMPENSATED}, 3, closed_round=1) == Ruling(Verdict.RUN)
    assert action_arrives(None, {2: TOMBSTONE}, 1, closed_round=2) == Ruling(Verdict.FENCED)


def test_an_action_that_meets_nothing_runs() -> None:
    assert action_arrives(None, {}, 1) == Ruling(Verdict.RUN)


def test_an_action_that_runs_leaves_a_tombstone_in_each_lower_round_that_has_no_row_the_highest_first() -> None:
    assert action_arrives(None, {}, 3) == Ruling(Verdict.RUN, tombstones=(2, 1))
    assert action_arrives(None, {1: REJECTED}, 3) == Ruling(Verdict.RUN, tombstones=(2,))
    assert action_arrives(None, {1: COMPENSATED, 2: TOMBSTONE}, 3) == Ruling(Verdict.RUN)
    assert action_arrives(None, {}, 3, closed_round=2).tombstones == (2, 1)


@pytest.mark.parametrize("entry", [SUCCEEDED, REJECTED, TOMBSTONE, COMPENSATED])
def test_an_action_that_does_not_run_leaves_no_tombstone(entry: Entry) -> None:
    assert action_arrives(entry, {}, 3).tombstones == ()
    assert action_arrives(None, {1: SUCCEEDED}, 3).tombstones == ()
    assert action_arrives(None, {4: entry}, 3).tombstones == ()


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


# What the sender is told


@pytest.mark.parametrize(
    ("verdict", "stored", "word"),
    [
        (Verdict.EXPIRED, None, Word.EXPIRED),
        (Verdict.EXPIRED, SUCCEEDED, Word.EXPIRED),
        (Verdict.FENCED, TOMBSTONE, Word.FENCED),
        (Verdict.FENCED, SUCCEEDED, Word.FENCED),
        (Verdict.EARLIER_OPEN, None, Word.EARLIER_OPEN),
        (Verdict.VOID, TOMBSTONE, Word.VOID),
        (Verdict.VOID, REJECTED, Word.VOID),
        (Verdict.MISSING, MISSING, Word.MISSING),
        (Verdict.REPLAY, SUCCEEDED, Word.SUCCEEDED),
        (Verdict.REPLAY, REJECTED, Word.REJECTED),
        (Verdict.REPLAY, COMPENSATED, Word.COMPENSATED),
        (Verdict.RUN, SUCCEEDED, Word.SUCCEEDED),
        (Verdict.RUN, REJECTED, Word.REJECTED),
        (Verdict.RUN, COMPENSATED, Word.COMPENSATED),
        (Verdict.RUN, None, Word.FAILED),
    ],
)
def test_the_sender_is_told_what_came_of_it(verdict: Verdict, stored: Entry | None, word: Word) -> None:
    assert answer(verdict, stored) is word


def test_every_verdict_and_every_word_has_an_answer() -> None:
    rows = [None, SUCCEEDED, REJECTED, COMPENSATED, TOMBSTONE, MISSING]

    assert {answer(verdict, row) for verdict in Verdict for row in rows} == set(Word)


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
