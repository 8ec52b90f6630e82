"""Choreographed sagas at their home, on the command line: the same verbs, words and codes as for orchestrated ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from shop_floor import PATIENCE_SECONDS, Floor

TOWN = """
from __future__ import annotations
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from amends import Park, Participant, Reject, Retry, Saga, Service, pivot

@dataclass(frozen=True)
class Ask:
    sku: str

orders, inventory, payment = Service("orders"), Service("inventory"), Service("payment")
reserve_stock = inventory.command("reserve-stock", Ask, reply=str)
pay = payment.command("pay", Ask, compensation=False, reply=int)

@reserve_stock.request(retry=Retry(attempts=1))
def ask_for_stock(order: Ask) -> Ask:
    return order

@pay.request(retry=Retry(attempts=1))
def ask_for_payment(order: Ask) -> Ask:
    return order

buy = Saga("buy", ask_for_stock, pivot(ask_for_payment), input=Ask, output=ask_for_payment)
sell = Saga("sell", pivot(ask_for_payment.named("sold")), input=Ask)
desk = Participant(orders, database="sqlite:///orders.db", sagas=[buy, sell])
stock = Participant(inventory, database="sqlite:///stock.db", sagas=[buy])
bank = Participant(payment, database="sqlite:///bank.db", sagas=[buy])
plain = Participant(inventory, database="sqlite:///stock.db")

@stock.handles(reserve_stock)
def reserve(command: Ask, tx: sqlite3.Connection) -> str:
    return "shelf 3"

@stock.compensates(reserve_stock)
def release(command: Ask, shelf: str, tx: sqlite3.Connection) -> None:
    if Path("locked").exists():
        raise Park("the shelf is locked")

@bank.handles(pay)
def take(command: Ask, tx: sqlite3.Connection) -> int:
    if command.sku == "gold":
        raise Reject("too dear")
    if Path("away").exists():
        raise Park("the bank is away")
    return 7

def start(*skus: str, saga=buy) -> None:
    with closing(sqlite3.connect("orders.db", timeout=30)) as connection:
        for sku in skus:
            desk.start(saga, Ask(sku), within=connection, id=f"order-{sku}")
        connection.commit()
"""
HOME = "--app=town:desk"
ACTS = ("--actor=ada", "--reason=seen to")


@pytest.fixture
def town(floor: Floor) -> Floor:
    """A project with three services."""
    (floor.directory / "town.py").write_text(TOWN)
    return floor


def begun(floor: Floor, *words: str, until: str = "the participant of payment") -> None:
    """Have a worker begin, until it has said something."""
    process = floor.process("worker", *words)
    assert process.stderr is not None
    said = ""
    while until not in said:
        line = process.stderr.readline()
        assert line, said
        said += line


def start(floor: Floor, *skus: str, saga: str = "buy") -> None:
    """Start orders from another process."""
    code = f"import town; town.start(*{skus!r}, saga=town.{saga})"
    subprocess.run([sys.executable, "-c", code], cwd=floor.directory, check=True, timeout=PATIENCE_SECONDS)


def rests(floor: Floor, sku: str, status: str) -> None:
    """Wait until the home says so."""
    floor.wait_for(lambda: floor.ok("show", f"order-{sku}", HOME, "--json").data["status"] == status)


def test_a_compensation_that_is_stuck_elsewhere_is_retried_from_home(town: Floor) -> None:
    (town.directory / "locked").touch()
    begun(town, "town:desk", "town:stock", "town:bank")
    start(town, "tea", "gold")
    rests(town, "gold", "parked")
    rests(town, "tea", "completed")

    listed = town.ok("list", HOME)
    parked = town.ok("list", HOME, "--status=parked", "--json").data["sagas"]
    [group] = town.ok("list", HOME, "--group", "--json").data["groups"]
    searches = {
        "order-gold": (f"--error={group['fingerprint']}", "--step=ask_for_stock", "--trouble=parked", "--key=order-g"),
        "order-tea": ("--input=sku=tea", "--key=order-tea", "--status=completed"),
        "": ("--trouble=waiting", "--step=ask_for_payment", "--assigned=bob", "--newer-than=0s"),
    }
    found = {
        option: [saga["id"] for saga in town.ok("list", HOME, option, "--json").data["sagas"]]
        for options in searches.values()
        for option in options
    }
    stuck = town.amends("stuck", HOME, "--exit-code")
    (town.directory / "secret").write_text(f"whsec_{'A' * 32}")
    alert = ("alert", "--once", "--webhook=https://127.0.0.1/", "--secret-file=secret", "--state=told.json", HOME)
    untold = town.amends(*alert)
    shown = town.ok("show", "order-gold", HOME)
    told = town.ok("show", "order-gold", HOME, "--json").data
    (town.directory / "locked").unlink()
    retried = town.ok("retry", "order-gold", "ask_for_stock", HOME, *ACTS)
    rests(town, "gold", "compensated")
    history = town.ok("show", "order-gold", HOME)
    late = town.amends("cancel", "order-gold", HOME, *ACTS)

    rows = [line.split() for line in listed.out.splitlines()]
    assert [row[:3] for row in rows[1:]] == [["order-gold", "buy", "parked"], ["order-tea", "buy", "completed"]]
    assert [(saga["id"], saga["home"]) for saga in parked] == [("order-gold", "orders")]
    assert "the shelf is locked" in parked[0]["reason"]
    assert (group["saga"], group["step"], group["count"]) == ("buy", "ask_for_stock", 1)
    assert found == {option: [key] if key else [] for key, options in searches.items() for option in options}
    assert (stuck.code, "order-gold" in stuck.out, "the shelf is locked" in stuck.out) == (10, True, True)
    assert untold.code == 9
    assert '"place":"sqlite:///orders.db"' in json.loads(Path("told.json").read_text())["pending"]["body"]
    assert "  home     orders: choreographed; what follows is what its home was told last" in shown.out
    assert "  holder   inventory, where it is parked" in shown.out
    assert "amends retry order-gold ask_for_stock --app=town:desk --reason='say why'" in shown.out
    assert told["holder"] == "inventory, where it is parked"
    assert retried.out == "order-gold: retry ask_for_stock accepted: inventory has the saga\n"
    assert "ada: retry ask_for_stock, because: seen to" in history.out
    assert (late.code, "order-gold: the saga has ended" in late.err) == (5, True)


def test_a_pivot_in_doubt_is_resolved_from_home_and_its_result_is_the_sagas(town: Floor) -> None:
    (town.directory / "away").touch()
    begun(town, "town:desk", "town:stock", "town:bank")
    start(town, "tea")
    rests(town, "tea", "parked")

    unfit = town.amends("resolve", "order-tea", "ask_for_payment", HOME, *ACTS, '--result="x"')
    nowhere = town.amends("retry", "order-tea", "no_such_step", HOME, *ACTS)
    done = town.ok("resolve", "order-tea", "ask_for_payment", HOME, *ACTS, "--result=9", "--json").data
    rests(town, "tea", "completed")

    assert (unfit.code, "Expected `int`, got `str`" in unfit.err) == (5, True)
    assert nowhere.code == 5
    assert done == {
        "id": "order-tea",
        "verb": "resolve",
        "step": "ask_for_payment",
        "answer": "accepted",
        "detail": "payment has the saga",
    }
    assert town.ok("show", "order-tea", HOME, "--json").data["result"] == 9


def test_without_anybody_at_work_an_act_is_kept_and_done_when_they_come(town: Floor) -> None:
    begun(town, "town:desk", "town:stock", until="the participant of inventory")
    start(town, "tea")
    rests(town, "tea", "running")

    kept = town.amends("cancel", "order-tea", HOME, *ACTS, "--timeout=0.3")
    shown = town.ok("show", "order-tea", HOME)
    begun(town, "town:bank")
    rests(town, "tea", "compensated")

    assert kept.code == 9
    assert "the cancel is kept at its home, orders, and goes to the saga's services" in kept.err
    assert "1 not answered yet" in shown.out


def test_what_the_verbs_of_a_home_say_where_something_is_not_there(town: Floor) -> None:
    nothing = town.amends("list", HOME)
    begun(town, "town:desk", until="the participant of orders")
    start(town, "tea")

    unknown = town.amends("show", "order-42", HOME)
    acted = town.amends("cancel", "order-42", HOME, *ACTS)
    other = town.amends("list", HOME, "--saga=pay")
    plain = town.amends("list", "--app=town:plain")
    space = town.amends("list", HOME, "--namespace=shop")
    signal = town.amends("signal", "order-tea", "approval", "1", HOME)
    drawn = town.ok("graph", "--id=order-tea", HOME)
    bare = town.amends("list", "--database=sqlite:///orders.db")
    beside = town.ok("list", HOME, "--database=sqlite:///orders.db", "--saga=buy")

    assert (nothing.code, "orders.db" in nothing.err) == (7, True)
    assert (unknown.code, acted.code, other.code) == (6, 6, 6)
    assert "the service orders has started no saga 'order-42'" in unknown.err
    assert (plain.code, "it is the home of none" in plain.err) == (2, True)
    assert (space.code, "leave --namespace out" in space.err) == (2, True)
    assert (signal.code, "waits for no signal" in signal.err) == (5, True)
    assert "ask_for_stock" in drawn.out
    assert "--app=MODULE:NAME, its participant" in bare.err
    assert "order-tea" in beside.out


def test_the_pages_of_a_list_follow_upon_each_other(town: Floor) -> None:
    begun(town, "town:desk", until="the participant of orders")
    start(town, "a", "b", "c")
    start(town, "d", saga="sell")

    first = town.ok("list", HOME, "--limit=2", "--json").data
    second = town.ok("list", HOME, "--limit=2", f"--before={first['sagas'][-1]['id']}", "--json").data
    sold = town.ok("list", HOME, "--saga=sell", "--json").data
    none = town.ok("list", HOME, "--stuck", "--json").data

    ids = [saga["id"] for page in (first, second) for saga in page["sagas"]]
    assert (ids[0], sorted(ids)) == ("order-d", ["order-a", "order-b", "order-c", "order-d"])
    assert (first["more"], second["more"]) == (True, False)
    assert [saga["id"] for saga in sold["sagas"]] == ["order-d"]
    assert none["sagas"] == []
