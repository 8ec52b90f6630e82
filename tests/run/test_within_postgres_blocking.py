"""`blocking()` in a user's PostgreSQL transaction, beside a worker of another process's making."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from processes import process
from sqlalchemy.orm import Session

from amends import Completed, Orchestrator, Saga, Settings, step, wait_for
from amends.errors import IdConflict, UnknownSaga
from amends.run.blocking import Blocking

SECONDS = 30
RARELY = Settings(poll_seconds=600, lease_seconds=600)  # so that little happens but what was said


@step(readonly=True)
async def double(value: int) -> int:
    return value * 2


answer = wait_for("answer", str)
doubles = Saga("doubles", double, input=int, output=double)
asks = Saga("asks", answer, input=int, output=answer)


@pytest.fixture
def client(postgres_url: str) -> Iterator[Blocking]:
    """A client, as a web process has it, while a worker of its own works on the same database."""
    working = Orchestrator(postgres_url, sagas=[doubles, asks], settings=RARELY, migrate=True).blocking(work=True)
    working.session()
    made = Orchestrator(postgres_url, sagas=[doubles, asks], settings=RARELY).blocking()
    made.session()
    yield made
    made.close()
    working.close()


@pytest.fixture
def engine(postgres_url: str) -> Iterator[sa.Engine]:
    made = sa.create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:"))
    yield made
    made.dispose()


def test_it_is_written_on_the_thread_that_calls(client: Blocking, engine: sa.Engine) -> None:
    threads: set[int] = set()
    sa.event.listen(engine, "before_cursor_execute", lambda *_: threads.add(threading.get_ident()))

    with engine.begin() as connection:
        handle = client.start(doubles, 1, within=connection)
        client.signal(client.start(asks, 1, within=connection).saga_id, answer, "x", within=connection)

    assert threads == {threading.get_ident()}
    assert handle.outcome(timeout=SECONDS) == Completed(2)


def until_ended(client: Blocking, key: str) -> None:
    """Wait for a saga's end without a word to the worker, which waiting for its outcome would be."""
    store = client.session().store

    async def look() -> None:
        async with asyncio.timeout(SECONDS):
            while (head := await store.head(key)) is None or head.status != "completed":
                await asyncio.sleep(0.01)

    client.wait_for(look())


def test_the_worker_hears_of_the_commit_from_another_process(client: Blocking, engine: sa.Engine) -> None:
    with Session(engine) as session:
        client.start(doubles, 21, id="a", within=session)
        session.commit()

    until_ended(client, "a")


def test_the_worker_hears_soon_after_a_start_where_the_driver_does_not_tell_of_commits(
    client: Blocking, postgres_url: str
) -> None:
    with psycopg.connect(postgres_url) as connection:
        client.start(doubles, 21, id="a", within=connection)

    until_ended(client, "a")


def test_many_starts_at_once_say_little(client: Blocking, postgres_url: str) -> None:
    session = client.session()

    with psycopg.connect(postgres_url) as connection:
        handles = [client.start(doubles, number, within=connection) for number in range(50)]
        due = len(session._hints_due)

    assert 0 < due <= 26, "at most one in 20 ms, for half a second"
    assert [handle.outcome(timeout=SECONDS) for handle in handles] == [Completed(number * 2) for number in range(50)]


def test_a_rollback_leaves_nothing_and_a_taken_id_is_told(client: Blocking, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        gone = client.start(doubles, 1, id="gone", within=connection)
        connection.rollback()
        kept = client.start(doubles, 2, id="kept", within=connection)
        with pytest.raises(IdConflict):
            client.start(doubles, 3, id="kept", within=connection)

    assert kept.outcome(timeout=SECONDS) == Completed(4)
    with pytest.raises(UnknownSaga):
        gone.outcome(timeout=SECONDS)


def test_a_forked_child_that_ends_leaves_its_parents_connections_alone(client: Blocking, postgres_url: str) -> None:
    """What the child has inherited it must not even tidy up: the loop's list of sockets is shared by both."""
    code = """
import asyncio, gc, os, sys, time, warnings
from test_within_postgres_blocking import Orchestrator, asks, doubles
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # that is what is tested
sagas = Orchestrator(sys.argv[1], sagas=[doubles, asks]).blocking()
sagas.start(doubles, 1, id="parent-1")
while sagas.session().store._hints._connection is None:
    time.sleep(0.01)
sagas.wait_for(asyncio.sleep(0.1))
time.sleep(0.1)  # where the loop is at rest, nothing holds what it has but itself
child = os.fork()
if child == 0:
    gc.collect()
    sagas.start(doubles, 2, id="child")
    gc.collect()
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
print(sagas.start(doubles, 3, id="parent-2").outcome(timeout=10))
"""
    with process(postgres_url, database=Path("unused"), code=code) as parent:
        assert parent.wait() == 0, parent.errors()
        assert parent.errors() == ""

    for key in ("parent-1", "child", "parent-2"):
        assert isinstance(client.handle(doubles, key).outcome(timeout=SECONDS), Completed)
