"""`amends graph` of services together: who reacts to what, drawn from their handlers, and what is wrong with it."""

from __future__ import annotations

import re

import pytest
from shop_floor import Floor

CONTRACTS = """
from dataclasses import dataclass
from amends import Flow, Service

@dataclass(frozen=True)
class Placed: order: str
@dataclass(frozen=True)
class Cancelled: order: str
@dataclass(frozen=True)
class Reserved: order: str
@dataclass(frozen=True)
class Released: order: str
@dataclass(frozen=True)
class Paid: order: str
@dataclass(frozen=True)
class Declined: order: str

orders, inventory, billing = Service("orders"), Service("inventory"), Service("billing")
placed = orders.event("placed", Placed, begins=True)
cancelled = orders.event("cancelled", Cancelled, compensates=placed)
reserved = inventory.event("reserved", Reserved)
released = inventory.event("released", Released, compensates=reserved)
paid = billing.event("paid", Paid)
declined = billing.event("declined", Declined, rejection=True)
count = inventory.command("count", Placed, reply=int, readonly=True)
pack = inventory.command("pack", Placed)
flow = Flow("order", placed.leads_to(reserved, within=30), reserved.leads_to(paid, declined, within=60),
            declined.leads_to(released, within=60), released.leads_to(cancelled, within=60))
"""
INVENTORY = """
import sqlite3
from amends import Participant
from contracts import *

app = Participant(inventory, database="sqlite:///inventory.db")

@app.on(placed)
def reserve(event: Placed, tx: sqlite3.Connection) -> Reserved: ...
@app.on(declined)
def release(event: Declined, tx: sqlite3.Connection) -> Released: ...
@app.handles(count)
def do_count(command: Placed) -> int: ...
@app.handles(pack)
def do_pack(command: Placed, tx: sqlite3.Connection) -> None: ...
@app.compensates(pack)
def unpack(command: Placed, tx: sqlite3.Connection) -> None: ...
"""
BILLING = """
import sqlite3
from amends import Participant
from contracts import *

app = Participant(billing, database="sqlite:///billing.db")

@app.on(reserved)
def charge(event: Reserved, tx: sqlite3.Connection) -> Paid | Declined: ...
"""
ORDERS = """
import sqlite3
from amends import Orchestrator, Participant, Saga, pivot
from contracts import *

app = Participant(orders, database="sqlite:///orders.db")

@app.on(released)
def cancel(event: Released, tx: sqlite3.Connection) -> Cancelled: ...

@pack.request
def ask_to_pack(order: Placed) -> Placed:
    return order

packing = Saga("packing", ask_to_pack, input=Placed)
orchestrator = Orchestrator("sqlite:///sagas.db", sagas=[packing])
"""
ALL = ("orders:app", "inventory:app", "billing:app")
RINGS = """
from contracts import *
from amends import Participant
import sqlite3

app = Participant(billing, database="sqlite:///billing.db")
other = Participant(inventory, database="sqlite:///inventory.db")

@app.on(reserved)
def charge(event: Reserved, tx: sqlite3.Connection) -> tuple[Paid, Declined]: ...
@app.on(released)
def nothing(event: Released, tx: sqlite3.Connection) -> list[Paid]: ...
@other.on(paid)
def reserve(event: Paid, tx: sqlite3.Connection) -> Reserved: ...
@other.handles(count)
def do_count(command: Placed) -> int: ...
@other.handles(pack)
def do_pack(command: Placed, tx: sqlite3.Connection) -> None: ...
@other.compensates(pack)
def unpack(command: Placed, tx: sqlite3.Connection) -> None: ...
"""


@pytest.fixture
def shop(floor: Floor) -> Floor:
    """A project of three services."""
    sources = {"contracts": CONTRACTS, "inventory": INVENTORY, "billing": BILLING, "orders": ORDERS, "rings": RINGS}
    for name, source in sources.items():
        (floor.directory / f"{name}.py").write_text(source)
    return floor


def test_services_named_together_are_a_table_of_who_tells_and_handles_what(shop: Floor) -> None:
    assert shop.ok("graph", *ALL, "orders:orchestrator", "contracts:flow").out == (
        "EVENT                                               TOLD BY  HANDLED BY\n"
        "orders.placed                                       orders   reserve of inventory\n"
        "orders.cancelled, compensates orders.placed         cancel\n"
        "inventory.reserved                                  reserve  charge of billing\n"
        "inventory.released, compensates inventory.reserved  release  cancel of orders\n"
        "billing.paid                                        charge\n"
        "billing.declined, a rejection                       charge   release of inventory\n"
        "\n"
        "COMMAND           ASKED BY\n"
        "inventory.count\n"
        "inventory.pack ↩  packing\n"
        "\n"
        "The flow order\n"
        "AFTER               ONE OF                          WITHIN\n"
        "orders.placed       inventory.reserved              30 s\n"
        "inventory.reserved  billing.paid, billing.declined  1 minute\n"
        "billing.declined    inventory.released              1 minute\n"
        "inventory.released  orders.cancelled                1 minute\n"
    )


def test_services_named_together_are_a_chart(shop: Floor) -> None:
    chart = shop.ok("graph", *ALL, "orders:orchestrator", "contracts:flow", "--mermaid").out

    names = dict(re.findall(r'(\w+)[\[({/]+"([^"]+)"', chart))
    edges = {(names[a], arrow, names[b]) for a, arrow, b in re.findall(r"^    (\w+) (-->|-\.->) (\w+)$", chart, re.M)}
    assert edges == {
        ("by itself", "-->", "orders.placed"),
        ("orders.placed", "-->", "reserve"),
        ("reserve", "-->", "inventory.reserved"),
        ("inventory.reserved", "-->", "charge"),
        ("charge", "-.->", "billing.paid"),
        ("charge", "-.->", "billing.declined"),
        ("billing.declined", "-->", "release"),
        ("release", "-->", "inventory.released ↩"),
        ("inventory.released ↩", "-->", "cancel"),
        ("cancel", "-->", "orders.cancelled ↩"),
        ("saga packing", "-->", "pack ↩"),
    }
    assert re.findall(r'subgraph \w+\["(\w+)"\]', chart) == ["orders", "inventory", "billing"]
    assert chart.startswith("flowchart LR\n")
    assert "classDef rejection" in chart
    assert "classDef problem" not in chart


def test_what_is_right_is_said_to_be_so(shop: Floor) -> None:
    checked = shop.amends("graph", *ALL, "contracts:flow", "--check")

    assert (checked.code, checked.out) == (
        0,
        "3 services, 6 events, 4 handlers, and nothing that cannot come to a good end\n",
    )


def test_events_that_nobody_handles_and_handlers_that_nothing_triggers_are_reported(shop: Floor) -> None:
    alone = shop.amends("graph", "inventory:app", "orders:app", "--check", "--json")
    without_flow = shop.amends("graph", *ALL, "--check", "--json")
    without_orders = shop.amends("graph", "billing:app", "inventory:app", "--check", "--json")

    assert alone.code == without_flow.code == without_orders.code == 10
    assert [(one["rule"], one["event"]) for one in alone.data] == [
        ("unheard", "inventory.reserved"),
        ("unheard", "orders.cancelled"),
    ]
    assert [(one["rule"], one["event"]) for one in without_flow.data] == [
        ("unheard", "orders.cancelled"),
        ("unheard", "billing.paid"),
    ]
    assert ("uncompensated", "orders.placed") in [(one["rule"], one["event"]) for one in without_orders.data]


def test_circles_and_what_is_not_undone_are_said_in_words(shop: Floor) -> None:
    checked = shop.amends("graph", "rings", "--check")

    assert checked.code == 10
    words = " ".join(checked.out.split())
    assert "billing.paid -> inventory.reserved -> billing.paid goes round without an end" in words
    assert "nothing leads to inventory.released, so nothing of billing never runs" in words
    assert "inventory.reserved stays after billing.declined, which may come of it" in words
    assert "problem" in shop.ok("graph", "rings", "--mermaid").out


def test_a_module_with_participants_is_drawn_whole_and_so_is_one_of_them(shop: Floor) -> None:
    assert shop.ok("graph", "orders", "--json").data["services"] == ["orders"]
    scene = shop.ok("graph", "rings", "--json").data
    assert sorted(scene["services"]) == ["billing", "inventory"]
    outcomes = {one["function"]: one["outcomes"] for one in scene["reactions"]}
    assert outcomes == {
        "charge": [["billing.paid", "billing.declined"]],
        "nothing": [[], ["billing.paid"]],
        "reserve": [["inventory.reserved"]],
    }


def test_sagas_are_drawn_as_before(shop: Floor) -> None:
    assert shop.ok("graph", "orders:packing").out == shop.ok("graph", "orders:orchestrator").out
    assert shop.ok("graph", "orders:orchestrator", "packing").out.startswith("packing")


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (
            ("contracts:count", "orders:app"),
            "'contracts:count' is a Command; participants",
        ),
        (("orders:orchestrator", "--check"), "name participants, or a module with some; there is none"),
        (("orders:orchestrator", "packing", "other"), "one saga is drawn at a time"),
        (("orders:nobody",), "orders has no 'nobody'"),
    ],
)
def test_what_cannot_be_drawn_is_an_error_that_says_what_can(shop: Floor, targets: tuple[str, ...], words: str) -> None:
    result = shop.amends("graph", *targets)

    assert result.code == 2
    assert words in " ".join(result.err.split())
