"""The fingerprint of what went wrong: the same for the same trouble, another for another."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from told import PIVOT, Story, after, go, plan, step

from amends.decide.fingerprint import READ_CHARACTERS, REASON_CHARACTERS, fingerprint, plain, step_of, what_went_wrong


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no order 17", "no order 4711"),
        ("timeout after 0.5 s", "timeout after 12.75 s"),
        ("no shelf for 'tea'", "no shelf for 'the very long lamp'"),
        ('unknown sku "A-1"', 'unknown sku ""'),
        ("run `a b`", "run `c`"),
        ("saga 019ac0de-0000-7000-8000-00000000002a", "saga 019ac0de-ffff-7abc-9def-0123456789ab"),
        ("<object at 0x7f12ab>", "<object at 0xdeadbeef>"),
        ("commit 3f2a9c0d11ee failed", "commit 0011223344556677 failed"),
        ("refused by 10.0.0.1:5432", "refused by 192.168.17.4:80"),
        ("at 2026-11-26T21:09:43Z", "at 2025-01-02T03:04:05Z"),
        ("two\n lines", "two lines"),
        ("The Bank is closed", "the bank is closed"),
    ],
)
def test_what_differs_from_saga_to_saga_makes_no_difference(one: str, other: str) -> None:
    assert fingerprint("order", "pay", one) == fingerprint("order", "pay", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("the card was declined", "the card has expired"),
        ("can't open it, won't try", "can't close it, won't try"),  # an apostrophe opens no quote
        ("a decade ago", "a facade ago"),  # words of letters that are hexadecimal digits stay
        ("RuntimeError: no", "ValueError: no"),
    ],
)
def test_what_says_something_else_is_another_trouble(one: str, other: str) -> None:
    assert fingerprint("order", "pay", one) != fingerprint("order", "pay", other)


def test_another_saga_or_step_is_another_trouble_and_another_item_is_not() -> None:
    assert fingerprint("order", "pay", "no") != fingerprint("trip", "pay", "no")
    assert fingerprint("order", "pay", "no") != fingerprint("order", "ship", "no")
    assert fingerprint("order", "", "pay no") != fingerprint("order", "pay", "no")
    assert fingerprint("order", "ship[3]", "no") == fingerprint("order", "ship[12]", "no")
    assert step_of("trip/ship[3]") == "trip/ship"


@settings(max_examples=30)
@given(st.text(), st.text(), st.text())
def test_a_fingerprint_is_twelve_hexadecimal_digits_whatever_is_said(saga: str, at: str, reason: str) -> None:
    found = fingerprint(saga, at, reason)

    assert len(found) == 12
    assert set(found) <= set("0123456789abcdef")
    assert found == fingerprint(saga, at, reason)


def test_only_the_beginning_of_a_long_reason_counts() -> None:
    long = "it is closed. " * 100

    assert len(plain(long)) <= REASON_CHARACTERS
    assert fingerprint("order", "pay", f"{long} today") == fingerprint("order", "pay", f"{long} for good")


def test_what_varies_does_not_count_towards_the_length_however_long_it_is() -> None:
    def said(length: int, rest: str) -> str:
        return f"no shelf for '{'x' * length}' today: {rest}"

    rest = "ask the depot. " * 50

    assert fingerprint("order", "pay", said(450, rest)) == fingerprint("order", "pay", said(1_900, rest))
    assert fingerprint("order", "pay", said(900, "closed")) != fingerprint("order", "pay", said(900, "full"))


def test_only_so_much_of_a_reason_is_read() -> None:
    long = f"'{'x' * READ_CHARACTERS}' is "

    assert fingerprint("order", "pay", f"{long}closed") == fingerprint("order", "pay", f"{long}full")


@pytest.mark.parametrize("part", ["'", "a-", "abcdef-", "abcdef", "abcdef_", "'a' ", "0x", "f0-", "1.", "`\"'"])
def test_a_hostile_reason_costs_no_more_than_a_long_one(part: str) -> None:
    begun = time.process_time()
    plain(part * 1_000_000)
    assert time.process_time() - begun < 0.1


def test_of_a_stuck_step_its_reason_counts_and_of_its_undo_that_it_is_one() -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")
    saga.fails("b", "the bank is away", park=True)
    assert what_went_wrong(saga.state) == ("b", "the bank is away")

    back = Story(plan(step("a"), step("b")))
    back.succeeds("a")
    back.rejects("b", "declined")
    assert what_went_wrong(back.state) == ("b", "declined")
    back.undo_rejects("a", "locked")
    assert what_went_wrong(back.state) == ("a", "undo: locked")


def test_an_undo_that_is_not_stuck_hides_no_stuck_step_and_nothing_is_wrong_at_first() -> None:
    saga = Story(plan(step("a"), PIVOT, after("b")))
    assert what_went_wrong(saga.state) is None
    saga.succeeds("a")
    saga.rejects("b", "closed")
    assert what_went_wrong(saga.state) == ("b", "closed")
    back = Story(plan(step("a"), step("b"), step("c")))
    back.succeeds("a", "b")
    back.rejects("c", "no")
    back.undone("b")
    assert what_went_wrong(back.state) == ("c", "no")


def test_of_a_pivot_in_doubt_its_step_is_told_and_why_the_saga_is_parked() -> None:
    saga = Story(plan(step("a"), go(attempts=1)))
    saga.succeeds("a")
    saga.fails("go", "no answer")

    assert saga.status == "parked"
    assert what_went_wrong(saga.state) == ("go", saga.state.parked)
    assert "no answer" in saga.state.parked
