"""`within=`: a saga that exists if and only if the user's own PostgreSQL transaction commits, whatever the driver."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from secrets import token_hex

import psycopg
import pytest
from user_drivers import INVOICE, USERS, User

from amends import Completed, Orchestrator, Saga, Settings, step, wait_for
from amends.errors import IdConflict, NotEnlisted, UnknownSaga
from amends.store.postgres import PostgresStore
from services.databases import Databases

SECONDS = 60.0
LEVELS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
Play = Callable[[Orchestrator, User], Awaitable[None]]


@step(readonly=True)
async def double(value: int) -> int:
    return value * 2


doubles = Saga("doubles", double, input=int, output=double)
answer = wait_for("answer", str)
asks = Saga("asks", answer, input=int, output=answer)
others = Saga("others", double, input=int, output=double)
STRANGE = 'it\'s 100 %, %s %(x)s "\\" \\n :x ::text $1 ? {} \n \t \u2713 \U0001f600 \x7f'


@step(readonly=True)
async def repeat(text: str) -> str:
    return text


echoes = Saga("echoes", repeat, input=str, output=repeat)


@pytest.fixture(params=USERS)
def make(request: pytest.FixtureRequest) -> Callable[[], User]:
    """One of all the drivers."""
    return USERS[request.param]


@pytest.fixture(scope="module")
def database(postgres_databases: Databases) -> Iterator[str]:
    """A database with the tables of amends, and one of the user's. Each test has a namespace of its own."""
    url = postgres_databases.create()
    prepare(url)
    yield url
    postgres_databases.drop(url)


@pytest.fixture
def url(database: str) -> str:
    """The same, where the user's table is empty."""
    with psycopg.connect(database) as connection:
        connection.execute("TRUNCATE public.invoice")
    return database


def prepare(url: str) -> None:
    async def main() -> None:
        store = PostgresStore(url, "default")
        await store.upgrade()
        await store.close()

    asyncio.run(main())
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE public.invoice (id text)")


def orchestrator(url: str) -> Orchestrator:
    settings = Settings(poll_seconds=0.1)
    return Orchestrator(url, sagas=[doubles, asks, others, echoes], namespace=f"test-{token_hex(8)}", settings=settings)


def run(url: str, make: Callable[[], User], play: Play, *, work: bool = True, place: str | None = None) -> None:
    """Let a user of the database, or of another `place`, do something beside an orchestrator."""

    async def main() -> None:
        async with asyncio.timeout(SECONDS):
            built = orchestrator(url)
            async with built if work else built.client():
                user = make()
                await user.open(place or url)
                try:
                    await play(built, user)
                finally:
                    await user.close()

    asyncio.run(main())


def invoices(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM public.invoice").fetchone()
    return 0 if found is None else int(found[0])


def test_the_saga_runs_once_the_transaction_commits(url: str, make: Callable[[], User]) -> None:
    async def play(working: Orchestrator, user: User) -> None:
        await user.begin()
        await user.execute(INVOICE)
        handle = await working.start(doubles, 21, id="a", within=user.within)
        assert await working.session.store.head("a") is None, "nobody may see it yet"
        await user.commit()

        assert await handle.outcome() == Completed(42)

    run(url, make, play)
    assert invoices(url) == 1


def test_a_rollback_leaves_nothing_of_it(url: str, make: Callable[[], User]) -> None:
    async def play(working: Orchestrator, user: User) -> None:
        await user.begin()
        handle = await working.start(doubles, 21, id="a", within=user.within)
        await user.rollback()

        with pytest.raises(UnknownSaga):
            await handle.outcome()
        assert await working.run(doubles, 4, id="a") == Completed(8), "the id must be free"

    run(url, make, play)


def test_a_taken_id_is_told_and_the_transaction_lives(url: str, make: Callable[[], User]) -> None:
    async def play(working: Orchestrator, user: User) -> None:
        await working.run(doubles, 1, id="a")
        await user.begin()

        with pytest.raises(IdConflict, match="another input"):
            await working.start(doubles, 2, id="a", within=user.within)
        with pytest.raises(IdConflict, match="doubles"):
            await working.start(others, 1, id="a", within=user.within)
        same = await working.start(doubles, 1, id="a", within=user.within)
        new = await working.start(doubles, 2, id="b", within=user.within)
        again = await working.start(doubles, 2, id="b", within=user.within)
        await user.execute(INVOICE)
        await user.commit()

        outcomes = [await handle.outcome() for handle in (same, new, again)]
        assert outcomes == [Completed(2), Completed(4), Completed(4)]

    run(url, make, play)
    assert invoices(url) == 1


def test_a_signal_counts_if_and_only_if_the_transaction_commits(url: str, make: Callable[[], User]) -> None:
    async def play(working: Orchestrator, user: User) -> None:
        handle = await working.start(asks, 1, id="a")
        await user.begin()
        await working.signal("a", answer, "rolled back", id="m", within=user.within)
        await user.rollback()
        assert await working.session.store.sent("a", "m") is None

        await user.begin()
        with pytest.raises(UnknownSaga):
            await working.signal("nobody", answer, "x", within=user.within)
        await working.signal("a", answer, "committed", id="m", within=user.within)
        await working.signal("a", answer, "the same again", id="m", within=user.within)
        await user.commit()

        assert await handle.outcome() == Completed("committed")

    run(url, make, play)


def test_a_saga_started_and_signalled_in_one_transaction_gets_its_signal(url: str, make: Callable[[], User]) -> None:
    async def play(working: Orchestrator, user: User) -> None:
        await user.begin()
        handle = await working.start(asks, 1, id="a", within=user.within)
        await working.signal("a", answer, "at once", within=user.within)
        await user.commit()

        assert await handle.outcome() == Completed("at once")

    run(url, make, play)


def test_texts_that_mean_something_to_a_driver_arrive_as_they_are(url: str, make: Callable[[], User]) -> None:
    async def play(working: Orchestrator, user: User) -> None:
        key = "".join(letter for letter in STRANGE if letter.isprintable())
        await user.begin()
        handle = await working.start(echoes, STRANGE, id=key, within=user.within)
        await working.start(asks, 1, id="a", within=user.within)
        await working.signal("a", answer, STRANGE, id=key, within=user.within)
        await user.commit()

        assert handle.saga_id == key
        assert await handle.outcome() == Completed(STRANGE)
        assert await working.handle(asks, "a").outcome() == Completed(STRANGE)
        assert await working.run(echoes, STRANGE, id=key) == Completed(STRANGE), "the same as one started otherwise"

    run(url, make, play)


def test_a_transaction_that_has_failed_is_refused(url: str, make: Callable[[], User]) -> None:
    async def play(working: Orchestrator, user: User) -> None:
        await user.begin()
        with pytest.raises(Exception, match="no_such_table"):
            await user.execute("SELECT * FROM no_such_table")
        with pytest.raises(NotEnlisted, match="failed"):
            await working.start(doubles, 21, id="a", within=user.within)
        await user.rollback()

    run(url, make, play)


def test_a_transaction_on_another_database_is_refused_and_lives(
    url: str, postgres_databases: Databases, make: Callable[[], User]
) -> None:
    other = postgres_databases.create()
    prepare(other)

    async def play(working: Orchestrator, user: User) -> None:
        await user.begin()
        await user.execute(INVOICE)
        for _ in range(2):
            with pytest.raises(NotEnlisted, match="another database"):
                await working.start(doubles, 21, id="a", within=user.within)
        await user.commit()

    run(url, make, play, place=other)
    assert invoices(other) == 1
    postgres_databases.drop(other)


@pytest.mark.parametrize("level", LEVELS)
def test_every_isolation_level_will_do(url: str, make: Callable[[], User], level: str) -> None:
    async def play(working: Orchestrator, user: User) -> None:
        await working.run(doubles, 1, id="old")
        await user.begin(level)
        await user.execute(INVOICE)
        handle = await working.start(doubles, 21, id="a", within=user.within)
        with pytest.raises(IdConflict):
            await working.start(doubles, 2, id="old", within=user.within)
        await user.commit()

        assert await handle.outcome() == Completed(42)

    run(url, make, play)


@pytest.mark.parametrize("level", LEVELS[1:])
def test_an_id_taken_since_the_snapshot_is_a_serialization_failure_of_the_driver(
    url: str, make: Callable[[], User], level: str
) -> None:
    async def play(working: Orchestrator, user: User) -> None:
        await user.begin(level)
        await user.execute(INVOICE)
        await working.run(doubles, 1, id="a")

        with pytest.raises(Exception, match="could not serialize") as caught:
            await working.start(doubles, 1, id="a", within=user.within)
        assert any("do all of it again" in note for note in caught.value.__notes__)
        await user.rollback()
        await user.begin(level)
        await user.execute(INVOICE)
        again = await working.start(doubles, 1, id="a", within=user.within)
        await user.commit()
        assert await again.outcome() == Completed(2)

    run(url, make, play)
    assert invoices(url) == 1


def test_what_is_rolled_back_to_a_savepoint_is_gone(url: str, make: Callable[[], User]) -> None:
    async def play(working: Orchestrator, user: User) -> None:
        await user.begin()
        await user.execute(INVOICE)
        await user.execute("SAVEPOINT one")
        await working.start(doubles, 1, id="gone", within=user.within)
        await user.execute("ROLLBACK TO SAVEPOINT one")
        kept = await working.start(doubles, 1, id="kept", within=user.within)
        await user.commit()

        assert await kept.outcome() == Completed(2)
        assert await working.session.store.head("gone") is None

    run(url, make, play)


def test_instants_are_the_servers_however_wrong_this_process_is(
    url: str, make: Callable[[], User], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(client: Orchestrator, user: User) -> None:
        store = client.session.store
        true = store.now()
        monkeypatch.setattr(store, "now", lambda: true + 300)
        await user.begin()
        await client.start(asks, 21, id="a", within=user.within)
        await client.signal("a", answer, "x", id="m", within=user.within)
        await user.commit()

        head, mail = await store.head("a"), await store.sent("a", "m")
        assert head is not None
        assert mail is not None
        assert head.owner is None
        assert head.wake_at is not None
        for instant in (head.created_at, head.updated_at, head.wake_at, mail.created_at):
            assert abs(instant - true) < 60

    run(url, make, play, work=False)


@pytest.fixture
def poor(url: str) -> Iterator[str]:
    """The URL of a role that may write the user's table, and knows nothing of amends."""
    name = f"web_{url.rpartition('_')[2]}"
    with psycopg.connect(url) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'web'")
        connection.execute(f"GRANT ALL ON public.invoice TO {name}")
    yield f"postgresql://{name}:web@{url.rpartition('@')[2]}"
    with psycopg.connect(url) as connection:
        connection.execute(f"DROP OWNED BY {name}")
        connection.execute(f"DROP ROLE {name}")


def test_a_role_without_the_rights_is_told_which_and_its_transaction_lives(
    url: str, poor: str, make: Callable[[], User]
) -> None:
    async def play(working: Orchestrator, user: User) -> None:
        await user.begin()
        with pytest.raises(NotEnlisted, match="GRANT USAGE ON SCHEMA") as caught:
            await working.start(doubles, 21, id="a", within=user.within)
        await user.execute(INVOICE)
        await user.commit()
        with psycopg.connect(url) as owner:
            for grant in str(caught.value).partition("owner: ")[2].split("; "):
                owner.execute(grant.encode())

        await user.begin()
        handle = await working.start(doubles, 21, id="a", within=user.within)
        await user.commit()
        assert await handle.outcome() == Completed(42)

    run(url, make, play, place=poor)
    assert invoices(url) == 1
