"""A trip: flight, hotel and car are held together, a person approves, and only then is it paid.

Refused, cancelled or not answered in time, everything that was held is let go. Run it:
python examples/trip.py
"""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

from amends import Context, Orchestrator, Reject, Resource, Saga, parallel, pivot, step, wait_for


@dataclass(frozen=True)
class Trip:
    traveller: str
    city: str
    cents: int


@dataclass(frozen=True)
class Seat:
    number: str


@dataclass(frozen=True)
class Room:
    number: int


@dataclass(frozen=True)
class Car:
    plate: str


@dataclass(frozen=True)
class Approval:
    granted: bool
    by: str


@dataclass(frozen=True)
class Ticket:
    text: str


@dataclass
class Agency:
    """A pretended travel agency: what it holds, by key, and what was paid."""

    held: dict[str, str] = field(default_factory=dict[str, str])
    paid: dict[str, int] = field(default_factory=dict[str, int])

    async def hold(self, what: str, *, key: str) -> None:
        self.held[key] = what

    async def let_go(self, *, key: str) -> None:
        self.held.pop(key, None)

    async def pay(self, cents: int, *, key: str) -> None:
        self.paid[key] = cents


# The saga.


@step
async def hold_seat(trip: Trip, agency: Resource[Agency], ctx: Context) -> Seat:
    await agency.hold(f"a seat to {trip.city}", key=ctx.key)
    return Seat("12A")


@step
async def hold_room(trip: Trip, agency: Resource[Agency], ctx: Context) -> Room:
    if trip.city == "Atlantis":
        raise Reject("there is no hotel in Atlantis")
    await agency.hold(f"a room in {trip.city}", key=ctx.key)
    return Room(404)


@step
async def hold_car(trip: Trip, agency: Resource[Agency], ctx: Context) -> Car:
    await agency.hold(f"a car in {trip.city}", key=ctx.key)
    return Car("AM 3ND5")


@hold_seat.compensation
@hold_room.compensation
@hold_car.compensation
async def let_it_go(agency: Resource[Agency], ctx: Context) -> None:
    await agency.let_go(key=ctx.action_key)


approval = wait_for("approval", Approval, timeout=timedelta(days=2), reject_if=lambda given: not given.granted)


@step
async def pay(trip: Trip, agency: Resource[Agency], ctx: Context) -> None:
    if trip.cents > 500_000:
        raise Reject("nobody pays that much")
    await agency.pay(trip.cents, key=ctx.key)


@step
async def issue_ticket(trip: Trip, seat: Seat, room: Room, car: Car, approval: Approval) -> Ticket:
    return Ticket(f"{trip.traveller}: seat {seat.number}, room {room.number}, car {car.plate}, by {approval.by}")


book_trip = Saga(
    "book-trip",
    parallel(hold_seat, hold_room, hold_car),
    approval,
    pivot(pay),
    issue_ticket,
    input=Trip,
    output=issue_ticket,
)

# Where it runs.

AGENCY = Agency()


def the_agency() -> Agency:
    return AGENCY


orchestrator = Orchestrator("sqlite:///trips.db", sagas=[book_trip], resources=[the_agency])


async def main() -> None:
    async with orchestrator:
        ann = await orchestrator.start(book_trip, Trip("Ann", "Lisbon", 90_000))
        bob = await orchestrator.start(book_trip, Trip("Bob", "Monaco", 400_000))
        eve = await orchestrator.start(book_trip, Trip("Eve", "Oslo", 120_000))
        await orchestrator.signal(ann.saga_id, approval, Approval(granted=True, by="Grace"))
        await orchestrator.signal(bob.saga_id, approval, Approval(granted=False, by="Grace"))
        await orchestrator.cancel(eve.saga_id, reason="Eve has caught a cold")
        for handle in (ann, bob, eve):
            print(await handle.outcome())
    print(f"still held: {sorted(AGENCY.held.values())}")


if __name__ == "__main__":
    asyncio.run(main())
