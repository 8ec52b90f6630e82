"""What explore runs is what services do: the same faults in a run, and in real participants, in both styles."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from both_styles import STYLES, Play
from travels import (
    FEW,
    Charge,
    Ground,
    Order,
    Receipt,
    Reservation,
    Reserve,
    Ship,
    Town,
    charge_card,
    hurry,
    reserve_stock,
    ship_goods,
)

from amends import Reject, Saga, pivot
from amends.decide.events import Phase
from amends.decide.state import ENDED, Status
from amends.decide.wire import KIND
from amends.run import homes
from amends.testing.exploration import Style
from amends.testing.explore_faults import Fault, Faults, Kind, spelled
from amends.testing.explore_points import further
from amends.testing.explore_scene import Scene
from amends.transport.base import Send
from amends.transport.local import LocalTransport

LARGE = os.environ.get("AMENDS_EXPLORE") == "large"
SEEDS = [int(time.time()) + number for number in range(6)] if LARGE else [1]
LISTS = 40
REPLY_SECONDS = 4.0  # an attempt is used up only where the machine stands still for so long
PATIENCE_SECONDS = 120.0
CENTS = 100
HANDLED = {Kind.REJECTS, Kind.FAILS, Kind.DOWN}  # by whoever does it
BOTH = HANDLED | {Kind.COMMAND_LOST, Kind.COMMAND_TWICE}
KINDS = {
    "orchestrated": BOTH | {Kind.COMMAND_LATE, Kind.REPLY_LOST, Kind.REPLY_TWICE, Kind.REPLY_LATE, Kind.LOST},
    "choreographed": BOTH,
}
WHAT = {
    ("reserve", Phase.ACTION): "reserve",
    ("reserve", Phase.UNDO): "release",
    ("charge", Phase.ACTION): "charge",
    ("charge", Phase.UNDO): "refund",
    ("ship", Phase.ACTION): "ship",
}


@reserve_stock.request(name="reserve", retry=FEW, timeout=REPLY_SECONDS)
def ask_for_stock(order: Order) -> Reserve:
    return Reserve(order.id)


@charge_card.request(name="charge", retry=FEW, timeout=REPLY_SECONDS)
def ask_for_money(order: Order) -> Charge:
    return Charge(order.id, order.cents)


@ship_goods.request(name="ship", retry=FEW, timeout=REPLY_SECONDS)
def ask_for_a_parcel(order: Order, reserved: Reservation) -> Ship:
    return Ship(order.id, reserved.id)


SAGA = Saga("place-order", ask_for_stock, ask_for_money, pivot(ask_for_a_parcel), input=Order, output=ask_for_a_parcel)
Ended = tuple[Status, list[str]]  # how a saga ended, and what was done for it, in order


# In a run


@dataclass
class Log:
    done: list[str] = field(default_factory=list[str])


def on_reserve(command: Reserve, log: Log) -> Reservation:
    log.done.append("reserve")
    return Reservation("r")


def on_release(command: Reserve, reserved: Reservation, log: Log) -> None:
    log.done.append("release")


def on_charge(command: Charge, log: Log) -> Receipt:
    log.done.append("charge")
    return Receipt("p")


def on_refund(command: Charge, receipt: Receipt, log: Log) -> None:
    log.done.append("refund")


def on_ship(command: Ship, log: Log) -> str:
    log.done.append("ship")
    return "parcel"


FAKES: dict[Any, Any] = {
    reserve_stock: (on_reserve, on_release),
    charge_card: (on_charge, on_refund),
    ship_goods: on_ship,
}


def explored(style: Style, seed: int) -> dict[Faults, Ended]:
    """Lists that the services can be given, at most one fault at each half of a step; and what comes of them."""
    scene = Scene(SAGA, Order("o", CENTS), Log, services=FAKES, style=style)
    chance, found = Random(seed), dict[Faults, Ended]()
    first = [fault for fault in further(scene.run()) if fault.kind in KINDS[style]]
    while len(found) < LISTS:
        run = scene.run((first[len(found)],) if len(found) < len(first) else ())
        for _ in range(chance.randint(0 if run.faults else 2, 3)):
            taken = {(fault.name, fault.phase) for fault in run.faults}
            more = [fault for fault in further(run) if _can_be(fault, style) and (fault.name, fault.phase) not in taken]
            run = scene.run((*run.faults, chance.choice(more))) if more else run
        found[run.faults] = (run.standing.status, run.world.done)
    return found


def _can_be(fault: Fault, style: Style) -> bool:
    """An undo that is down for long is left out: it is tried thirty times."""
    return fault.kind in KINDS[style] and not (fault.phase is Phase.UNDO and fault.kind is Kind.DOWN)


# In services


class Trouble:
    """What befalls the orders of a town: in handlers, and on the way."""

    def __init__(self, lists: Sequence[Faults], monkeypatch: pytest.MonkeyPatch) -> None:
        self.faults: dict[str, Faults] = {f"o-{number}": faults for number, faults in enumerate(lists)}
        self._met: Counter[tuple[object, ...]] = Counter()
        original = LocalTransport.publish

        async def publish(transport: LocalTransport, sends: Sequence[Send]) -> list[Exception | None]:
            befallen = [self._delays(send) for send in sends]
            for send, delays in zip(sends, befallen, strict=True):
                for delay in delays or ():
                    asyncio.get_running_loop().call_later(delay, transport._put, send)
            there = [send for send, delays in zip(sends, befallen, strict=True) if delays is None]
            told = iter(await original(transport, there) if there else [])
            return [next(told) if delays is None else None for delays in befallen]

        monkeypatch.setattr(LocalTransport, "publish", publish)

    def over(self, order: str) -> None:
        """What was down works again."""
        self.faults[order] = ()

    def says(self, what: str, order: str) -> None:
        """Of a handler that has done its part, and has not returned."""
        self._met[what, order] += 1
        for fault in self.faults[order]:
            if WHAT[fault.name, fault.phase] != what:
                continue
            if fault.kind is Kind.REJECTS and self._met[what, order] == 1:
                raise Reject("it was made to say no")
            if fault.kind is Kind.DOWN or (fault.kind is Kind.FAILS and self._met[what, order] == 1):
                raise ConnectionError("it was made to fail")

    def _delays(self, send: Send) -> list[float] | None:
        """When a message arrives that something befalls; None where nothing does."""
        given = send.message.attributes
        kind, order = given.get(KIND, ""), given.get("amendskey", "")
        phase = Phase.UNDO if "undo" in (kind, given.get("amendsphase")) else Phase.ACTION
        if kind not in ("action", "undo", "baton", "reply") or order not in self.faults:
            return None
        way = "reply" if kind == "reply" else "command"
        self._met[way, order, given["amendsstep"], phase] += 1
        first = self._met[way, order, given["amendsstep"], phase] == 1
        for fault in self.faults[order]:
            if (fault.name, fault.phase) == (given["amendsstep"], phase):
                return _delays_of(fault.kind, way, first=first)
        return None


def _delays_of(kind: Kind, way: str, *, first: bool) -> list[float] | None:
    """None where nothing befalls it."""
    if kind is Kind.LOST and way == "reply":
        return []
    if not first or not kind.startswith(way):
        return None
    match kind.partition("-")[2]:
        case "lost":
            return []
        case "twice":
            return [0.0, 0.02]
    return [REPLY_SECONDS * 1.5]


def in_services(style: Style, lists: Sequence[Faults], ground: Ground, monkeypatch: pytest.MonkeyPatch) -> list[Ended]:
    """All at once, in one town."""
    trouble = Trouble(lists, monkeypatch)
    town = Town(ground, trouble.says, saga=SAGA)

    async def look(play: Play, order: str) -> Status | None:
        state = await play.state(order)
        if state is not None and state.status is Status.PARKED and trouble.faults[order]:
            trouble.over(order)
            await play.act(order, "unpark")
        return state.status if state is not None and state.status in ENDED else None

    async def main() -> None:
        play = STYLES[style](town)
        async with play.open(), asyncio.timeout(PATIENCE_SECONDS):
            for order in trouble.faults:
                await play.start(Order(order, CENTS))
            while len(statuses) < len(lists):
                for order in trouble.faults:
                    found = None if order in statuses else await look(play, order)
                    if found is not None:
                        statuses[order] = found
                await asyncio.sleep(0.2)

    statuses: dict[str, Status] = {}
    asyncio.run(main())
    done: dict[str, list[str]] = {order: [] for order in trouble.faults}
    for service in ("inventory", "payment"):
        for what, order in town.done(service):
            done[order].append(what)
    return [(statuses[order], what) for order, what in done.items()]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("style", ["orchestrated", "choreographed"])
def test_a_run_ends_as_it_does_between_services(
    style: Any, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    monkeypatch.setattr(homes, "patience", lambda plan: 1.5)
    expected = explored(style, seed)

    ended = in_services(style, list(expected), Ground(tmp_path), monkeypatch)

    differing = [
        f"{spelled(faults)}: explored {run}, services {real}"
        for (faults, run), real in zip(expected.items(), ended, strict=True)
        if (run[0], sorted(run[1])) != (real[0], sorted(real[1]))
    ]
    assert differing == []
    assert {fault.kind for faults in expected for fault in faults} == KINDS[style]
    assert {status for status, _ in ended} == {Status.COMPLETED, Status.COMPENSATED}
