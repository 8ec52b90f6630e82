"""What a participant refuses when it is written wrongly, in words that say what would be right; and what it accepts."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from participant_scene import Peer, action, undo
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from tx_kinds import KINDS, TxKind

from amends import Context, Participant, Resource, Service
from amends.decide.wire import Word
from amends.errors import DefinitionError, NotRunning
from amends.store.effects_postgres import complete


@dataclass(frozen=True)
class ReserveStock:
    """A command."""

    sku: str
    many: int = 1


@dataclass(frozen=True)
class Reservation:
    """Its reply."""

    id: str


@dataclass(frozen=True)
class Moved:
    """An event."""

    sku: str


class Shop:
    """A client that handlers ask for."""

    def __init__(self) -> None:
        self.said: list[str] = []


def service(**options: Any) -> tuple[Service, Any]:
    """A service with one command."""
    made = Service("inventory")
    return made, made.command("reserve-stock", ReserveStock, reply=Reservation, **options)


async def reserve(command: ReserveStock, tx: sqlite3.Connection) -> Reservation:
    return Reservation(command.sku)


async def release(command: ReserveStock, reservation: Reservation, tx: sqlite3.Connection) -> None: ...


def enter(app: Participant) -> None:
    """Enter and leave it."""

    async def main() -> None:
        async with app:
            pass

    asyncio.run(main())


def test_a_command_without_a_handler_or_without_its_compensation_is_refused_when_it_is_entered(tmp_path: Path) -> None:
    inventory, reserve_stock = service()
    app = Participant(inventory, database=f"sqlite:///{tmp_path}/a.db")

    with pytest.raises(DefinitionError, match=r"lacks @app\.handles for inventory\.reserve-stock, @app\.compensates"):
        enter(app)
    app.handles(reserve_stock)(reserve)
    with pytest.raises(DefinitionError, match=r"lacks @app\.compensates for inventory\.reserve-stock"):
        enter(app)
    app.compensates(reserve_stock)(release)
    enter(app)
    enter(app)  # left, it may be entered again
    assert list(tmp_path.iterdir()) != []


def test_building_and_registering_touches_nothing(tmp_path: Path) -> None:
    inventory, reserve_stock = service()
    app = Participant(inventory, database=f"sqlite:///{tmp_path}/a.db", broker="redis://nowhere:1")
    assert app.handles(reserve_stock)(reserve) is reserve
    assert app.compensates(reserve_stock)(release) is release
    app.check()

    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotRunning, match="not running"):
        _ = app.trouble


def _wrong_command(command: Reservation, tx: sqlite3.Connection) -> Reservation:
    return command


def _wrong_reply(command: ReserveStock, tx: sqlite3.Connection) -> ReserveStock:
    return command


def _unannotated(command: ReserveStock, tx) -> Reservation:  # type: ignore[no-untyped-def]
    return Reservation("")


def _no_parameter() -> Reservation:
    return Reservation("")


def _unknown(command: ReserveStock, tx: sqlite3.Connection, number: int) -> Reservation:
    return Reservation("")


def _pool(command: ReserveStock, pool: Any) -> Reservation:
    return Reservation("")


def _two(command: ReserveStock, a: sqlite3.Connection, b: Any) -> Reservation:
    return Reservation("")


_pool.__annotations__["pool"] = asyncpg.Pool
_two.__annotations__["b"] = asyncpg.Connection


def _stops_the_loop(command: ReserveStock, tx: AsyncSession) -> Reservation:
    return Reservation("")


@pytest.mark.parametrize(
    ("fn", "words"),
    [
        (_wrong_command, "the command comes first, as ReserveStock, and it is Reservation"),
        (_wrong_reply, "it answers Reservation; annotate `-> Reservation`"),
        (_unannotated, "the parameter tx has no annotation; accepted: sqlite3.Connection, asyncpg.Connection"),
        (_no_parameter, "the command comes first, as ReserveStock, and there is none"),
        (_unknown, "nothing fills the parameter number, which is int"),
        (_pool, "for a transaction ask for sqlite3.Connection, asyncpg.Connection"),
        (_two, "a command has one transaction"),
        (_stops_the_loop, "write it as `async def`"),
        ("no function", "a plain function is expected"),
    ],
)
def test_a_handler_that_does_not_fit_its_contract_is_refused(fn: Any, words: str) -> None:
    inventory, reserve_stock = service()
    app = Participant(inventory, database="sqlite:///x.db")

    with pytest.raises(DefinitionError) as refused:
        app.handles(reserve_stock)(fn)

    assert words in str(refused.value)


def test_a_compensation_takes_the_command_and_its_reply_and_returns_nothing() -> None:
    inventory, reserve_stock = service()
    app = Participant(inventory, database="sqlite:///x.db")

    def lacks(command: ReserveStock, tx: sqlite3.Connection) -> None: ...

    def answers(command: ReserveStock, reservation: Reservation) -> Reservation:
        return reservation

    with pytest.raises(DefinitionError, match="the reply comes second, as Reservation"):
        app.compensates(reserve_stock)(lacks)
    with pytest.raises(DefinitionError, match="annotate `-> None`"):
        app.compensates(reserve_stock)(answers)


def test_what_is_no_promise_of_the_service_is_refused() -> None:
    inventory, reserve_stock = service(compensation=False)
    other = Service("payment").command("charge", ReserveStock, reply=Reservation)
    app = Participant(inventory, database="sqlite:///x.db")

    with pytest.raises(DefinitionError, match="a participant of inventory"):
        app.handles(other)(reserve)
    with pytest.raises(DefinitionError, match="promises no compensation"):
        app.compensates(reserve_stock)(release)
    app.handles(reserve_stock)(reserve)
    with pytest.raises(DefinitionError, match="has one already"):
        app.handles(reserve_stock)(reserve)
    with pytest.raises(DefinitionError, match="a Service is expected"):
        Participant("inventory")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("database", "words"),
    [
        (None, "the participant has no database: give database="),
        ("postgresql://u@h/d", "takes a sqlite3.Connection, and there is none on postgresql://"),
        ("mysql://u@h/d", "no database that amends knows"),
        (object(), "a URL is expected, or an engine"),
    ],
)
def test_a_transaction_that_the_database_cannot_give_is_refused(database: Any, words: str) -> None:
    inventory, reserve_stock = service(compensation=False)
    app = Participant(inventory, database=database)
    app.handles(reserve_stock)(reserve)

    with pytest.raises(DefinitionError) as refused:
        app.check()

    assert words in str(refused.value)


def test_without_a_database_only_what_is_readonly_is_handled() -> None:
    inventory, reserve_stock = service(compensation=False)
    app = Participant(inventory)

    @app.handles(reserve_stock)
    def plain(command: ReserveStock) -> Reservation:
        return Reservation(command.sku)

    with pytest.raises(DefinitionError, match=r"declare the command with readonly=True"):
        app.check()


def test_a_readonly_handler_needs_no_database_and_is_answered(tmp_path: Path) -> None:
    inventory = Service("inventory")
    ask = inventory.command("reserve-stock", ReserveStock, reply=Reservation, readonly=True)
    app = Participant(inventory)

    @app.handles(ask)
    def look(command: ReserveStock, ctx: Context) -> Reservation:  # in a thread
        return Reservation(f"{command.sku} {ctx.key[:2]}")

    async def main() -> None:
        async with app:
            await app.session.listening()
            peer = Peer()
            await peer.open()
            assert (await peer.ask(action())).word is Word.SUCCEEDED
            assert await app.session.sizes() is None
            await peer.transport.close()

    asyncio.run(main())


def test_a_resource_that_nobody_provides_is_refused_and_one_that_is_provided_is_given(tmp_path: Path) -> None:
    inventory, reserve_stock = service(compensation=False)
    shop = Shop()

    def open_shop() -> Shop:
        return shop

    def with_shop(command: ReserveStock, client: Resource[Shop]) -> Reservation:
        client.said.append(command.sku)
        return Reservation(command.sku)

    lacking = Participant(inventory, database=f"sqlite:///{tmp_path}/a.db")
    lacking.handles(reserve_stock)(with_shop)
    with pytest.raises(DefinitionError, match="no resource provides"):
        lacking.check()

    entered: list[str] = []

    @asynccontextmanager
    async def around(ctx: Context) -> Any:
        entered.append(ctx.step)
        yield

    app = Participant(inventory, database=f"sqlite:///{tmp_path}/a.db", resources=[open_shop], around=[around])
    app.handles(reserve_stock)(with_shop)

    async def main() -> None:
        async with app:
            await app.session.listening()
            peer = Peer()
            await peer.open()
            assert (await peer.ask(action())).word is Word.SUCCEEDED
            assert (await peer.ask(action())).word is Word.SUCCEEDED
            await peer.transport.close()

    asyncio.run(main())
    assert shop.said == ["a"]  # behind the barrier, though it sees no transaction
    assert set(entered) == {"reserve"}


def test_a_command_without_a_reply_is_undone_without_a_result(tmp_path: Path) -> None:
    inventory = Service("inventory")
    silent = inventory.command("reserve-stock", ReserveStock)
    app = Participant(inventory, database=f"sqlite:///{tmp_path}/a.db")
    said: list[str] = []

    @app.handles(silent)
    def do(command: ReserveStock, tx: sqlite3.Connection) -> None:
        said.append(f"do {command.sku}")

    @app.compensates(silent)
    def undo_it(command: ReserveStock, tx: sqlite3.Connection) -> None:
        said.append(f"undo {command.sku}")

    async def main() -> None:
        async with app:
            await app.session.listening()
            peer = Peer()
            await peer.open()
            assert await peer.word(action()) is Word.SUCCEEDED
            assert await peer.word(undo()) is Word.COMPENSATED
            await peer.transport.close()

    asyncio.run(main())
    assert said == ["do a", "undo a"]


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_every_kind_of_transaction_on_postgresql_is_given_by_its_annotation(kind: TxKind, postgres_url: str) -> None:
    inventory, reserve_stock = service()

    async def main() -> None:
        connection = await asyncpg.connect(postgres_url)
        await connection.execute("CREATE TABLE public.moved (sku text, many integer)")
        async with kind.entered(postgres_url) as given:
            app = Participant(inventory, database=given if given is not None else postgres_url, migrate=True)
            for register, fn in zip(
                (app.handles(reserve_stock), app.compensates(reserve_stock)), _functions(kind), strict=True
            ):
                register(fn)
            async with app:
                await app.session.listening()
                peer = Peer()
                await peer.open()
                words = [await peer.word(one) for one in (action(), action(), undo(), undo(), action())]
                assert words == [
                    Word.SUCCEEDED,
                    Word.SUCCEEDED,
                    Word.COMPENSATED,
                    Word.COMPENSATED,
                    Word.FENCED,
                ]
                await peer.transport.close()
        assert [tuple(row) for row in await connection.fetch("SELECT sku, many FROM moved")] == [("a", 2), ("a", -2)]
        await connection.close()

    asyncio.run(main())


def _functions(kind: TxKind) -> tuple[Callable[..., Any], Callable[..., Any]]:
    insert = "INSERT INTO moved (sku, many) VALUES ('{}', {})"
    do: Any
    take_back: Any
    if kind.is_async:

        async def do(command: ReserveStock, tx: Any) -> Reservation:
            await kind.sql(tx)(insert.format(command.sku, command.many))
            return Reservation(command.sku)

        async def take_back(command: ReserveStock, reservation: Reservation, tx: Any) -> None:
            await kind.sql(tx)(insert.format(command.sku, -command.many))

    else:

        def do(command: ReserveStock, tx: Any) -> Reservation:
            complete(_ran(kind.sql(tx)(insert.format(command.sku, command.many))))
            return Reservation(command.sku)

        def take_back(command: ReserveStock, reservation: Reservation, tx: Any) -> None:
            complete(_ran(kind.sql(tx)(insert.format(command.sku, -command.many))))

    for fn in (do, take_back):
        fn.__annotations__["tx"] = kind.type
    return do, take_back


async def _ran(waited: Any) -> None:
    await waited


def test_an_event_may_be_told_within_a_users_own_transaction_of_sqlalchemy(postgres_url: str) -> None:
    inventory, reserve_stock = service(compensation=False)
    moved = inventory.event("moved", Moved)
    engine = create_async_engine(postgres_url.replace("postgresql:", "postgresql+asyncpg:"))
    app = Participant(inventory, database=engine, migrate=True)

    @app.handles(reserve_stock)
    async def do(command: ReserveStock, tx: AsyncConnection) -> Reservation:
        return Reservation(command.sku)

    async def main() -> None:
        async with app:
            async with engine.begin() as connection:
                await app.publish(moved, Moved("a"), within=connection)
            async with engine.connect() as connection, connection.begin() as transaction:
                await app.publish(moved, Moved("b"), within=connection)
                await transaction.rollback()
            outbox = app.session.work.outbox
            assert outbox is not None
            async with asyncio.timeout(60):
                while outbox.published < 1:
                    await asyncio.sleep(0.01)
            sizes = await app.session.sizes()
            assert sizes is not None
            assert sizes.unpublished in (0, 1)
        await engine.dispose()

    asyncio.run(main())
