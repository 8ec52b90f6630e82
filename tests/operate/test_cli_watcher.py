"""Choreographed sagas on the command line: watched by a worker, and listed, shown and drawn like others."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest
from shop_floor import PATIENCE_SECONDS, Floor, Result

TOWN = """
from __future__ import annotations
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from amends import Orchestrator, Participant, Reject, Saga, Service, Settings, Watcher, pivot

@dataclass(frozen=True)
class Ask:
    sku: str

orders, inventory, payment = Service("orders"), Service("inventory"), Service("payment")
reserve_stock = inventory.command("reserve-stock", Ask, reply=str)
pay = payment.command("pay", Ask, compensation=False)

@reserve_stock.request
def ask_for_stock(order: Ask) -> Ask:
    return order

@pay.request
def ask_for_payment(order: Ask) -> Ask:
    return order

buy = Saga("buy", ask_for_stock, pivot(ask_for_payment), input=Ask, output=ask_for_stock)
desk = Participant(orders, database="sqlite:///orders.db", sagas=[buy])
stock = Participant(inventory, database="sqlite:///stock.db", sagas=[buy])
bank = Participant(payment, database="sqlite:///bank.db", sagas=[buy])
watcher = Watcher(
    "sqlite:///watched.db", homes=[orders], sagas=[buy], silent_after=0.5, settings=Settings(lease_seconds=1.5)
)

@stock.handles(reserve_stock)
def reserve(command: Ask, tx: sqlite3.Connection) -> str:
    return "shelf 3"

@stock.compensates(reserve_stock)
def release(command: Ask, shelf: str, tx: sqlite3.Connection) -> None: ...

@bank.handles(pay)
def take(command: Ask, tx: sqlite3.Connection) -> None:
    if command.sku == "gold":
        raise Reject("too dear")

def start(*skus: str) -> None:
    with closing(sqlite3.connect("orders.db", timeout=30)) as connection:
        for sku in skus:
            desk.start(buy, Ask(sku), within=connection, id=f"order-{sku}")
        connection.commit()
"""
WATCHED = ("--database=sqlite:///watched.db", "--namespace=choreographed")


@pytest.fixture
def town(floor: Floor) -> Floor:
    """A project with three services and a watcher."""
    (floor.directory / "town.py").write_text(TOWN)
    return floor


def begun(floor: Floor, *words: str, until: str) -> str:
    """Have a worker begin, until it has said something; gives all that it said."""
    process = floor.process("worker", *words)
    assert process.stderr is not None
    said = ""
    while until not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


def start(floor: Floor, *skus: str) -> None:
    """Start orders from another process; the worker's sweep comes to them."""
    code = f"import town; town.start(*{skus!r})"
    subprocess.run([sys.executable, "-c", code], cwd=floor.directory, check=True, timeout=PATIENCE_SECONDS)


def test_a_choreographed_saga_is_listed_and_shown_and_drawn(town: Floor) -> None:
    said = begun(town, "town:watcher", "town:desk", "town:stock", "town:bank", until="the participant of payment")
    start(town, "tea", "gold")

    def ended() -> bool:
        sagas = town.ok("list", *WATCHED, "--json").data["sagas"]
        return sorted(saga["status"] for saga in sagas) == ["compensated", "completed"]

    town.wait_for(ended)
    listed = town.ok("list", "--app=town:watcher")
    shown = town.ok("show", "order-tea", "--app=town:watcher")
    told = town.ok("show", "order-gold", *WATCHED, "--json").data
    drawn = town.ok("graph", "--id=order-gold", *WATCHED)
    refused = town.amends("cancel", "order-tea", "--app=town:watcher", "--reason=no")
    doctor = town.ok("doctor", *WATCHED, "--json").data

    rows = [line.split() for line in listed.out.splitlines()]
    assert [row[:3] for row in rows[1:]] == [["order-gold", "buy", "compensated"], ["order-tea", "buy", "completed"]]
    assert listed.out.splitlines()[1].endswith("ask_for_payment: too dear")
    assert "order-tea  buy  completed" in shown.out
    assert "  home     orders: choreographed, and only watched here; act there, with --app=MODULE:NAME" in shown.out
    assert "  ask_for_payment  step → payment.pay" in shown.out
    assert "attempt 1 goes to payment.pay\n" in shown.out
    assert "What you can do now" not in shown.out
    assert (told["home"], told["silent"], told["next"]) == ("orders", None, [])
    assert "ask_for_stock" in drawn.out
    assert (refused.code, "the service orders: the same command with --app=MODULE:NAME" in refused.err) == (5, True)
    assert "`await app.cancel('order-tea', reason=…)`" in refused.err
    [watchers] = [finding for finding in doctor["findings"] if finding["what"] == "watchers"]
    assert watchers["level"] == "ok"
    assert "WARNING" not in said


def test_a_service_that_is_not_there_is_named_among_the_stuck(town: Floor) -> None:
    begun(town, "town:watcher", "town:desk", "town:stock", until="the participant of inventory")
    start(town, "tea")

    found: list[Result] = []

    def is_silent() -> bool:
        found.append(town.amends("stuck", "--app=town:watcher", "--trouble=silent", "--exit-code"))
        return found[-1].code == 10 and "payment did not react" in found[-1].out  # inventory may be slow, too

    town.wait_for(is_silent)
    listed = town.ok("list", "--app=town:watcher")
    shown = town.ok("show", "order-tea", "--app=town:watcher")

    assert "payment did not react: ask_for_payment (payment.pay) is its turn since " in found[-1].out
    assert "silent: payment did not react" in listed.out
    assert "  silent   payment did not react" in shown.out


def test_a_watcher_may_share_the_file_of_an_orchestrator_but_not_its_namespace(town: Floor) -> None:
    begun(town, "town:watcher", until="the watcher of orders")
    (town.directory / "clash.py").write_text(
        "from town import *\n"
        "clash = Orchestrator('sqlite:///watched.db', sagas=[buy], namespace='choreographed')\n"
        "beside = Orchestrator('sqlite:///watched.db', sagas=[buy])\n"
    )

    clash = town.ended(town.process("worker", "clash:clash"))
    begun(town, "clash:beside", until="runs buy")

    assert (clash.code != 0, "this namespace is a watcher's" in clash.err) == (True, True)
    assert "Traceback" not in clash.err
    with sqlite3.connect(town.directory / "watched.db") as connection:
        names = connection.execute("SELECT name FROM amends_namespace ORDER BY id").fetchall()
    connection.close()
    assert names == [("choreographed",), ("default",)]
