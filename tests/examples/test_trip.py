"""The trip, as its user would test it."""

from __future__ import annotations

import pytest
from trip import Agency, Approval, Trip, approval, book_trip

from amends import Compensated, Completed
from amends.errors import TooLate
from amends.testing import NewSandbox

LISBON = Trip("Ann", "Lisbon", 90_000)
YES = Approval(granted=True, by="Grace")
NO = Approval(granted=False, by="Grace")


def test_an_approved_trip_is_paid_and_ticketed(amends: NewSandbox) -> None:
    agency = Agency()
    app = amends([book_trip], [agency])
    trip = app.start(book_trip, LISBON)
    app.advance(hours=30)

    app.signal(trip.saga_id, approval, YES)

    outcome = trip.outcome()
    assert isinstance(outcome, Completed)
    assert outcome.result.text == "Ann: seat 12A, room 404, car AM 3ND5, by Grace"
    assert list(agency.paid.values()) == [90_000]


def test_a_refused_trip_lets_everything_go(amends: NewSandbox) -> None:
    agency = Agency()
    app = amends([book_trip], [agency])
    trip = app.start(book_trip, LISBON)
    assert len(agency.held) == 3

    app.signal(trip.saga_id, approval, NO)

    assert isinstance(trip.outcome(), Compensated)
    assert not agency.held
    assert not agency.paid


def test_a_trip_that_nobody_approves_is_undone_after_two_days(amends: NewSandbox) -> None:
    agency = Agency()
    app = amends([book_trip], [agency])
    trip = app.start(book_trip, LISBON)

    app.advance(days=1, hours=23)
    assert trip.status == "running"
    app.advance(hours=1)

    assert trip.status == "compensated"
    assert not agency.held


def test_one_no_of_three_lets_the_other_two_go(amends: NewSandbox) -> None:
    agency = Agency()
    app = amends([book_trip], [agency])

    outcome = app.run(book_trip, Trip("Ann", "Atlantis", 90_000))

    assert isinstance(outcome, Compensated)
    assert outcome.reason == "hold_room: there is no hotel in Atlantis"
    assert not agency.held


def test_a_trip_can_be_cancelled_until_it_is_paid(amends: NewSandbox) -> None:
    agency = Agency()
    app = amends([book_trip], [agency])
    early = app.start(book_trip, LISBON)
    late = app.start(book_trip, LISBON)

    app.cancel(early.saga_id, reason="Ann has caught a cold")
    app.signal(late.saga_id, approval, YES)

    assert early.status == "compensated"
    with pytest.raises(TooLate):
        app.cancel(late.saga_id)
    assert len(agency.held) == 3


def test_a_declined_payment_goes_back_although_it_was_approved(amends: NewSandbox) -> None:
    agency = Agency()
    app = amends([book_trip], [agency])
    trip = app.start(book_trip, Trip("Ann", "Lisbon", 600_000))

    app.signal(trip.saga_id, approval, YES)

    assert trip.status == "compensated"
    assert not agency.held
