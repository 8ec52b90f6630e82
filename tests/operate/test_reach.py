"""Parts that only reach their own process, and are not answered in it, or not asked: a worker and the doctor say so."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass

import pytest
from shop_floor import Floor

from amends import Orchestrator, Participant, Saga, Service
from amends.operate.reach import Asked, Asker, alone, out_of_reach

FAR = "nats://127.0.0.1:1"


@dataclass(frozen=True)
class Paid:
    order: str


inventory, payment, receipts = Service("inventory"), Service("payment"), Service("receipts")
reserve = inventory.command("reserve", str)
pay = payment.command("pay", str)
paid = payment.event("paid", Paid)


@reserve.request
def ask_for_stock(order: str) -> str:
    return order


@pay.request
def ask_for_payment(order: str) -> str:
    return order


buy = Saga("buy", ask_for_stock, ask_for_payment, input=str)


def sagas(broker: str | None = None) -> Asker:
    """The orchestrator."""
    return Asker("shop:sagas", Orchestrator("memory://", sagas=[buy], broker=broker).config)


def service(of: Service, broker: str | None = None) -> Asked:
    """A participant."""
    app = Participant(of, database="sqlite:///x.db", broker=broker)
    if of is receipts:

        @app.on(paid)
        def file(event: Paid, tx: sqlite3.Connection) -> None: ...

    return Asked(f"shop:{of.name}", app)


def test_parts_that_meet_in_their_process_are_well() -> None:
    parts = [service(inventory), service(payment), service(receipts)]

    assert out_of_reach([sagas()], parts) == []


def test_parts_with_a_broker_are_not_judged() -> None:
    assert out_of_reach([sagas(FAR)], []) == []
    assert out_of_reach([], [service(inventory, FAR), service(receipts, FAR)]) == []


def test_sagas_that_nobody_answers_are_told_with_the_services_that_are_not_here() -> None:
    [none_here] = out_of_reach([sagas()], [])
    [one_missing] = out_of_reach([sagas()], [service(inventory)])

    assert none_here.startswith("shop:sagas asks inventory, payment, and nobody will answer: it has no broker")
    assert one_missing.startswith("shop:sagas asks payment, and nobody will answer")


def test_a_participant_that_nobody_asks_is_told() -> None:
    [told] = out_of_reach([], [service(inventory)])

    assert told.startswith("shop:inventory is not asked by anybody for what inventory does: it has no broker")


def test_a_participant_that_forgot_the_broker_of_the_others_is_told() -> None:
    told = out_of_reach([sagas(FAR)], [service(inventory), service(payment, FAR)])

    assert [text.partition(" is ")[0] for text in told] == ["shop:inventory"]


def test_a_subscriber_without_those_that_it_listens_to_is_told() -> None:
    [told] = out_of_reach([], [service(receipts)])

    assert told.startswith("shop:receipts hears no event of payment")


def test_parts_with_different_prefixes_do_not_meet() -> None:
    told = out_of_reach([sagas("local://?prefix=a")], [service(inventory, "local://?prefix=b")])

    assert len(told) == 2


def test_an_orchestrator_without_services_or_with_a_broker_is_not_alone() -> None:
    assert alone(Orchestrator("memory://", sagas=[]).config) == ""
    assert alone(sagas(FAR).config) == ""
    assert alone(sagas().config).startswith("inventory, payment are asked without a broker")


SHOP = """
import sqlite3
from amends import Orchestrator, Participant, Retry, Saga, Service

inventory = Service("inventory")
reserve = inventory.command("reserve", str)

@reserve.request(timeout=0.05)
def ask_for_stock(order: str) -> str:
    return order

orchestrator = Orchestrator("sqlite:///orders.db", sagas=[Saga("buy", ask_for_stock, input=str)])
app = Participant(inventory, database="sqlite:///stock.db")

@app.handles(reserve)
def reserved(order: str, tx: sqlite3.Connection) -> None: ...

@app.compensates(reserve)
def released(order: str, tx: sqlite3.Connection) -> None: ...
"""


@pytest.mark.parametrize(
    ("parts", "warned"),
    [
        (("split:orchestrator",), ["split:orchestrator asks inventory"]),
        (("split:app",), ["split:app is not asked by anybody for what inventory does"]),
        (("split:orchestrator", "split:app"), []),
    ],
    ids=["who asks", "who is asked", "both"],
)
def test_a_worker_says_at_its_start_what_nobody_answers(
    floor: Floor, parts: tuple[str, ...], warned: list[str]
) -> None:
    (floor.directory / "split.py").write_text(SHOP)

    worker = floor.process("worker", *parts, "--ready-file=ready")
    floor.wait_for((floor.directory / "ready").exists)
    worker.terminate()
    end = floor.ended(worker)

    told = [line.partition("amends.worker: ")[2] for line in end.err.splitlines() if " WARNING " in line]
    assert [re.split(", and|: ", text)[0] for text in told] == warned
    assert end.code == 0


def test_the_doctor_tells_of_sagas_that_reach_only_their_own_process(floor: Floor) -> None:
    (floor.directory / "split.py").write_text(SHOP)
    floor.ok("db", "upgrade", "--app=split:orchestrator")

    found = floor.amends("doctor", "--app=split:orchestrator", "--json").data["findings"]

    [told] = [finding for finding in found if finding["what"] == "services"]
    assert told["detail"].startswith("inventory is asked without a broker")


def test_the_doctor_names_a_service_that_is_asked_again_and_again(floor: Floor) -> None:
    (floor.directory / "split.py").write_text(SHOP.replace("timeout=0.05", "timeout=0.05, retry=Retry(attempts=None)"))

    def told() -> list[str]:
        found = floor.amends("doctor", "--database=sqlite:///orders.db", "--json").data["findings"]
        return [finding["detail"] for finding in found if finding["what"] == "services"]

    worker = floor.process("worker", "split:orchestrator", "--ready-file=ready")
    floor.wait_for((floor.directory / "ready").exists)
    before = told()
    floor.ok("start", "split:orchestrator", "buy", '"tea"', "--id=order-1")
    floor.wait_for(lambda: bool(told()))
    worker.terminate()
    floor.ended(worker)

    assert before == []
    assert told()[0].startswith("inventory was asked 3 times and more for a step of 1 saga, such as order-1")
