"""A worker with several parts: sagas and services side by side in one process, ready together, ended in order."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Callable

import pytest
from shop_floor import PATIENCE_SECONDS, Floor

from amends.operate.cli.hosting import Hosting, Readiness
from amends.operate.cli.probes import Probes
from services.proxy import Proxy

SYSTEM = """
from __future__ import annotations
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from amends import Orchestrator, Participant, Reject, Saga, Service, pivot

@dataclass(frozen=True)
class Ask:
    sku: str

inventory, payment = Service("inventory"), Service("payment")
reserve_stock = inventory.command("reserve-stock", Ask, reply=str)
pay = payment.command("pay", Ask, compensation=False)

@dataclass(frozen=True)
class Order:
    sku: str

@reserve_stock.request
def ask_for_stock(order: Order) -> Ask:
    return Ask(order.sku)

@pay.request
def ask_for_payment(order: Order) -> Ask:
    return Ask(order.sku)

buy = Saga("buy", ask_for_stock, pivot(ask_for_payment), input=Order, output=ask_for_stock)
orchestrator = Orchestrator("sqlite:///orders.db", sagas=[buy])
bare = Orchestrator("sqlite:///bare.db", sagas=[])
stock = Participant(inventory, database="sqlite:///stock.db")
bank = Participant(payment, database="sqlite:///bank.db")
far = Participant(payment, database="sqlite:///far.db", broker="nats://127.0.0.1:1")

@stock.handles(reserve_stock)
def reserve(command: Ask, tx: sqlite3.Connection) -> str:
    if command.sku == "slow":
        Path("reserving").touch()
        while not Path("reserved").exists():
            time.sleep(0.01)
    return "shelf 3"

@stock.compensates(reserve_stock)
def release(command: Ask, shelf: str, tx: sqlite3.Connection) -> None:
    Path("released").touch()

@bank.handles(pay)
@far.handles(pay)
def take(command: Ask, tx: sqlite3.Connection) -> None:
    if command.sku == "gold":
        raise Reject("too dear")
"""
LAZY = """
from amends import Participant
from system import inventory
app = Participant(inventory, database="sqlite:///lazy.db")
"""
FAR = """
from amends import Orchestrator
from system import buy
sagas = Orchestrator("sqlite:///far.db", sagas=[buy], broker="nats://ann:secret@127.0.0.1:1")
"""
PARTS = ("system:orchestrator", "system:stock", "system:bank")
TEA, GOLD, SLOW = '{"sku": "tea"}', '{"sku": "gold"}', '{"sku": "slow"}'
AT_WORK = "runs buy"  # said last


@pytest.fixture
def system(floor: Floor) -> Floor:
    """A project with an orchestrator and its services."""
    (floor.directory / "system.py").write_text(SYSTEM)
    (floor.directory / "lazy.py").write_text(LAZY)
    (floor.directory / "afar.py").write_text(FAR)
    return floor


def begun(floor: Floor, *words: str, until: str) -> subprocess.Popen[str]:
    """A worker that has said something."""
    process = floor.process("worker", *words)
    assert process.stderr is not None
    said = ""
    while until not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return process


def stopped(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """How a worker ended, and what it said by then."""
    process.send_signal(signal.SIGTERM)
    return ended(process)


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """The same of one that was told to end. (`communicate` would lose what a `readline` has read ahead.)"""
    assert process.stderr is not None
    said = process.stderr.read()
    code = process.wait(PATIENCE_SECONDS)
    return code, [line.partition("amends.worker: ")[2] for line in said.splitlines()]


def test_one_process_runs_sagas_and_the_services_that_do_their_steps(system: Floor) -> None:
    worker = begun(system, *PARTS, until=AT_WORK)

    bought = system.amends("run", "system:orchestrator", "buy", TEA, "--id=order-1")
    refused = system.amends("run", "system:orchestrator", "buy", GOLD, "--id=order-2")
    code, _ = stopped(worker)
    shown = system.ok("show", "order-2", "--database=sqlite:///orders.db").out
    told = system.ok("show", "order-2", "--database=sqlite:///orders.db", "--json").data

    assert "  ask_for_stock    step → inventory.reserve-stock  compensated  1 " in shown
    assert [step["contract"] for step in told["steps"]] == ["inventory.reserve-stock", "payment.pay"]
    assert bought.out.splitlines()[-1] == 'order-1 completed: "shelf 3"'
    assert refused.out.splitlines()[-1] == "order-2 compensated: ask_for_payment: too dear"
    assert (refused.code, code) == (3, 0)
    assert (system.directory / "released").exists()


def test_services_leave_first_and_their_last_replies_are_still_taken(system: Floor) -> None:
    worker = begun(system, *PARTS, until=AT_WORK)
    system.ok("start", "system:orchestrator", "buy", SLOW, "--id=order-1")
    system.wait_for((system.directory / "reserving").exists)

    worker.send_signal(signal.SIGTERM)
    assert worker.stderr is not None
    assert "finishes what is in flight" in worker.stderr.readline()
    system.touch("reserved")
    code, said = ended(worker)
    told = system.ok("show", "order-1", "--database=sqlite:///orders.db", "--json").data

    assert code == 0
    assert sorted(said[:2]) == ["the participant of inventory has stopped", "the participant of payment has stopped"]
    assert said[2:] == ["worker 1 has stopped"]
    assert [step["action"] for step in told["steps"] if step["step"] == "ask_for_stock"] == ["succeeded"]


def test_what_was_left_open_is_done_by_the_next_worker(system: Floor) -> None:
    alone = begun(system, "system:orchestrator", until="runs buy")
    system.ok("start", "system:orchestrator", "buy", TEA, "--id=order-1")
    stopped(alone)

    worker = begun(system, *PARTS, until=AT_WORK)
    again = system.amends("run", "system:orchestrator", "buy", TEA, "--id=order-1")
    code, _ = stopped(worker)

    assert again.out.splitlines()[-1] == 'order-1 completed: "shelf 3"'
    assert code == 0


def test_a_module_with_one_such_object_is_named_alone(system: Floor) -> None:
    (system.directory / "shelves.py").write_text("from system import stock\napp = stock\n__all__ = ['app']\n")

    worker = begun(system, "shelves", until="the participant of inventory")
    code, said = stopped(worker)

    assert (code, said[-1]) == (0, "the participant of inventory has stopped")


def test_run_has_the_services_beside_the_saga_work_where_there_is_no_worker(system: Floor) -> None:
    ran = system.amends("run", "system:buy", TEA, "--id=order-1")
    refused = system.amends("run", "system:orchestrator", "buy", GOLD, "--id=order-2")

    assert ran.out.splitlines()[-1] == 'order-1 completed: "shelf 3"'
    assert refused.out.splitlines()[-1] == "order-2 compensated: ask_for_payment: too dear"


def test_run_says_which_service_nobody_could_reach(system: Floor) -> None:
    (system.directory / "shop.py").write_text("from system import buy, orchestrator, stock\n")

    result = system.amends("run", "shop:buy", TEA, "--id=order-1")

    assert result.code == 2
    assert result.err.startswith(
        "'buy' asks payment, and without a broker only this process is reached: have `amends worker` run the "
        "orchestrator and the participants together, or give broker="
    )
    assert system.ok("list", "--database=sqlite:///orders.db", "--json").data["sagas"] == []


OFFERED = "there is: system:orchestrator (an orchestrator), system:bare (an orchestrator), system:stock (a participant)"
WRONG = [
    (("system",), f"'system': name what is to run, such as system:orchestrator; {OFFERED}"),
    (("system:stok",), f"did you mean system:stock? {OFFERED}"),
    (("system:pay",), "'system:pay' is a Command, not an Orchestrator, a Participant or a Watcher; there is: "),
    (("system:orchestrator", "system:orchestrator"), "one of these is named twice"),
    (("system:orchestrator", "system:buy"), "one of these is named twice"),
    (("system:orchestrator", "system:bare"), "'system:bare' knows no saga, so there is nothing to run"),
    (("system:orchestrator", "lazy:app"), "inventory.reserve-stock"),
    (("system:stock", "--database=sqlite:///x.db"), "--database is the sagas' of one orchestrator"),
    ((), "name what is to run, such as shop:orchestrator, or set AMENDS_APP"),
]


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_what_cannot_run_is_refused_before_anything_is_opened(system: Floor, words: tuple[str, ...], said: str) -> None:
    end = system.ended(system.process("worker", *words))

    assert (end.code, said in end.err, "Traceback" in end.err) == (2, True, False), end
    assert not list(system.directory.glob("*.db"))


def test_a_part_that_cannot_begin_ends_the_others(system: Floor) -> None:
    (system.directory / "bank.db").write_bytes(b"not a database, and never was one. " * 100)

    end = system.ended(system.process("worker", *PARTS))

    assert end.code == 7
    assert "the participant of inventory has stopped" in end.err
    assert "runs buy" not in end.err  # who asks comes after those who are asked


def test_a_service_without_its_tables_says_what_makes_them_and_of_which_code(system: Floor, postgres_url: str) -> None:
    (system.directory / "lacking.py").write_text(
        f"from amends import Participant, Service\napp = Participant(Service('lacking'), database={postgres_url!r})\n"
    )

    end = system.ended(system.process("worker", "lacking:app"))
    found = system.amends("doctor", "--app=lacking:app", "--json")

    assert end.code == 7
    assert "run `amends db upgrade --app=lacking:app`" in end.err
    assert "run `amends db upgrade --app=lacking:app`" in found.data["findings"][-1]["detail"]


def test_a_service_whose_database_is_away_is_alive_and_not_ready_until_it_is_back(
    system: Floor, postgres_url: str
) -> None:
    with Proxy(postgres_url) as proxy:
        (system.directory / "idle.py").write_text(
            "from amends import Participant, Service\n"
            f"app = Participant(Service('idle'), database={proxy.url(postgres_url)!r}, migrate=True)\n"
        )
        alive, ready = system.directory / "alive", system.directory / "ready"
        worker = begun(system, "idle:app", "--alive-file=alive", "--ready-file=ready", until="takes its commands")
        system.wait_for(ready.exists)

        proxy.refuse()
        proxy.cut()
        assert worker.stderr is not None
        heard = ""
        while "idle:app is not ready: postgresql://" not in heard:  # nobody asks it for anything meanwhile
            heard = worker.stderr.readline()
            assert heard
        for path in (alive, ready):
            path.unlink()
        system.wait_for(alive.exists)
        while_away = ready.exists()
        proxy.accept()
        system.wait_for(ready.exists)
        code, _ = stopped(worker)

    assert (while_away, code) == (False, 0)


def test_a_service_whose_broker_is_away_is_alive_and_not_ready_and_stops(system: Floor) -> None:
    worker = begun(system, "system:far", "--alive-file=alive", "--ready-file=ready", until="takes its commands")
    alive = system.directory / "alive"

    system.wait_for(alive.exists)
    alive.unlink()
    system.wait_for(alive.exists)
    ready = (system.directory / "ready").exists()
    code, _ = stopped(worker)

    assert (ready, code) == (False, 0)


def test_sagas_whose_broker_is_away_are_not_ready_and_their_worker_says_why_and_where(system: Floor) -> None:
    worker = begun(system, "afar:sagas", "--alive-file=alive", "--ready-file=ready", until="is not ready: nats://")

    alive = (system.directory / "alive").exists()
    ready = (system.directory / "ready").exists()
    worker.send_signal(signal.SIGTERM)

    assert (alive, ready) == (True, False)
    assert "secret" not in system.ended(worker).err


def test_services_are_ready_once_they_hear(system: Floor) -> None:
    worker = begun(system, *PARTS, "--ready-file=ready", until=AT_WORK)

    system.wait_for((system.directory / "ready").exists)
    code, _ = stopped(worker)

    assert code == 0
    assert not (system.directory / "ready").exists()


# Parts by themselves


class Shown(Probes):
    """What a watcher would see."""

    def __init__(self) -> None:
        super().__init__(None, None, None)
        self.seen: list[tuple[bool, str]] = []

    def looked(self, well: bool, why: str = "") -> None:
        self.seen.append((well, why))


def test_a_process_looks_alive_only_while_every_part_does() -> None:
    probes = Shown()
    readiness = Readiness(probes, ["sagas", "stock"])

    for _ in range(3):
        readiness.of("sagas")("")
    silent = probes.seen[:]
    readiness.of("stock")("")
    readiness.of("stock")("the broker is away")
    readiness.of("sagas")("the database is away")

    assert silent == []
    assert probes.seen == [(True, ""), (False, "sagas: the database is away; stock: the broker is away")]


def test_one_part_is_not_named_by_itself() -> None:
    probes = Shown()

    Readiness(probes, ["sagas"]).of("sagas")("the database is away")

    assert probes.seen == [(False, "the database is away")]


def test_what_one_goes_without_is_logged_once_it_lasts_and_when_it_is_there_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    stock = Readiness(Shown(), ["stock"]).of("stock")

    for trouble in ("blink", "", *["the broker is away"] * 9, "", ""):
        stock(trouble)

    assert caplog.messages == ["stock is not ready: the broker is away", "stock is ready"]


class Part:
    """Something hosted, that writes down what befalls it."""

    def __init__(self, name: str, log: list[str], broken: str = "") -> None:
        self.name = name
        self.failed: asyncio.Future[None] | None = None
        self._log, self._broken = log, broken

    async def open(self, told: Callable[[str], None]) -> None:
        self._note("open")

    async def close(self) -> None:
        await asyncio.sleep(0)
        self._note("close")

    def _note(self, what: str) -> None:
        self._log.append(f"{what} {self.name}")
        if what == self._broken:
            raise OSError(f"{what} {self.name}")


def test_services_are_opened_first_and_closed_first() -> None:
    log: list[str] = []

    async def go() -> None:
        hosting = Hosting([Part("stock", log), Part("bank", log)], [Part("sagas", log)], Shown())
        await hosting.open()
        await hosting.close()

    asyncio.run(go())

    assert log == ["open stock", "open bank", "open sagas", "close stock", "close bank", "close sagas"]


def test_where_one_part_does_not_open_those_that_are_open_are_closed() -> None:
    log: list[str] = []

    async def go() -> None:
        await Hosting([Part("stock", log), Part("bank", log, "open")], [Part("sagas", log)], Shown()).open()

    with pytest.raises(OSError, match="open bank"):
        asyncio.run(go())
    assert log == ["open stock", "open bank", "close stock"]


def test_a_part_that_fails_to_close_keeps_no_other_open() -> None:
    log: list[str] = []

    async def go() -> None:
        hosting = Hosting([Part("stock", log, "close"), Part("bank", log)], [Part("sagas", log)], Shown())
        await hosting.open()
        await hosting.close()

    with pytest.raises(OSError, match="close stock"):
        asyncio.run(go())
    assert log[3:] == ["close stock", "close bank", "close sagas"]
