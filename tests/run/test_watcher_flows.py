"""Flows in the watcher: what services tell is seen as sagas are, and silence is noticed and has a name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from travels import PATIENCE_SECONDS, Ground

from amends import Flow, Service, Settings, Watcher
from amends.decide import flow_rows
from amends.decide.events import Event
from amends.decide.flows import FlowPlan, Seen
from amends.errors import DefinitionError, Refused, StoreUnavailable, UnknownSaga
from amends.message import Message
from amends.operate.operations import Operations, operations
from amends.operate.values import SagaView, Trouble
from amends.run import watcher_flows
from amends.store.base import Fate, Retired, Write
from amends.store.sqlite import SqliteStore
from amends.transport.base import Send
from amends.transport.local import LocalTransport
from amends.transport.names import dead_of, events_of

QUICK = Settings(lease_seconds=0.6)


@dataclass(frozen=True)
class Told:
    """The data of every event here."""

    order: str


orders, inventory, billing = Service("orders"), Service("inventory"), Service("billing")
placed = orders.event("placed", Told)
reserved = inventory.event("reserved", Told)
short = inventory.event("short", Told)
paid = billing.event("paid", Told)


def flow_of(within: float) -> Flow:
    """What is expected of an order."""
    return Flow("order", placed.leads_to(reserved, short, within=within), reserved.leads_to(paid, within=within))


@pytest.fixture(params=["sqlite", "postgres"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    """Either database for the watcher."""
    return Ground(tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else "")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is given time beyond what the flow says."""
    monkeypatch.setattr(watcher_flows, "GRACE_SECONDS", 0.0)


class Stage:
    """A watcher, whoever tells events, and what people see."""

    def __init__(self, ground: Ground, *flows: Flow) -> None:
        self.watcher = Watcher(ground.url("watched"), flows=flows, settings=QUICK, migrate=True)
        self.local = LocalTransport()
        self.dead: list[Message] = []

    async def tell(self, type_: str, id_: str, cause: str = "", at: float = 0.0, **attributes: str) -> None:
        """Tell an event of the order `o-1`, unless it says another."""
        said = {"amendskind": "event", "amendscorrelation": "o-1", **attributes}
        if cause:
            said["amendscausation"] = cause
        message = Message(id_, type_, "test", b'{"order":"o-1"}', at or time.time(), attributes=said)
        assert await self.local.publish([Send(events_of(type_.split(".")[0]), message)]) == [None]

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Operations, None]:
        """What people see, with the watcher at work."""
        async with AsyncExitStack() as stack:
            await self.local.open()
            stack.push_async_callback(self.local.close)
            await self.local.listen(dead_of(events_of("orders")), "test", self._bury, in_flight=10)
            await stack.enter_async_context(self.watcher)
            await self.watcher.session.listening()
            yield await stack.enter_async_context(operations(self.watcher.config))

    def _bury(self, deliveries: Sequence[Any]) -> None:
        self.dead += [delivery.message for delivery in deliveries]

    async def waiting(self) -> bool:
        """Whether something of what was told is not on disk."""
        groups = [await self.local.lag(events_of(name), "watcher") for name in ("orders", "inventory", "billing")]
        await self.watcher.session.idle()
        return any(groups)

    async def written(self) -> None:
        """All that came is on disk."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.sleep(0)
            await self.watcher.session.idle()


async def shown(found: Operations, id_: str, status: str) -> SagaView:
    """An order, once it has this status."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                view = await found.show(id_)
            except UnknownSaga:
                view = None
            if view is not None and view.line.status == status:
                return view
            await asyncio.sleep(0.02)


async def silent(found: Operations, *expected: str) -> list[str]:
    """Why orders are silent, once these are."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            page = await found.stuck(troubles=[Trouble.SILENT])
            if sorted(line.saga.id for line in page.lines) == sorted(expected):
                return [line.why for line in page.lines]
            await asyncio.sleep(0.02)


def test_what_is_told_of_an_order_is_seen_as_a_saga_is(ground: Ground) -> None:
    stage = Stage(ground, flow_of(300))

    async def main() -> tuple[SagaView, SagaView]:
        async with stage.open() as found:
            await stage.tell("orders.placed", "m-1")
            going = await shown(found, "o-1", "running")
            await stage.tell("inventory.reserved", "m-2", "m-1")
            await stage.tell("billing.paid", "m-3", "m-2")
            await stage.tell("orders.placed", "m-4", amendscorrelation="o-2")
            done = await shown(found, "o-1", "completed")
            assert [line.id for line in (await found.find()).sagas] == ["o-2", "o-1"]
            return going, done

    going, done = asyncio.run(main())
    assert (going.line.saga, done.line.saga) == ("order", "order")
    assert [step.status for step in going.steps if step.address == "orders.placed"] == ["running"]
    assert {step.address: step.status for step in done.steps} == {
        "orders.placed": "succeeded",
        "inventory.reserved": "succeeded",
    }


def test_silence_names_the_service_that_did_not_react_until_it_does(ground: Ground) -> None:
    stage = Stage(ground, flow_of(0.2))

    async def main() -> list[list[str]]:
        async with stage.open() as found:
            await stage.tell("orders.placed", "m-1")
            first = await silent(found, "o-1")
            await stage.tell("inventory.reserved", "m-2", "m-1")
            await stage.written()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (second := await silent(found, "o-1"))[0].startswith("billing"):
                    await asyncio.sleep(0.02)
            await stage.tell("billing.paid", "m-3", "m-2")
            await shown(found, "o-1", "completed")
            return [first, second, await silent(found)]

    first, second, last = asyncio.run(main())
    assert first[0].startswith("inventory did not react: orders.placed (inventory.reserved or short) is its turn since")
    assert second[0].startswith("billing did not react: inventory.reserved (billing.paid) is its turn since")
    assert last == []


def test_the_order_of_the_topics_and_repetition_mean_nothing(ground: Ground) -> None:
    stage = Stage(ground, flow_of(300))

    async def main() -> SagaView:
        async with stage.open() as found:
            at = time.time()
            for _ in range(2):
                await stage.tell("billing.paid", "m-3", "m-2", at=at + 2)
                await stage.tell("inventory.reserved", "m-2", "m-1", at=at + 1)
                await stage.written()
                await stage.tell("orders.placed", "m-1", at=at)
            view = await shown(found, "o-1", "completed")
            await stage.written()
            return view

    view = asyncio.run(main())
    assert {step.status for step in view.steps} == {"succeeded"}


def test_a_watcher_that_was_away_catches_up(ground: Ground) -> None:
    stage, again = Stage(ground, flow_of(300)), Stage(ground, flow_of(300))

    async def main() -> None:
        async with stage.open():
            await stage.tell("orders.placed", "m-1")
            await stage.written()
        await again.local.open()
        await again.tell("inventory.reserved", "m-2", "m-1")
        await again.tell("billing.paid", "m-3", "m-2")
        async with again.open() as found:
            await shown(found, "o-1", "completed")

    asyncio.run(main())


def test_two_watchers_of_one_name_write_what_each_of_them_hears_of_the_same_order(ground: Ground) -> None:
    stage, other = Stage(ground, flow_of(300)), Stage(ground, flow_of(300))
    ids = [f"o-{number}" for number in range(20)]

    async def main() -> set[int]:
        async with stage.open() as found, other.watcher:
            await other.watcher.session.listening()
            for id_ in ids:
                await stage.tell("orders.placed", f"{id_}-1", amendscorrelation=id_)
                await stage.tell("inventory.reserved", f"{id_}-2", f"{id_}-1", amendscorrelation=id_)
                await stage.tell("billing.paid", f"{id_}-3", f"{id_}-2", amendscorrelation=id_)
            lengths: set[int] = set()
            for id_ in ids:
                await shown(found, id_, "completed")
                loaded = await stage.watcher.session.store.load(id_)
                lengths.add(0 if loaded is None else len(loaded.rows))
            return lengths

    assert asyncio.run(main()) == {3}


class Troubled:
    """A store whose commits go wrong for a while."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> None:
        self.errors = list(errors)
        real = SqliteStore.commit

        async def commit(store: SqliteStore, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
            if writes and self.errors:
                raise self.errors.pop(0)
            return await real(store, worker, writes)

        monkeypatch.setattr(SqliteStore, "commit", commit)
        monkeypatch.setattr(watcher_flows, "PAUSE_SECONDS", 0.01)


@pytest.mark.parametrize("error", [StoreUnavailable("it is away"), Retired()], ids=["away", "retired"])
def test_what_cannot_be_written_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    troubled = Troubled(monkeypatch, error, error, error)
    stage = Stage(Ground(tmp_path), flow_of(300))

    async def main() -> None:
        async with stage.open() as found:
            await stage.tell("orders.placed", "m-1")
            await stage.tell("inventory.short", "m-2", "m-1")
            await shown(found, "o-1", "completed")
            await stage.written()
            assert stage.watcher.trouble == ""

    asyncio.run(main())
    assert troubled.errors == []


def test_an_event_that_can_never_be_written_keeps_no_other_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(Ground(tmp_path), flow_of(300))

    def following(flow: FlowPlan, state: Any, known: Sequence[Seen], new: Seen, correlation: str) -> list[Event]:
        if correlation == "o-0":
            raise RuntimeError("odd")
        return flow_rows.following(flow, state, known, new, correlation)

    monkeypatch.setattr(watcher_flows, "following", following)

    async def main() -> None:
        async with stage.open() as found:
            for number in range(3):
                await stage.tell("orders.placed", f"m-{number}", amendscorrelation=f"o-{number}")
            for number in (1, 2):
                await shown(found, f"o-{number}", "running")

    asyncio.run(main())
    assert "an event of a flow cannot be written: this is a bug in amends" in caplog.text


def test_two_flows_may_hear_of_the_same_events_and_each_has_a_line_of_its_own(ground: Ground) -> None:
    other = Flow("stock", placed.leads_to(short, within=300))
    stage = Stage(ground, flow_of(300), other)

    async def main() -> list[str]:
        async with stage.open() as found:
            await stage.tell("orders.placed", "m-1")
            await shown(found, "o-1", "running")
            await stage.written()
            return sorted(line.id for line in (await found.find()).sagas)

    assert asyncio.run(main()) == ["o-1", "o-1@stock"]


def test_what_is_no_event_of_a_flow_is_passed_over_and_what_cannot_be_read_put_aside(ground: Ground) -> None:
    stage = Stage(ground, flow_of(300))

    async def main() -> list[str]:
        async with stage.open() as found:
            await stage.tell("orders.shipped", "m-1", amendscorrelation="o-0")
            await stage.tell("orders.placed", "m-2", amendshops="many")
            await stage.tell("orders.placed", "m-3", amendscorrelation="x" * 300)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not stage.dead or not (await found.find()).sagas:
                    await asyncio.sleep(0.02)
            return [line.id for line in (await found.find()).sagas]

    (id_,) = asyncio.run(main())
    assert len(id_) == 16
    assert "amendshops" in stage.dead[0].attributes["amendsdeadreason"]


def test_nobody_acts_on_what_is_only_told(ground: Ground) -> None:
    stage = Stage(ground, flow_of(300))

    async def main() -> None:
        async with stage.open() as found:
            await stage.tell("orders.placed", "m-1")
            await shown(found, "o-1", "running")
            with pytest.raises(Refused, match="o-1: it is what was told of a flow of events: nobody runs it"):
                await found.cancel("o-1", actor="me", reason="no more")

    asyncio.run(main())
    assert stage.watcher.homes == ("orders", "inventory", "billing")


def test_events_beyond_a_thousand_of_one_correlation_are_not_looked_at(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher_flows, "EVENTS_MAX", 2)
    stage = Stage(ground, flow_of(300))

    async def main() -> int:
        async with stage.open():
            for number in range(5):
                await stage.tell("orders.placed", f"m-{number}")
                await asyncio.sleep(0)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await stage.waiting():
                    await asyncio.sleep(0.02)
            loaded = await stage.watcher.session.store.load("o-1")
            assert loaded is not None
            return len(loaded.rows)

    assert asyncio.run(main()) == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "name the services that start choreographed sagas, or flows"),
        ({"flows": [placed]}, r"Watcher\(flows=…\): a Flow is expected, not orders.placed"),
        ({"flows": [flow_of(1), flow_of(2)]}, r"Watcher\(flows=…\): two flows have one name"),
    ],
)
def test_a_watcher_is_given_flows_that_it_can_watch(given: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        Watcher("sqlite:///watched.db", **given)
