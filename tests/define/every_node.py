"""A saga with every node of the language; compiled by a test with and without postponed annotations."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, NewType, Optional

from amends import (
    Context,
    Rejected,
    Resource,
    Saga,
    for_each,
    parallel,
    pivot,
    result_of,
    saga_input,
    sequence,
    sleep,
    step,
    wait_for,
    when,
)

Ref = NewType("Ref", str)


@dataclass(frozen=True)
class Trip:
    city: str
    nights: int
    guests: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hotel:
    ref: Ref


@dataclass(frozen=True)
class Tent:
    ref: Ref


class Desk:
    """A client."""


def is_long(trip: Trip) -> bool:
    return trip.nights > 7


def guests(trip: Trip) -> list[str]:
    return list(trip.guests)


def until_check_in(trip: Trip) -> timedelta:
    return timedelta(days=trip.nights)


@step
async def book_hotel(trip: Trip, desk: Resource[Desk], ctx: Context) -> Hotel:
    return Hotel(Ref(ctx.key))


@book_hotel.compensation
async def cancel_hotel(hotel: Hotel | None, desk: Resource[Desk]) -> None: ...


@step(readonly=True)
def find_tent(trip: Trip) -> Optional[Tent]:  # noqa: UP045  # the old spelling, too
    return None


@step
def register(guest: str, trip: Annotated[Trip, saga_input]) -> int:
    return len(guest)


@register.compensation
def unregister(guest: str) -> None: ...


@step
def pay(hotel: Annotated[Hotel | None, result_of(book_hotel)], counts: list[int | Rejected]) -> Ref:
    return Ref("paid")


@step
def greet(ref: Ref, again: bool, tent: Tent | None = None) -> None: ...


def build() -> Saga[Trip, Ref]:
    """The saga, with names that only this function knows."""

    @dataclass(frozen=True)
    class Seen:
        count: int

    @step(readonly=True)
    def look(trip: Trip) -> Seen:
        return Seen(trip.nights)

    @step(readonly=True)
    def look_again(seen: Seen) -> None: ...

    paid = pivot(pay)
    return Saga(
        "trip",
        look,
        look_again,
        parallel(when(is_long, book_hotel, otherwise=sequence(find_tent, sleep(60))), sleep(until_check_in)),
        for_each(register, over=guests, on_reject="collect", limit=3),
        again := wait_for("again", bool, timeout=60, default=False),
        paid,
        greet,
        greet.named("greet-twice"),
        again.named("once-more"),
        input=Trip,
        output=paid,
        deadline=timedelta(days=30),
    )
