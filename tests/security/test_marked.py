"""F68, X9: what is marked as secret is shown by nothing: no verb, no JSON, no reason, no log, no error, no event.

A saga whose payloads hold canaries goes through every kind of failure, in both styles, and then everything that
anybody is shown is looked through.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from security_scene import done, rows_of
from shop_floor import Floor
from web_scene import TOKENS, access, client_of

from amends import (
    Context,
    Orchestrator,
    Park,
    Participant,
    Reject,
    Retry,
    Saga,
    Secret,
    Service,
    pivot,
    sleep,
    step,
    wait_for,
)
from amends.observe.events import Event as Told
from amends.operate import as_json
from amends.operate.homes import home_operations
from amends.operate.operations import operations
from amends.operate.web.app import web
from amends.otel import Tracing
from amends.run import journal

CARD, TOKEN, CODE, ORDER = "canary-card 4111/1111", "canary-token'x", "canary-code", "canary-order"
FEW = Retry(attempts=2, first_delay=0.01, jitter=0.0)
Logged = Callable[[], str]


@dataclass(frozen=True)
class Order:
    how: str  # it fails
    card: Secret[str] = CARD


@dataclass(frozen=True)
class Paid:
    token: Secret[str]


@dataclass(frozen=True)
class Approval:
    code: Secret[str]


class Late(Exception):
    """With all that it knows."""


def falls(order: Order, kind: str, *known: object) -> None:
    """Fail in one way, and tell everything."""
    said = f"{order!r} {order.card} {known!r} {json.dumps(order.card)}"
    if order.how == kind:
        raise {"rejects": Reject, "parks": Park, "fails": ValueError, "breaks": Late}[kind.partition(" ")[0]](said)
    if order.how == f"{kind} long":
        raise ValueError("x" * 1985 + said)


@step(retry=FEW)
async def pay(order: Order, ctx: Context) -> Paid:
    """Gives a token."""
    falls(order, "fails")
    falls(order, "parks")
    if order.how == "strange":
        return order.card  # type: ignore[return-value]  # that is the point
    return Paid(TOKEN)


@pay.compensation(retry=Retry(attempts=1))
async def unpay(order: Order, paid: Paid | None) -> None:
    """May not be possible."""
    if order.how == "breaks undo":
        raise Late(f"{order!r} {paid!r}")


approval = wait_for("approval", Approval, timeout=0.3)


@step(retry=FEW)
def ship(order: Order, paid: Paid, approved: Approval) -> None:
    """The last before it is over."""
    falls(order, "rejects", paid, approved)
    falls(order, "breaks", paid, approved)
    if order.how == "breaks undo":
        raise Reject(f"{paid.token} {approved.code}")


@ship.compensation
async def unship(order: Order) -> None: ...


buy = Saga("buy", pay, approval, ship, input=Order)
WAYS = ["well", "fails", "fails long", "parks", "strange", "rejects", "breaks", "breaks undo", "expires"]


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The URL of an empty database; which store it is makes no difference here."""
    return f"sqlite:///{tmp_path}/sagas.db"


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Logged:
    """All that anybody logs at DEBUG, with tracebacks."""
    caplog.set_level(logging.DEBUG)
    shown = logging.Formatter("%(name)s %(levelname)s %(message)s")
    return lambda: "\n".join(f"{shown.format(record)} {record.args!r}" for record in caplog.records)


@pytest.fixture
def floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Floor]:
    """A user's project in an empty directory."""
    monkeypatch.chdir(tmp_path)
    made = Floor(tmp_path, capsys)
    yield made
    made.close()


def look_through(said: list[str]) -> None:
    """See that nobody says a canary."""
    for text in said:
        place = text.find("canary")
        assert place < 0, text[max(place - 200, 0) : place + 100]


class Listener:
    """Keeps all that it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __call__(self, event: Told) -> None:
        self.told.append(repr(event))


@asynccontextmanager
async def bought(database: str, *observers: Any) -> AsyncGenerator[Orchestrator, None]:
    """One saga for each way to fail, at rest."""
    orchestrator = Orchestrator(database, sagas=[buy], observers=observers)
    async with orchestrator:
        for way in WAYS:
            await orchestrator.start(buy, Order(way), id=way)
            if way != "expires":
                with_code = orchestrator.session.signal_mail(way, approval, Approval(CODE), None)
                await orchestrator.session.store.send([with_code])
        orchestrator.session.store.hint([], work=True)
        for way in WAYS:
            await orchestrator.session.outcome(buy, way, 20)
        yield orchestrator


def test_an_orchestrated_saga_shows_nothing_that_is_marked(file: str, logged: Logged, floor: Floor) -> None:
    said: list[str] = []
    listener, spans = Listener(), InMemorySpanExporter()

    async def main() -> None:
        async with bought(file, listener, traced(spans)) as orchestrator, operations(orchestrator) as found:
            page = await found.find()
            said.append(json.dumps(as_json.page(page)))
            for line in page.sagas:
                view = await found.show(line.id)
                said.append(json.dumps(as_json.view(view, lambda act: act.verb)) + repr(view))
                said.append(repr(await found.history(line.id)) + repr(await found.flow(line.id)))
                loaded = await orchestrator.session.store.load(line.id)
                assert loaded is not None
                said.append(repr(loaded.head))
                said.extend(without_payloads(row) for row in loaded.rows)
            said.append(repr(await found.stuck()))
            said.extend(await pages(orchestrator))

    done(main())
    said.extend(listener.told)
    said.extend(span.to_json() for span in spans.get_finished_spans())
    said.append(logged())
    for verb in (["list"], ["list", "--json"], ["stuck"], ["stuck", "--json"], ["doctor"]):
        result = floor.amends(*verb, f"--database={file}")
        said.append(result.out + result.err)
    for way in WAYS:
        for more in ([], ["--json"], ["--all"]):
            result = floor.amends("show", way, f"--database={file}", *more)
            assert way in result.out
            said.append(result.out + result.err)

    look_through(said)
    assert listener.told
    assert any("***" in text for text in said)
    assert "an attempt of pay failed" in logged()
    assert any("canary" in row for rows in rows_of(file).values() for row in rows), "it is in the database"


def traced(spans: InMemorySpanExporter) -> Tracing:
    """What makes spans of everything."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return Tracing(provider=provider)


async def pages(orchestrator: Orchestrator) -> list[str]:
    """What the HTTP API and the pages say to somebody who may do everything, and asks for nothing to be revealed."""
    said: list[str] = []
    paths = ["/", "/sagas", "/stuck", "/metrics", "/api/v1/sagas", "/api/v1/stuck", "/api/v1/overview"]
    for way in WAYS:
        paths += [f"/sagas/{way}", f"/api/v1/sagas/{way}", f"/api/v1/sagas/{way}/history"]
    async with client_of(web(orchestrator, access=access())) as client:
        for path in paths:
            answer = await client.get(path, headers={"authorization": f"Bearer {TOKENS['admin']}"})
            assert answer.status_code == 200, path
            said.append(answer.text)
    return said


def without_payloads(row: bytes) -> str:
    """A journal row without what is marked as payload in it: reasons, addresses and all else."""
    _, _, events = journal.decode(row)
    return repr([journal.remade(event, lambda _, __: b"null") for event in events])


def test_what_is_marked_is_revealed_to_whoever_asks_and_the_log_says_who(file: str, floor: Floor) -> None:
    async def main() -> None:
        async with Orchestrator(file, sagas=[buy]) as orchestrator:
            await orchestrator.run(buy, Order("fails"), id="one")

    done(main())

    hidden = floor.amends("show", "one", f"--database={file}")
    shown = floor.amends("show", "one", f"--database={file}", "--reveal")

    assert CARD not in hidden.out
    assert CARD in shown.out


def test_whoever_reveals_is_in_the_log(file: str, logged: Logged) -> None:
    async def main() -> None:
        async with Orchestrator(file, sagas=[buy]) as orchestrator, operations(orchestrator) as found:
            await orchestrator.run(buy, Order("fails"), id="one")
            await found.show("one", reveal=True, reader="ada")

    done(main())

    assert "payloads of the saga 'one' are revealed to ada" in logged()
    assert CARD not in logged()


def test_a_saga_that_began_before_its_fields_were_marked_is_masked_too(file: str) -> None:
    async def main() -> str:
        async with Orchestrator(file, sagas=[plain_buy()]) as orchestrator:
            await orchestrator.run(orchestrator.config.registry.named("buy"), PlainOrder("well"), id="one")
        async with Orchestrator(file, sagas=[marked_buy()]) as orchestrator, operations(orchestrator) as found:
            return repr(await found.show("one"))

    said = done(main())

    assert "canary" not in said
    assert "***" in said


@step(retry=FEW)
async def settle(order: Order, ctx: Context) -> None:
    """Parks each time, with all that it was given."""
    raise Park(f"no line to the bank of {order.card}")


@settle.compensation(retry=Retry(attempts=1))
async def unsettle(order: Order) -> None:
    raise Late(f"{order.card} is charged still")


settled = Saga("settled", settle, input=Order)


@pytest.mark.parametrize("act", ["retry", "compensate"])
def test_what_a_person_gave_a_step_is_in_no_reason_either(file: str, logged: Logged, act: str) -> None:
    given = b'{"order":{"how":"well","card":"canary-given"}}'

    async def main() -> str:
        async with Orchestrator(file, sagas=[settled]) as orchestrator, operations(orchestrator) as found:
            await orchestrator.run(settled, Order("well"), id="one")
            await found.retry("one", "settle", actor="ada", reason="another card", arguments=given, nothing_stayed=True)
            await orchestrator.session.outcome(settled, "one", 20)
            if act == "compensate":
                await found.compensate("one", actor="ada", reason="no card does")
                await orchestrator.session.outcome(settled, "one", 20)
            loaded = await orchestrator.session.store.load("one")
            assert loaded is not None
            return repr(await found.show("one")) + repr(loaded.head) + "".join(map(without_payloads, loaded.rows))

    said = done(main())

    look_through([said, logged()])
    assert "no line to the bank of ***" in said


def falls_over(approved: Approval) -> bool:
    """A filter that does not know what to make of a value."""
    raise Late(f"who is {approved.code}?")


@pytest.mark.parametrize("early", [True, False])
def test_what_a_signal_brought_is_in_no_reason_of_whoever_looked_at_it(file: str, logged: Logged, early: bool) -> None:
    word = wait_for("word", Approval, reject_if=falls_over)
    asked = Saga("asked", *([sleep(0.05)] if early else []), word, input=Order)

    async def main() -> str:
        async with Orchestrator(file, sagas=[asked]) as orchestrator, operations(orchestrator) as found:
            await orchestrator.start(asked, Order("well"), id="one")
            await orchestrator.signal("one", word, Approval(CODE))
            await orchestrator.session.outcome(asked, "one", 20)
            return repr(await found.show("one"))

    said = done(main())

    look_through([said, logged()])
    assert "who is ***?" in said


@dataclass(frozen=True)
class PlainOrder:
    how: str
    card: str = CARD


def plain_buy() -> Saga[PlainOrder, None]:
    """Before anything was marked."""

    @step(readonly=True)
    async def look(order: PlainOrder) -> None: ...

    return Saga("buy", look, input=PlainOrder)


def marked_buy() -> Saga[Order, None]:
    """After."""

    @step(readonly=True)
    async def look(order: Order) -> None: ...

    return Saga("buy", look, input=Order)


# Services, in both styles


@dataclass(frozen=True)
class Ask:
    how: str
    card: Secret[str]


bank, desk = Service("bank"), Service("desk")
charge = bank.command("charge", Ask, reply=Paid)


@charge.request(retry=FEW)
def ask(order: Order) -> Ask:
    """May fall over."""
    if order.how == "no request":
        raise Reject(f"not for {order.card}")
    return Ask(order.how, order.card)


@charge.request(retry=FEW, name="ask-again")
def ask_again(order: Order, paid: Paid) -> Ask:
    """Knows the token."""
    if order.how == "no second":
        raise ValueError(f"{paid.token}")
    return Ask("second " + order.how, order.card)


served = Saga("served", ask, ask_again, pivot, input=Order)
SERVED = ["well", "no request", "no second", "rejects", "fails", "parks", "second rejects"]


def teller(database: str, listener: Listener) -> Participant:
    """Charges cards, and talks."""
    app = Participant(bank, database=database, sagas=[served], observers=[listener], migrate=True)

    @app.handles(charge)
    async def handle(command: Ask, tx: Any = None) -> Paid:
        falls(Order(command.how, command.card), "rejects")
        falls(Order(command.how, command.card), "fails")
        falls(Order(command.how, command.card), "parks")
        if command.how == "second rejects":
            raise Reject(f"{command!r}")
        return Paid(TOKEN)

    @app.compensates(charge)
    async def undo(command: Ask, paid: Paid) -> None:
        if command.how == "no second":
            raise ValueError(f"{command!r} {paid!r}")

    return app


@pytest.mark.parametrize("style", ["orchestrated", "choreographed"])
def test_a_saga_of_services_shows_nothing_that_is_marked(tmp_path: Path, logged: Logged, style: str) -> None:
    said: list[str] = []
    listener = Listener()
    stock = teller(f"sqlite:///{tmp_path}/bank.db", listener)

    async def orchestrated() -> None:
        orchestrator = Orchestrator(f"sqlite:///{tmp_path}/sagas.db", sagas=[served], observers=[listener])
        async with stock, orchestrator, operations(orchestrator) as found:
            for way in SERVED:
                await orchestrator.run(served, Order(way), id=way)
                said.append(repr(await found.show(way)))
                loaded = await orchestrator.session.store.load(way)
                assert loaded is not None
                said.append(repr(loaded.head))
                said.extend(without_payloads(row) for row in loaded.rows)

    async def choreographed() -> None:
        front = Participant(desk, database=f"sqlite:///{tmp_path}/desk.db", sagas=[served], observers=[listener])
        async with stock, front, home_operations(front) as found:
            for way in SERVED:
                if way == "no request":
                    continue  # it never begins
                await started(front, tmp_path, way)
                async with asyncio.timeout(20):
                    await front.outcome(served, way)
                said.append(repr(await found.show(way)) + repr(await found.find()))
                row = await found._row(way, reveal=True)
                said.extend(without_payloads(one) for one in row.rows)

    done(orchestrated() if style == "orchestrated" else choreographed())
    said.extend(listener.told)
    said.append(logged())

    look_through(said)
    assert listener.told
    assert any("***" in text for text in said)


async def started(app: Participant, directory: Path, way: str) -> None:
    """Start a choreographed saga in a transaction of its own."""
    with closing(sqlite3.connect(directory / "desk.db", timeout=30)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        await app.start(served, Order(way), within=connection, id=way)
        connection.commit()
