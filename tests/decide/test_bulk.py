"""Bulk operations: where they may go, what an answer counts as, how fast they are."""

from __future__ import annotations

import itertools

import pytest

from amends.decide.bulk import (
    BATCH_MAX,
    PER_SECOND_MAX,
    PER_SECOND_MIN,
    SILENT_MAX,
    VERBS,
    Move,
    Result,
    Ruling,
    Stand,
    Tally,
    batch_size,
    flaw,
    moments,
    nobody_answers,
    ruling,
    silence,
    span,
    tallied,
)

LEADS = {
    (Stand.COUNTING, Move.COUNTED): Stand.RUNNING,
    (Stand.COUNTING, Move.COUNTED_PAUSED): Stand.PAUSED,
    (Stand.COUNTING, Move.CANCEL): Stand.CANCELLED,
    (Stand.RUNNING, Move.PAUSE): Stand.PAUSED,
    (Stand.RUNNING, Move.CANCEL): Stand.CANCELLED,
    (Stand.RUNNING, Move.FINISH): Stand.DONE,
    (Stand.PAUSED, Move.RESUME): Stand.RUNNING,
    (Stand.PAUSED, Move.CANCEL): Stand.CANCELLED,
    (Stand.PAUSED, Move.PAUSE): Stand.PAUSED,
    (Stand.RUNNING, Move.RESUME): Stand.RUNNING,
    (Stand.CANCELLED, Move.CANCEL): Stand.CANCELLED,
}


def missing(verb: str, **given: object) -> str:
    """What is wrong with an act in bulk."""
    whole = {"step": "", "reason": "", "text": "", "result": False, "arguments": False, "per_second": 20.0, **given}
    return flaw(verb, **whole)  # type: ignore[arg-type]  # each as its test says


@pytest.mark.parametrize(("stand", "move"), list(itertools.product(Stand, Move)), ids=str)
def test_each_move_leads_where_the_picture_says_or_is_refused_and_changes_nothing(stand: Stand, move: Move) -> None:
    said = ruling(stand, move)

    if (stand, move) in LEADS:
        assert said == Ruling(LEADS[stand, move])
    else:
        assert said.stand is stand
        assert said.why.startswith(f"it is {stand}")


def test_what_has_ended_stays_so_and_says_what_to_do() -> None:
    assert ruling(Stand.DONE, Move.RESUME).why.endswith("a new one may be started")


@pytest.mark.parametrize(
    ("verb", "given", "why"),
    [
        ("explode", {}, "there is no act 'explode' in bulk; there are: retry, skip"),
        ("retry", {}, "`unpark` tries everything again"),
        ("skip", {"reason": "x"}, "skip is for one step, the same in every saga: name it"),
        ("unpark", {"step": "ship"}, "leave the step 'ship' out"),
        ("skip", {"step": "ship", "reason": " "}, "skip wants a reason"),
        ("note", {}, "note wants a text"),
        ("unpark", {"result": True}, "a result is for `resolve` alone, and a value for `signal`"),
        ("signal", {"result": True}, "signal is for one wait, the same in every saga: name it"),
        ("signal", {"step": "approval"}, "signal wants a value"),
        ("resolve", {"step": "ship", "reason": "x", "arguments": True}, "changed arguments are for `retry` alone"),
        ("unpark", {"per_second": 0.0}, "0 sagas a second: 0.01 to 1000 are expected"),
        ("unpark", {"per_second": PER_SECOND_MIN / 2}, "0.005 sagas a second"),
        ("unpark", {"per_second": float("nan")}, "nan sagas a second"),
        ("unpark", {"per_second": PER_SECOND_MAX + 1}, "1001 sagas a second"),
    ],
)
def test_what_an_act_lacks_is_said_before_it_begins(verb: str, given: dict[str, object], why: str) -> None:
    assert why in missing(verb, **given)


@pytest.mark.parametrize("verb", VERBS)
def test_an_act_that_has_all_it_needs_may_begin(verb: str) -> None:
    need = VERBS[verb]

    given: dict[str, object] = {
        "reason": "the bank is back",
        "text": "hello" if need.text else "",
        "result": need.value,
    }
    assert missing(verb, step="ship" if need.step else "", **given) == ""


def test_a_result_goes_with_resolve_and_arguments_with_retry() -> None:
    assert missing("resolve", step="ship", reason="by hand", result=True) == ""
    assert missing("retry", step="ship", arguments=True) == ""


@pytest.mark.parametrize(("per_second", "size"), [(0.1, 1), (1.0, 1), (1.5, 2), (20.0, 20), (1000.0, BATCH_MAX)])
def test_a_batch_is_about_what_is_due_in_a_second_and_never_large(per_second: float, size: int) -> None:
    assert batch_size(per_second) == size


def test_sagas_are_asked_in_turn_at_the_rate_and_at_no_beat() -> None:
    assert moments(3, 10.0, (0.0, 0.5, 0.25)) == pytest.approx((0.0, 0.15, 0.225))


@pytest.mark.parametrize("per_second", [PER_SECOND_MIN, 1.5, 20.0, PER_SECOND_MAX])
def test_a_batch_takes_as_long_as_its_sagas_are_apart_so_no_two_go_faster_than_was_said(per_second: float) -> None:
    size = batch_size(per_second)

    assert span(size, per_second) == pytest.approx(size / per_second)
    assert moments(size, per_second, [1.0] * size)[-1] <= span(size, per_second)


def test_silence_is_counted_in_a_row_and_ends_with_whoever_is_heard() -> None:
    assert silence(0, [False, False]) == 2
    assert silence(2, [False]) == 3
    assert silence(7, [False, True, False]) == 1
    assert silence(7, []) == 7


@pytest.mark.parametrize(
    ("silent", "tally", "nobody"),
    [
        (0, Tally(3, done=3), False),
        (3, Tally(3, failed=3), True),
        (3, Tally(4, failed=3), False),
        (3, Tally(4, done=1, failed=3), False),
        (3, Tally(4, refused=1, failed=3), False),
        (SILENT_MAX, Tally(400, done=300, failed=SILENT_MAX), True),
    ],
)
def test_very_many_in_a_row_or_all_of_few_say_that_nobody_answers(silent: int, tally: Tally, nobody: bool) -> None:
    assert nobody_answers(silent, tally) is nobody


def test_an_act_that_was_taken_says_that_somebody_is_there_unless_very_many_in_a_row_say_nothing() -> None:
    assert not nobody_answers(3, Tally(4, failed=4), taken=True)
    assert nobody_answers(SILENT_MAX, Tally(400, failed=60), taken=True)


def test_each_result_counts_once_as_done_refused_or_failed() -> None:
    tally = tallied(Tally(7), [(None, result) for result in Result])

    assert tally == Tally(7, done=1, refused=3, failed=2)
    assert tally.left == 1


def test_an_answer_that_came_late_takes_the_place_of_none() -> None:
    before = Tally(2, done=1, failed=1)

    assert tallied(before, [(Result.NOT_ANSWERED, Result.CHANGED)]) == Tally(2, done=1, refused=1)
