"""What a service says of itself, and whom one thing that goes wrong holds up: found by a review."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from participant_scene import PATIENCE_SECONDS, SAGA, SQLITE_TX, Place, Stock, action, until

from amends import Participant, Retry, Service
from amends.decide.wire import KIND, Ended, command_message, ended_message
from amends.errors import StoreUnavailable, TransportRefused
from amends.message import Message
from amends.operate.services import findings_of
from amends.run import outbox
from amends.run.inbox_careful import Care
from amends.transport.base import Send

payment = Service("payment")


@dataclass(frozen=True)
class Charged:
    """An event."""

    order: str


charged = payment.event("charged", Charged)


@pytest.fixture
def stock(tmp_path: Path) -> Stock:
    """A service."""
    return Stock(Place("sqlite", f"sqlite:///{tmp_path}/stock.db", SQLITE_TX))


class Delivered:
    """A delivery; what became of it."""

    flaw = ""

    def __init__(self, message: Message, times: int = 1) -> None:
        self.message: Message | None = message
        self.times = times
        self.over = asyncio.Event()
        self.how = ""

    async def ack(self) -> None:
        self._end("ack")

    async def retry(self, after_seconds: float = 0.0) -> None:
        self._end("retry")

    async def bury(self, reason: str) -> None:
        self._end("bury")

    def _end(self, how: str) -> None:
        self.how = how
        self.over.set()


@asynccontextmanager
async def entered(app: Participant) -> AsyncGenerator[Participant, None]:
    """It hears, and nothing here takes for ever."""
    async with asyncio.timeout(PATIENCE_SECONDS), app:
        await app.session.listening()
        yield app


def away_once(of: Any, name: str) -> None:
    """The database is away when this is asked for the first time."""
    real, asked = getattr(of, name), [0]

    async def instead(*given: Any, **named: Any) -> Any:
        asked[0] += 1
        if asked[0] == 1:
            raise StoreUnavailable("the server is starting")
        return await real(*given, **named)

    setattr(of, name, instead)


def test_a_service_whose_database_was_away_for_a_notice_is_ready_again(stock: Stock) -> None:
    async def main() -> str:
        async with entered(stock.app) as app:
            away_once(app.session._upkeep, "ended")
            notice = Delivered(ended_message(Ended("default", (SAGA,)), "n", "/peer", 1.0))
            app.session.receive([notice])
            await notice.over.wait()
            return app.trouble

    assert asyncio.run(main()) == ""


@pytest.mark.parametrize("statement", ["look_carefully", "take_carefully"])
def test_a_service_whose_database_was_away_for_a_look_is_ready_again(stock: Stock, statement: str) -> None:
    async def main() -> tuple[str, str]:
        async with entered(stock.app) as app:
            work = app.session.work
            assert work.transactions is not None
            real, asked = work.transactions.ask, [0]

            async def ask(name: str, *values: object) -> Any:
                asked[0] += name == statement
                if name == statement and asked[0] == 1:
                    raise StoreUnavailable("the server is starting")
                return await real(name, *values)

            work.transactions.ask = ask  # type: ignore[method-assign]
            what = Care(("something",), again=True, timeout=0.0)
            await work.guarded(what, lambda _: asyncio.sleep(0, ""))
            return app.trouble, str(asked[0])

    assert asyncio.run(main()) == ("", "2")


def test_a_service_whose_database_was_away_for_one_command_is_ready_after_a_batch(tmp_path: Path) -> None:
    stock = Stock(Place("sqlite", f"sqlite:///{tmp_path}/stock.db", SQLITE_TX), options={"batch": 10})

    async def main() -> str:
        async with entered(stock.app) as app:
            app.session.work.trouble = "the server is starting"
            commands = [action(saga=bytes([number]) * 16) for number in range(1, 4)]
            app.session.receive([Delivered(command_message(one, one.saga.hex(), "/peer")) for one in commands])
            await until(lambda: app.figures.handled == 3, "all are done")
            return app.trouble

    assert asyncio.run(main()) == ""


def test_a_service_whose_event_was_refused_once_is_ready_when_one_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in {"GRACE_SECONDS": 0.1, "SWEEP_SECONDS": 0.05, "CLAIM_SECONDS": 0.1}.items():
        monkeypatch.setattr(outbox, name, seconds)
    path = tmp_path / "payment.db"
    app = Participant(payment, database=f"sqlite:///{path}")

    async def main() -> tuple[str, str]:
        async with entered(app):
            transport: Any = app.session._transport
            real, refusing = transport.publish, asyncio.Event()

            async def publish(sends: Sequence[Send]) -> Any:
                if refusing.is_set():
                    return await real(sends)
                return [TransportRefused("it is too large") for _ in sends]

            transport.publish = publish
            with closing(sqlite3.connect(path)) as connection:
                app.publish(charged, Charged("one"), within=connection)
                connection.commit()
            await until(lambda: app.trouble != "", "it is said")
            before = app.trouble
            refusing.set()
            await until(lambda: app.trouble == "", "it is ready")
            return before, app.trouble

    before, after = asyncio.run(main())
    assert "too large" in before
    assert after == ""


def test_a_command_that_is_asked_for_again_and_again_has_the_database_looked_at_once(stock: Stock) -> None:
    async def main() -> tuple[list[str], Counter[str]]:
        async with entered(stock.app) as app:
            work = app.session.work
            assert work.transactions is not None
            real = work.transactions.ask
            asked: Counter[str] = Counter()

            async def ask(name: str, *values: object) -> Any:
                asked[name] += 1
                return await real(name, *values)

            work.transactions.ask = ask  # type: ignore[method-assign]
            again = [Delivered(command_message(action(attempt=n), f"c{n}", "/peer")) for n in range(2, 12)]
            async with work.lane((action().namespace, action().saga, action().step)):  # the first is at work
                app.session.receive(again)
                await until(lambda: any(lane._wanted == len(again) for lane in work._lanes.values()), "all wait")
            for one in again:
                await one.over.wait()
            return [one.how for one in again], asked

    hows, asked = asyncio.run(main())
    assert hows == ["ack"] * 10
    assert asked["look_carefully"] == 0
    assert stock.place.moved == [("a", 2)]


def test_the_doctor_names_what_has_taken_its_process_down_and_not_what_is_merely_in_hand(stock: Stock) -> None:
    async def main() -> tuple[list[str], list[str]]:
        async with entered(stock.app) as app:
            careful = app.session.work.careful
            assert careful is not None
            async with careful.done(Care(("in hand",), again=False, timeout=1.0)):
                async with careful.done(Care(("in hand too",), again=True, timeout=1.0)):
                    innocent = [one.detail for one in await findings_of(app, "app") if one.what == "inbox"]
                stock.place.sql("UPDATE amends.inbox_death SET deaths = 1")
                guilty = [one.detail for one in await findings_of(app, "app") if one.what == "inbox"]
        return innocent, guilty

    innocent, guilty = asyncio.run(main())
    assert innocent == []
    assert guilty == ["1 message may have taken its process down; it is handled alone"]


def test_an_event_between_two_tries_holds_up_nobody_and_the_deaths_at_it_stay_noted(stock: Stock) -> None:
    stock.app.on(charged, retry=Retry(attempts=2, first_delay=30.0))(_fails)

    async def main() -> tuple[list[Any], str]:
        async with entered(stock.app) as app:
            transactions = app.session.work.transactions
            assert transactions is not None
            care = Care(("event", "inventory", "/amends/payment", "e1"), again=True, timeout=1.0)
            here, pid, _, mark = care.who.split(" ")
            gone = f"{here} {pid} another-process {mark}"
            await transactions.ask("take_carefully", care.what, gone, 1, "", 0.0)  # and who is at it is dead, too
            event = Message("e1", "payment.charged", "/amends/payment", b'{"order":"1"}', attributes={KIND: "event"})
            app.session.receive([Delivered(event, times=2)])
            await until(lambda: app.figures.failed == 1, "it was tried once")
            command = Delivered(command_message(action(), "c1", "/peer"), times=2)
            app.session.receive([command])
            await command.over.wait()
            return stock.place.sql("SELECT deaths FROM amends.inbox_death"), command.how

    assert asyncio.run(main()) == ([(2,)], "ack")


def _fails(event: Charged, tx: sqlite3.Connection) -> None:
    raise ValueError("the mail server is away")
