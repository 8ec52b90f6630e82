"""`amends outbox`, and the tables of services: what is unpublished, and what shall be told again."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from importlib import import_module
from typing import Any

import psycopg
import pytest
from shop_floor import Floor

SHELF = """
import os
import sqlite3
from dataclasses import dataclass
from amends import Orchestrator, Participant, Saga, Service, step

@dataclass(frozen=True)
class Gone:
    sku: str

inventory, readers = Service("inventory"), Service("readers")
gone = inventory.event("gone", Gone, key=lambda event: event.sku)
count = readers.command("count", str, reply=int, readonly=True)
app = Participant(inventory, database="sqlite:///stock.db")
server = Participant(inventory, database=os.environ.get("SHELF_POSTGRES"))
bare = Participant(readers)

@step
def sell(sku: str) -> None: ...
@sell.compensation
def unsell() -> None: ...

orchestrator = Orchestrator("sqlite:///orders.db", sagas=[Saga("sale", sell, input=str)])

@bare.handles(count)
def counted(sku: str) -> int:
    return 3
"""
APP = "--app=shelf:app"
THERE = ("--database=sqlite:///stock.db", "--service=inventory")


@pytest.fixture
def shelf(floor: Floor) -> Floor:
    """A project with a service that tells events."""
    (floor.directory / "shelf.py").write_text(SHELF)
    return floor


def module(floor: Floor) -> Any:
    """The project's module, in this process."""
    if str(floor.directory) not in sys.path:
        sys.path.insert(0, str(floor.directory))
    return import_module("shelf")


def tell(floor: Floor, *skus: str) -> None:
    """Commit events of the service, without anybody at work who would publish them."""
    shelf = module(floor)
    connection = sqlite3.connect("stock.db")
    for sku in skus:
        shelf.app.publish(shelf.gone, shelf.Gone(sku), within=connection)
    connection.commit()
    connection.close()


def test_what_nobody_has_published_is_counted_with_its_age(shelf: Floor) -> None:
    shelf.ok("db", "upgrade", APP)
    before = shelf.ok("outbox", "status", APP).out
    tell(shelf, "tea", "milk")

    after = shelf.ok("outbox", "status", APP)
    told = shelf.ok("outbox", "status", APP, "--json").data

    assert before.splitlines()[:2] == ["inventory at sqlite:///stock.db", "  unpublished  0 events"]
    assert after.out.splitlines()[1].startswith("  unpublished  2 events, the oldest for ")
    assert (told["service"], told["unpublished"], told["inbox"]) == ("inventory", 2, 0)
    assert 0 <= told["lag"] < 3600


def test_the_same_is_told_without_the_code_and_of_one_service_only(shelf: Floor) -> None:
    shelf.ok("db", "upgrade", APP)
    tell(shelf, "tea")

    assert shelf.ok("outbox", "status", *THERE, "--json").data["unpublished"] == 1
    assert shelf.ok("outbox", "status", THERE[0], "--service=payment", "--json").data["unpublished"] == 0


def test_what_was_published_is_published_again_by_whoever_works(shelf: Floor) -> None:
    def unpublished() -> int:
        return int(shelf.ok("outbox", "status", APP, "--json").data["unpublished"])

    shelf.ok("db", "upgrade", APP)
    tell(shelf, "tea", "milk")
    nothing = shelf.ok("outbox", "republish", "--since=1h", APP).out
    worker = shelf.process("worker", "shelf:app")
    shelf.wait_for(lambda: unpublished() == 0)
    worker.terminate()
    shelf.ended(worker)

    of_others = shelf.ok("outbox", "republish", "--since=1h", THERE[0], "--service=payment", "--json").data
    again = shelf.ok("outbox", "republish", "--since=1h", APP).out

    assert nothing == "sqlite:///stock.db: nothing was published since then\n"
    assert of_others["republished"] == 0
    assert again == ("sqlite:///stock.db: 2 events are published again as soon as a participant of inventory works\n")
    assert unpublished() == 2


def test_the_tables_of_a_service_on_a_server_are_made_before_it_works(
    shelf: Floor, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELF_POSTGRES", postgres_url)
    app = "--app=shelf:server"

    without = shelf.amends("db", "check", app)
    worker = shelf.ended(shelf.process("worker", "shelf:server"))
    made = shelf.ok("db", "upgrade", app).out
    again = shelf.ok("db", "upgrade", app, "--json").data
    shelf.ok("db", "check", app)

    assert (without.code, worker.code) == (7, 7)
    assert "run `amends db upgrade --app=shelf:server`" in without.err
    assert "run `amends db upgrade --app=shelf:server`" in worker.err
    assert "the inbox and the outbox of inventory fit this amends" in made
    assert "No migrations applied" not in made
    assert (again["service"], again["fits"], again["applied"]) == ("inventory", True, 0)


def test_the_outbox_on_a_server_is_looked_after_too(
    shelf: Floor, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELF_POSTGRES", postgres_url)
    shelf.ok("db", "upgrade", "--app=shelf:server")
    code = module(shelf)
    with psycopg.connect(postgres_url) as connection:
        code.server.publish(code.gone, code.Gone("tea"), within=connection)
        connection.commit()

    by_app = shelf.ok("outbox", "status", "--app=shelf:server", "--json").data
    by_url = shelf.ok("outbox", "status", f"--database={postgres_url}", "--service=inventory", "--json").data
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE amends.outbox SET settled = extract(epoch FROM clock_timestamp())")
    again = shelf.ok("outbox", "republish", "--since=1h", "--app=shelf:server", "--json").data

    assert (by_app["unpublished"], by_url["unpublished"]) == (1, 1)
    assert again["republished"] == 1
    assert shelf.ok("outbox", "status", "--app=shelf:server", "--json").data["unpublished"] == 1


def test_a_file_that_is_no_service_s_is_not_made_to_be_one(shelf: Floor) -> None:
    missing = shelf.amends("outbox", "status", APP)
    sqlite3.connect("other.db").execute("CREATE TABLE mine (x)").connection.close()
    other = shelf.amends("outbox", "republish", "--since=1h", "--database=sqlite:///other.db", "--service=inventory")

    assert (missing.code, other.code) == (7, 7)
    assert "there is no such file, or it has no inbox and no outbox" in missing.err
    assert not (shelf.directory / "stock.db").exists()
    assert b"amends" not in (shelf.directory / "other.db").read_bytes()


WRONG = [
    ((), "name the participant, such as --app=inventory:app, or --database and --service"),
    (("--database=sqlite:///stock.db",), "say --service=NAME too"),
    (("--database=redis://localhost", "--service=inventory"), "is no database that amends knows"),
    (("--app=shelf:orchestrator",), "'shelf:orchestrator' runs sagas, and has no outbox"),
    (("--app=shelf:gone",), "'shelf:gone' is an Event, not an Orchestrator, a Participant or a Watcher"),
    (("--app=shelf:bare",), "Participant('readers') has no database, so it keeps nothing"),
    ((APP, "--service=payment"), "'shelf:app' is the participant of inventory, not of payment"),
]


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_whose_outbox_it_is_must_be_clear(shelf: Floor, words: tuple[str, ...], said: str) -> None:
    result = shelf.amends("outbox", "status", *words)

    assert (result.code, said in result.err, "Traceback" in result.err) == (2, True, False), result


def test_how_far_back_is_said_with_a_unit(shelf: Floor) -> None:
    assert "a number and a unit are expected" in shelf.amends("outbox", "republish", "--since=2", APP).err
    assert "Missing option '--since'" in shelf.amends("outbox", "republish", APP).err


def test_the_doctor_looks_at_a_service(shelf: Floor) -> None:
    missing = shelf.amends("doctor", APP, "--json")
    shelf.ok("db", "upgrade", APP)
    well = shelf.amends("doctor", APP, "--json")
    tell(shelf, "tea")
    with closing(sqlite3.connect("stock.db")) as connection:
        connection.execute("UPDATE amends_outbox SET at = at - 3600")
        connection.commit()
    late = shelf.amends("doctor", APP)
    without = shelf.ok("doctor", "--app=shelf:bare").out

    assert (missing.code, missing.data["findings"][-1]["what"]) == (11, "database")
    assert (well.code, well.data["worst"]) == (0, "ok")
    assert late.code == 10
    assert "1 events are not published yet, the oldest for 36" in late.out
    assert "it has none, so it keeps no inbox" in " ".join(without.split())
