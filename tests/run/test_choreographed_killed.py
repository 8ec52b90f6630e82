"""Whoever holds the baton is killed with `kill -9` at the worst moments: nothing is lost, nothing happens twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

import pytest
from processes import Process
from travels import Ground, Order, Town

from amends.decide.state import Status
from amends.run.inbox_careful import DEATHS_MAX

PROGRAM = str(Path(__file__).parent / "travel_process.py")
PATIENCE_SECONDS = 60.0
SERVICES = ("orders", "inventory", "payment")
POINTS = ("tx.before", "tx.after", "send.before", "send.after", "publish.after")


class Street:
    """The three as processes over a broker, and what they did."""

    def __init__(self, broker: str, ground: Ground, stack: ExitStack) -> None:
        self.town = Town(ground, broker=broker)
        self._broker = broker
        self._stack = stack

    def process(self, service: str, fault: str = "", *, waits: bool = True) -> Process:
        """A service that listens, and may be about to die; before anybody sees it listen, where nobody waits."""
        given = {"AMENDS_FAULT": fault} if fault else {}
        made = Process(PROGRAM, self._broker, self.town.ground.postgres, service, database=Path("unused"), **given)
        self._stack.callback(made.close)
        if waits:
            made.until("listening")
        return made

    def ends(self, *orders: str) -> None:
        """Wait until these have ended."""
        until = time.monotonic() + PATIENCE_SECONDS
        while any(self.town.stand(order) != "ended" for order in orders):
            assert time.monotonic() < until, {order: self.town.stand(order) for order in orders}
            time.sleep(0.05)


@pytest.fixture
def street(nats_url: str, broker_prefix: str, postgres_url: str, tmp_path: Path) -> Iterator[Street]:
    """Over NATS."""
    sign = "&" if "?" in nats_url else "?"
    with ExitStack() as stack:
        yield Street(f"{nats_url}{sign}claim_seconds=2&prefix={broker_prefix}", Ground(tmp_path, postgres_url), stack)


def check(street: Street) -> None:
    """One order was shipped, one was turned down; each as if nothing had happened."""
    assert street.town.state("good").status is Status.COMPLETED
    assert street.town.state("dear").status is Status.COMPENSATED
    assert sorted(street.town.done("inventory")) == [
        ("release", "dear"),
        ("reserve", "dear"),
        ("reserve", "good"),
        ("ship", "good"),
    ]
    assert street.town.done("payment") == [("charge", "good")]


@pytest.mark.parametrize(("point", "service"), [*zip(POINTS, cycle(["inventory", "payment"]), strict=False)])
def test_whoever_holds_the_baton_is_killed_and_it_goes_on(street: Street, service: str, point: str) -> None:
    for other in SERVICES:
        if other != service:
            street.process(other)
    dying = street.process(service, point)
    street.town.start(Order("good", 100))
    street.town.start(Order("dear", 5000))
    assert dying.wait() == -9

    street.process(service)

    street.ends("good", "dear")
    check(street)


@pytest.mark.parametrize("point", ["hop.before", "hop.after"])
def test_whoever_keeps_a_saga_for_another_attempt_is_killed_and_it_goes_on(street: Street, point: str) -> None:
    street.process("orders")
    street.process("payment")
    dying = street.process("inventory", point)
    street.town.start(Order("flaky", 100))
    assert dying.wait() == -9

    street.process("inventory")

    street.ends("flaky")
    assert street.town.state("flaky").status is Status.COMPLETED
    assert street.town.done("inventory") == [("reserve", "flaky"), ("ship", "flaky")]


def test_two_services_that_are_down_at_once_hold_sagas_up_and_lose_none(street: Street) -> None:
    street.process("orders")
    first = [street.process("inventory", "tx.after"), street.process("payment")]
    street.town.start(Order("good", 100))
    street.town.start(Order("dear", 5000))
    assert first[0].wait() == -9
    first[1].close()

    street.process("payment")
    street.process("inventory")

    street.ends("good", "dear")
    check(street)


def test_a_saga_that_takes_its_service_down_each_time_is_parked_and_the_others_go_on(street: Street) -> None:
    street.process("orders")
    street.process("payment")
    dying, deaths = street.process("inventory"), 0
    street.town.start(Order("poison", 100))
    street.town.start(Order("good", 100))

    until = time.monotonic() + 2 * PATIENCE_SECONDS
    while (street.town.stand("poison"), street.town.stand("good")) != ("parked", "ended"):
        assert time.monotonic() < until, (deaths, street.town.stand("poison"), street.town.stand("good"))
        if dying.child.poll() is not None:
            dying, deaths = street.process("inventory", waits=False), deaths + 1
        time.sleep(0.05)

    assert DEATHS_MAX <= deaths <= DEATHS_MAX + 2  # the first, of which nobody had a note, and one beside others
    assert street.town.done("inventory") == [("reserve", "good"), ("ship", "good")]
