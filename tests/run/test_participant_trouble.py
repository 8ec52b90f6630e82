"""What goes wrong in a service, and what its senders are told: on PostgreSQL and on SQLite.

Nothing stays of a handler that failed; what is no outcome, a database that is away or a row that somebody has,
is waited for; what can never be handled is said, with words.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from participant_scene import (
    PATIENCE_SECONDS,
    POSTGRES_TX,
    SAGA,
    SQLITE_TX,
    Place,
    Stock,
    action,
    at_work,
    no,
    undo,
    until,
)

from amends import Context, Park, Participant, Retry, Settings
from amends.decide.wire import Word, command_message
from amends.message import Message
from amends.run.inbox_careful import DEATHS_MAX, PARKED_SECONDS


@pytest.fixture(params=["postgres", "sqlite"])
def stock(request: pytest.FixtureRequest, tmp_path: Path) -> Stock:
    """A service on either database."""
    if request.param == "postgres":
        return postgres_stock(request.getfixturevalue("postgres_url"))
    return Stock(Place("sqlite", f"sqlite:///{tmp_path}/stock.db", SQLITE_TX))


def postgres_stock(url: str, **options: Any) -> Stock:
    """A service on PostgreSQL."""
    return Stock(Place("postgres", url, POSTGRES_TX), options=options)


def raising(error: BaseException, times: int = 10**6) -> Any:
    """A handler that raises, so many times."""
    left = [times]

    def before(what: str, ctx: Context) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise error

    return before


def test_a_transient_error_leaves_nothing_and_the_next_attempt_runs(stock: Stock) -> None:
    stock.before = raising(ValueError("flaky"), 1)

    async def main() -> None:
        async with at_work(stock) as peer:
            first = await peer.ask(action())
            assert (first.word, first.reason, first.park, first.after) == (
                Word.FAILED,
                "ValueError: flaky",
                False,
                None,
            )
            assert stock.place.inbox == []
            assert stock.place.moved == []
            assert await peer.word(action(attempt=2)) is Word.SUCCEEDED

    asyncio.run(main())
    assert stock.place.moved == [("a", 2)]


@pytest.mark.parametrize(
    ("error", "after", "park"),
    [(Retry.after(7), 7.0, False), (Park("wrong password"), None, True)],
)
def test_a_handler_asks_for_a_delay_or_for_a_person(
    stock: Stock, error: Exception, after: float | None, park: bool
) -> None:
    stock.before = raising(error)

    async def main() -> None:
        async with at_work(stock) as peer:
            reply = await peer.ask(action())
            assert (reply.word, reply.after, reply.park) == (Word.FAILED, after, park)

    asyncio.run(main())
    assert stock.place.inbox == []


def test_a_compensation_that_says_no_is_not_kept_and_asks_for_a_person(stock: Stock) -> None:
    async def main() -> None:
        async with at_work(stock) as peer:
            await peer.ask(action())
            stock.before = no
            reply = await peer.ask(undo())
            assert (reply.word, reply.park) == (Word.FAILED, True)
            assert "sold out" in reply.reason
            stock.before = lambda what, ctx: None
            assert await peer.word(undo()) is Word.COMPENSATED  # a retry really runs it

    asyncio.run(main())
    assert stock.place.moved == [("a", 2), ("a", -2)]


def test_a_handler_over_its_time_is_stopped_and_rolled_back(stock: Stock) -> None:
    app = Participant(stock.service, database=stock.place.url, migrate=True)
    stopped: list[str] = []

    async def slow(command: Any, tx: Any) -> Any:
        try:
            await asyncio.sleep(PATIENCE_SECONDS)
        except asyncio.CancelledError:
            stopped.append("stopped")
            raise

    async def undone(command: Any, reservation: Any, tx: Any) -> None: ...

    slow.__annotations__.update(command=stock.reserve.sent.type, tx=stock.place.tx)
    slow.__annotations__["return"] = stock.reserve.replied.type
    undone.__annotations__.update(
        command=stock.reserve.sent.type, reservation=stock.reserve.replied.type, tx=stock.place.tx
    )
    app.handles(stock.reserve, timeout=0.2)(slow)
    app.compensates(stock.reserve)(undone)

    async def main() -> None:
        async with at_work(stock, app) as peer:
            reply = await peer.ask(action())
            assert (reply.word, reply.reason) == (Word.FAILED, "it took longer than 0.2 s")

    asyncio.run(main())
    assert stopped == ["stopped"]
    assert stock.place.inbox == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": "inventory.reserve-goods"}, "knows no command inventory.reserve-goods"),
        ({"data": b'{"article": 7}'}, "does not fit inventory.reserve-stock"),
        ({"data": b"no JSON"}, "does not fit inventory.reserve-stock"),
    ],
)
def test_a_command_of_another_contract_parks_its_saga_with_words(
    stock: Stock, changes: dict[str, Any], words: str
) -> None:
    async def main() -> None:
        async with at_work(stock) as peer:
            reply = await peer.ask(action(**changes))
            assert (reply.word, reply.park) == (Word.FAILED, True)
            assert words in reply.reason

    asyncio.run(main())
    assert stock.place.inbox == []


def test_what_is_no_command_is_put_aside_and_counted_and_nothing_else_suffers(stock: Stock) -> None:
    async def main() -> None:
        async with at_work(stock) as peer:
            whole = command_message(action(), "m-1", "/peer")
            torn = {name: value for name, value in whole.attributes.items() if name != "amendssaga"}
            await peer.post(Message("m-2", "x", "/peer"), whole._replace(id="m-3", attributes=torn), whole)
            assert (await peer.reply()).word is Word.SUCCEEDED
            await until(lambda: len(peer.dead) == 2, "both are put aside")
            assert stock.app.figures.refused == 2
            assert "amendssaga" in peer.dead[1].attributes["amendsdeadreason"]

    asyncio.run(main())


def test_the_same_command_many_times_at_once_has_one_effect_and_each_gets_its_reply(stock: Stock) -> None:
    async def slowly(what: str, ctx: Context) -> None:
        await asyncio.sleep(0.05)

    stock.before = slowly

    async def main() -> None:
        async with at_work(stock) as peer:
            await peer.send(*[action(attempt=number) for number in range(1, 21)])
            replies = [await peer.reply() for _ in range(20)]
            assert {reply.word for reply in replies} == {Word.SUCCEEDED}
            assert {reply.data for reply in replies} == {b'{"id":"a-2"}'}

    asyncio.run(main())
    assert stock.calls == ["reserve a"]
    assert stock.place.moved == [("a", 2)]


def test_two_processes_with_the_same_command_at_once_have_one_effect(stock: Stock) -> None:
    async def slowly(what: str, ctx: Context) -> None:
        await asyncio.sleep(0.2)

    stock.before = slowly
    other = stock.participant()

    async def main() -> None:
        async with other, at_work(stock) as peer:
            await other.session.listening()
            await peer.send(*[action(), action(), undo(), action(), undo()])
            words = [(await peer.reply()).word for _ in range(5)]
            assert Word.FAILED not in words
            assert other.figures.handled > 0
            assert stock.app.figures.handled > 0

    asyncio.run(main())
    moved = stock.place.moved
    assert moved in ([("a", 2), ("a", -2)], []), moved


def test_a_row_that_somebody_has_is_waited_for_and_other_commands_go_on(postgres_url: str) -> None:
    stock = postgres_stock(postgres_url)

    async def main() -> None:
        async with at_work(stock) as peer:
            await peer.ask(action())
            somebody = await asyncpg.connect(postgres_url)
            held = somebody.transaction()
            await held.start()
            await somebody.execute("SELECT 1 FROM amends.inbox FOR UPDATE")

            await peer.send(undo())
            await until(lambda: stock.app.trouble != "", "it is seen that a row cannot be had")
            words = [await peer.word(action(saga=bytes([number]) * 16)) for number in range(30)]
            assert words == [Word.SUCCEEDED] * 30
            assert peer.unread == 0
            await held.rollback()
            await somebody.close()

            assert (await peer.reply()).word is Word.COMPENSATED
            assert stock.app.trouble == ""

    asyncio.run(main())


def test_a_busy_file_is_waited_for_and_is_no_outcome(tmp_path: Path) -> None:
    stock = Stock(Place("sqlite", f"sqlite:///{tmp_path}/stock.db", SQLITE_TX))

    async def main() -> None:
        async with at_work(stock) as peer:
            somebody = sqlite3.connect(tmp_path / "stock.db", isolation_level=None)
            somebody.execute("BEGIN IMMEDIATE")
            await peer.send(action())
            await until(lambda: stock.app.trouble != "", "it is seen that the file is busy")
            somebody.execute("ROLLBACK")
            somebody.close()
            assert (await peer.reply()).word is Word.SUCCEEDED

    asyncio.run(main())
    assert stock.place.moved == [("a", 2)]


def test_a_database_that_is_away_is_waited_for_and_nothing_is_lost(postgres_server: Any) -> None:
    stock = postgres_stock(postgres_server.create_database())

    async def main() -> None:
        async with at_work(stock) as peer:
            await peer.ask(action())
            await asyncio.to_thread(postgres_server.kill)
            await peer.send(*[action(saga=bytes([number]) * 16) for number in range(1, 41)])
            await until(lambda: stock.app.trouble != "", "the trouble is seen")
            assert peer.unread == 0
            await asyncio.to_thread(postgres_server.start)
            words = [(await peer.reply()).word for _ in range(40)]
            assert words == [Word.SUCCEEDED] * 40
            await until(lambda: stock.app.trouble == "", "the trouble is over")

    asyncio.run(main())
    assert len(stock.place.moved) == 41


def test_a_message_that_may_have_taken_its_process_down_is_noted_before_and_struck_out_after(stock: Stock) -> None:
    noted: list[Any] = []

    def look(what: str, ctx: Context) -> None:
        noted.extend(stock.place.sql("SELECT deaths FROM amends.inbox_death"))

    stock.before = look

    async def main() -> None:
        async with at_work(stock) as peer:
            delivery = Redelivered(command_message(action(), "m", "/peer"), 2)
            stock.app.session.receive([delivery])
            assert (await peer.reply()).word is Word.SUCCEEDED
            await delivery.acked.wait()

    asyncio.run(main())
    if stock.place.kind == "postgres":  # on a file the look waits for the handler's own transaction
        assert noted == [(0,)]
    assert stock.place.sql("SELECT count(*) FROM amends.inbox_death") == [(0,)]


def test_a_message_that_comes_for_the_first_time_is_asked_nothing(stock: Stock) -> None:
    asked: list[str] = []

    async def main() -> None:
        async with at_work(stock) as peer:
            transactions = stock.app.session.work.transactions
            assert transactions is not None
            ask = transactions.ask

            async def listening(name: str, *values: object) -> Any:
                asked.append(name)
                return await ask(name, *values)

            transactions.ask = listening  # type: ignore[method-assign]
            assert await peer.word(action()) is Word.SUCCEEDED

    asyncio.run(main())
    assert [name for name in asked if name.endswith(("carefully", "begin_first"))] == []


def test_a_message_that_took_too_many_processes_down_parks_its_saga_and_a_person_who_asks_again_is_heard(
    stock: Stock,
) -> None:
    asked_at = time.time() - 60

    async def main() -> None:
        async with at_work(stock) as peer:
            for _ in range(DEATHS_MAX):
                await died(stock)
            for times in (5, 6):
                delivery = Redelivered(command_message(action(sent_at=asked_at), "m", "/peer"), times)
                stock.app.session.receive([delivery])
                reply = await peer.reply()
                await delivery.acked.wait()
                assert (reply.word, reply.park) == (Word.FAILED, True)
                assert "took its process down 3 times" in reply.reason
            assert stock.app.figures.poison == 2
            assert stock.calls == []

            again = Redelivered(
                command_message(action(sent_at=time.time() + 2 * PARKED_SECONDS, attempt=2), "n", "/peer"), 0
            )
            stock.app.session.receive([again])
            assert (await peer.reply()).word is Word.SUCCEEDED

    asyncio.run(main())
    assert stock.calls == ["reserve a"]
    assert stock.place.sql("SELECT count(*) FROM amends.inbox_death") == [(0,)]


def test_many_replicas_and_slow_handlers_are_no_deaths(stock: Stock) -> None:
    async def slowly(what: str, ctx: Context) -> None:
        await asyncio.sleep(1.0)

    stock.before = slowly
    replicas = [stock.participant() for _ in range(2 * DEATHS_MAX)]

    async def main() -> None:
        async with AsyncExitStack() as stack:
            peer = await stack.enter_async_context(at_work(stock))
            for replica in replicas:
                await stack.enter_async_context(replica)
            for number, replica in enumerate(replicas):
                again = command_message(action(attempt=number % 3 + 1), f"m{number}", "/peer")
                replica.session.receive([Redelivered(again, 2 * (number % 2)), Redelivered(again, 2)])
            assert {(await peer.reply()).word for _ in range(2 * len(replicas))} == {Word.SUCCEEDED}
            assert [replica.figures.poison for replica in replicas] == [0] * len(replicas)

    asyncio.run(main())
    assert stock.calls == ["reserve a"]
    assert stock.place.sql("SELECT count(*) FROM amends.inbox_death") == [(0,)]


def test_a_participant_that_leaves_in_the_middle_is_no_death(stock: Stock) -> None:
    begun = asyncio.Event()

    async def long(what: str, ctx: Context) -> None:
        begun.set()
        await asyncio.sleep(PATIENCE_SECONDS)

    stock.before = long
    app = stock.participant(settings=Settings(drain_seconds=0.1))

    async def main() -> None:
        async with at_work(stock, app):
            taken = [Redelivered(command_message(action(), f"m{number}", "/peer"), 2) for number in range(3)]
            app.session.receive(taken)
            await begun.wait()
        assert not any(delivery.acked.is_set() for delivery in taken)

    asyncio.run(main())
    assert stock.calls == ["reserve a"]
    assert stock.place.sql("SELECT deaths, holder FROM amends.inbox_death") == [(0, "")]


def test_messages_of_unknown_origin_run_together_unless_they_were_begun_before(stock: Stock) -> None:
    together: list[int] = []
    at_once = [0]

    async def meet(what: str, ctx: Context) -> None:
        at_once[0] += 1
        together.append(at_once[0])
        await asyncio.sleep(0.05)
        at_once[0] -= 1

    if stock.place.kind == "postgres":  # a file has one transaction at a time
        stock.before = meet

    async def main() -> None:
        async with at_work(stock) as peer:
            commands = [action(saga=bytes([number]) * 16) for number in range(1, 9)]
            deliveries = [Redelivered(command_message(one, f"m{n}", "/peer"), 0) for n, one in enumerate(commands)]
            stock.app.session.receive(deliveries)
            assert [(await peer.reply()).word for _ in commands] == [Word.SUCCEEDED] * 8
            for delivery in deliveries:
                await delivery.acked.wait()

    asyncio.run(main())
    if stock.place.kind == "postgres":
        assert max(together) > 1
    assert stock.place.sql("SELECT count(*) FROM amends.inbox_death") == [(0,)]


def test_what_waits_at_the_broker_of_unknown_origin_is_done_in_batches_too(stock: Stock) -> None:
    app = stock.participant(batch=50)
    careful: list[Any] = []

    def look(what: str, ctx: Context) -> None:
        work = app.session.work
        assert work.careful is not None
        careful.append(work.careful._alone.locked())

    stock.before = look

    async def main() -> None:
        async with at_work(stock, app) as peer:
            commands = [action(saga=bytes([number]) * 16) for number in range(1, 21)]
            deliveries = [Redelivered(command_message(one, f"m{n}", "/peer"), 0) for n, one in enumerate(commands)]
            app.session.receive(deliveries)
            assert [(await peer.reply()).word for _ in commands] == [Word.SUCCEEDED] * 20
            for delivery in deliveries:
                await delivery.acked.wait()
            assert await app.session.lag() == 0

    asyncio.run(main())
    assert careful == [False] * 20
    assert stock.place.sql("SELECT count(*) FROM amends.inbox_death") == [(0,)]


def test_a_reply_that_the_broker_refuses_becomes_one_that_says_so_and_asks_for_a_person(stock: Stock) -> None:
    app = stock.participant(broker="local://?message_bytes=600")  # replies with a long text are too long
    stock.before = raising(ValueError("x" * 2000))

    async def main() -> None:
        async with at_work(stock, app) as peer:
            reply = await peer.ask(action())
            assert (reply.word, reply.park) == (Word.FAILED, True)
            assert "cannot be sent" in reply.reason

    asyncio.run(main())


def test_a_command_whose_reply_nobody_can_be_sent_is_put_aside_and_its_outcome_is_kept(stock: Stock) -> None:
    app = stock.participant(broker="local://?message_bytes=10")

    async def main() -> None:
        async with at_work(stock, app) as peer:
            await peer.send(action())
            await until(lambda: len(peer.dead) == 1, "it is put aside")
            assert "its reply cannot be sent" in peer.dead[0].attributes["amendsdeadreason"]

    asyncio.run(main())
    assert [row[2] for row in stock.place.inbox] == ["succeeded"]


def test_a_saga_is_forgotten_only_after_it_has_ended_and_the_horizon_has_passed(stock: Stock) -> None:
    short = stock.participant(settings=Settings(inbox_horizon_seconds=2.0))

    async def main() -> None:
        async with at_work(stock, short) as peer:
            await peer.ask(action(sent_at=time.time()))
            await peer.ask(action(sent_at=time.time(), saga=b"o" * 16))
            await peer.ended(SAGA)
            await until(lambda: stock.place.sql("SELECT count(*) FROM amends.inbox_ended") == [(1,)], "it is noted")
            assert await short.session.clean() == 0
            assert len(stock.place.inbox) == 2

            async def gone() -> None:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while await short.session.clean() == 0:
                        await asyncio.sleep(0.1)

            await gone()
            assert len(stock.place.inbox) == 1  # the one that has not ended
            assert stock.place.sql("SELECT count(*) FROM amends.inbox_ended") == [(0,)]

    asyncio.run(main())


def test_a_saga_of_which_something_came_after_its_end_is_forgotten_later(stock: Stock) -> None:
    short = stock.participant(settings=Settings(inbox_horizon_seconds=60.0))

    async def main() -> None:
        async with at_work(stock, short) as peer:
            await peer.ask(action())
            await peer.ended(SAGA)
            await until(lambda: stock.place.sql("SELECT count(*) FROM amends.inbox_ended") == [(1,)], "it is noted")
            stock.place.sql("UPDATE amends.inbox_ended SET at = at - 100")  # as if it had ended long ago

            assert await short.session.clean() == 0  # its row is younger than the horizon

            assert len(stock.place.inbox) == 1
            assert stock.place.sql("SELECT count(*) FROM amends.inbox_ended") == [(1,)]
            stock.place.sql("UPDATE amends.inbox_ended SET at = at - 100")
            stock.place.sql("UPDATE amends.inbox SET at = at - 100")
            assert await short.session.clean() == 1

    asyncio.run(main())
    assert stock.place.inbox == []


def test_a_participant_that_leaves_lets_its_handlers_finish_and_leaves_the_rest_to_others(stock: Stock) -> None:
    begun = asyncio.Event()

    async def slowly(what: str, ctx: Context) -> None:
        begun.set()
        await asyncio.sleep(0.3)

    stock.before = slowly
    other = stock.participant()

    async def main() -> None:
        peer_commands = [action(saga=bytes([number]) * 16) for number in range(1, 4)]
        async with at_work(stock) as peer:
            await peer.send(*peer_commands)
            await begun.wait()
            leaving = asyncio.ensure_future(stock.app.__aexit__(None, None, None))
            await leaving
            async with other:
                words = [(await peer.reply()).word for _ in peer_commands]
        assert words == [Word.SUCCEEDED] * 3

    asyncio.run(main())
    assert sorted(stock.place.moved) == [("a", 2)] * 3


class Redelivered:
    """A delivery as a broker makes it that has delivered the message before."""

    flaw = ""

    def __init__(self, message: Message, times: int) -> None:
        self.message: Message | None = message
        self.times = times
        self.acked = asyncio.Event()

    async def ack(self) -> None:
        self.acked.set()

    async def retry(self, after_seconds: float = 0.0) -> None:
        raise AssertionError("nothing is to be retried here")

    async def bury(self, reason: str) -> None:
        raise AssertionError("nothing is to be buried here")


async def died(stock: Stock) -> None:
    """A process begins the command, and dies in the middle."""
    work = stock.app.session.work
    assert work.careful is not None
    assert work.transactions is not None
    care = work.care(2, action())
    assert care is not None
    here, pid, _, mark = care.who.split(" ")
    care.who = f"{here} {pid} another-process {mark}"
    seen = await work.careful._look(care)
    assert await work.transactions.ask("take_carefully", care.what, care.who, *seen)
