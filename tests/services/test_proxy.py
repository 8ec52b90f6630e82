"""The fault proxy, before a real server: what was cut, what was executed, and what the client knows of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import asyncpg
import psycopg
import pytest

from services.pgbouncer import Pgbouncer
from services.postgres import Postgres
from services.proxy import Proxy, Trap

WAIT_SECONDS = 30.0
MARKER = b"INSERT INTO ledger"


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[Proxy]:
    """A proxy before the server, with an empty ledger behind it."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE ledger (entry text)")
    with Proxy(postgres_url) as proxy:
        watchdog = threading.Timer(2 * WAIT_SECONDS, proxy.cut)  # a client that waits for ever is a failure, not a hang
        watchdog.start()
        yield proxy
        watchdog.cancel()
        watchdog.join()


def entries(url: str) -> list[str]:
    """What the ledger holds, asked for directly."""
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT entry FROM ledger ORDER BY entry").fetchall()]


def write_simple(url: str, warm_up: Callable[[], object]) -> None:
    """One statement as a simple query."""
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        warm_up()
        connection.execute("INSERT INTO ledger VALUES (%s)", ["simple"])


def write_prepared(url: str, warm_up: Callable[[], object]) -> None:
    """One statement whose text went over the line long before."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:
        connection.execute("INSERT INTO ledger VALUES (%s)", ["first"])
        warm_up()
        connection.execute("INSERT INTO ledger VALUES (%s)", ["prepared"])


def write_asyncpg(url: str, warm_up: Callable[[], object]) -> None:
    """The same with asyncpg's prepared statements."""

    async def write() -> None:
        connection = await asyncpg.connect(url)
        try:
            statement = await connection.prepare("INSERT INTO ledger VALUES ($1)")
            await statement.fetch("first")
            warm_up()
            await statement.fetch("asyncpg")
        finally:
            connection.terminate()

    asyncio.run(write())


LOST = (psycopg.OperationalError, asyncpg.PostgresConnectionError, ConnectionError)


@pytest.mark.parametrize(
    ("write", "written"),
    [(write_simple, ["simple"]), (write_prepared, ["first", "prepared"]), (write_asyncpg, ["asyncpg", "first"])],
)
def test_a_swallowed_statement_is_committed_and_its_client_sees_a_lost_line(
    proxy: Proxy, postgres_url: str, write: Callable[[str, Callable[[], object]], None], written: list[str]
) -> None:
    traps: list[Trap] = []

    with pytest.raises(LOST):
        write(proxy.url(postgres_url), lambda: traps.append(proxy.swallow_next(MARKER)))

    assert traps[0].sprung
    assert entries(postgres_url) == written


@pytest.mark.parametrize(
    ("write", "written"), [(write_simple, []), (write_prepared, ["first"]), (write_asyncpg, ["first"])]
)
def test_a_lost_statement_is_not_executed_and_its_client_sees_the_same(
    proxy: Proxy, postgres_url: str, write: Callable[[str, Callable[[], object]], None], written: list[str]
) -> None:
    traps: list[Trap] = []

    with pytest.raises(LOST):
        write(proxy.url(postgres_url), lambda: traps.append(proxy.lose_next(MARKER)))

    assert traps[0].sprung
    assert entries(postgres_url) == written


def test_a_trap_that_sprang_says_so_after_the_commit(proxy: Proxy, postgres_url: str) -> None:
    seen: list[str] = []
    trap = proxy.swallow_next(MARKER)

    def watch() -> None:
        if trap.wait(WAIT_SECONDS):
            seen.extend(entries(postgres_url))

    watcher = threading.Thread(target=watch)
    watcher.start()

    with pytest.raises(LOST):
        write_simple(proxy.url(postgres_url), lambda: None)

    watcher.join(WAIT_SECONDS)
    assert trap.sprung
    assert seen == ["simple"]


def test_a_trap_springs_at_the_end_of_an_answer_not_at_its_beginning(proxy: Proxy, postgres_url: str) -> None:
    """The first rows are on their way long before the commit here."""
    trap = proxy.swallow_next(MARKER)
    statements = "INSERT INTO ledger VALUES ('slow'); SELECT repeat('x', 500000); SELECT pg_sleep(0.5)"

    with psycopg.connect(proxy.url(postgres_url), autocommit=True) as connection, pytest.raises(LOST):
        connection.execute(statements)

    assert trap.wait(WAIT_SECONDS)
    assert entries(postgres_url) == ["slow"]


def test_a_commit_is_swallowed_with_all_its_statements(proxy: Proxy, postgres_url: str) -> None:
    trap = proxy.swallow_next(b"COMMIT")
    with psycopg.connect(proxy.url(postgres_url)) as connection:
        connection.execute("INSERT INTO ledger VALUES ('one')")
        connection.execute("INSERT INTO ledger VALUES ('two')")

        with pytest.raises(LOST):
            connection.commit()

    assert trap.wait(WAIT_SECONDS)
    assert entries(postgres_url) == ["one", "two"]


def test_a_lost_commit_takes_all_its_statements_with_it(proxy: Proxy, postgres_url: str) -> None:
    proxy.lose_next(b"COMMIT")

    with pytest.raises(LOST), psycopg.connect(proxy.url(postgres_url)) as connection:
        connection.execute("INSERT INTO ledger VALUES ('one')")

    assert entries(postgres_url) == []


def test_a_statement_is_found_by_its_values_too(proxy: Proxy, postgres_url: str) -> None:
    with psycopg.connect(proxy.url(postgres_url), autocommit=True, prepare_threshold=0) as connection:
        proxy.swallow_next(b"order-2")
        connection.execute("INSERT INTO ledger VALUES (%s)", ["order-1"])

        with pytest.raises(LOST):
            connection.execute("INSERT INTO ledger VALUES (%s)", ["order-2"])

    assert entries(postgres_url) == ["order-1", "order-2"]


def write_in_a_pipeline(url: str) -> None:
    """Two statements at once, each committed by itself."""
    with psycopg.connect(url, autocommit=True) as connection, connection.pipeline() as pipeline:
        for entry in ("one", "two"):
            connection.execute("INSERT INTO ledger VALUES (%s)", [entry])
            pipeline.sync()


def test_in_a_pipeline_the_statements_before_it_are_executed_too(proxy: Proxy, postgres_url: str) -> None:
    trap = proxy.swallow_next(b"two")

    with pytest.raises(LOST):
        write_in_a_pipeline(proxy.url(postgres_url))

    assert trap.sprung
    assert entries(postgres_url) == ["one", "two"]


def test_skipped_executions_pass_unharmed(proxy: Proxy, postgres_url: str) -> None:
    with psycopg.connect(proxy.url(postgres_url), autocommit=True) as connection:
        proxy.lose_next(MARKER, skip=2)
        connection.execute("INSERT INTO ledger VALUES ('one')")
        connection.execute("INSERT INTO ledger VALUES ('two')")

        with pytest.raises(LOST):
            connection.execute("INSERT INTO ledger VALUES ('three')")

    assert entries(postgres_url) == ["one", "two"]


def test_a_trap_catches_one_line_and_leaves_the_others(proxy: Proxy, postgres_url: str) -> None:
    url = proxy.url(postgres_url)
    with psycopg.connect(url, autocommit=True) as first, psycopg.connect(url, autocommit=True) as second:
        proxy.swallow_next(MARKER)

        with pytest.raises(LOST):
            first.execute("INSERT INTO ledger VALUES ('first')")
        second.execute("INSERT INTO ledger VALUES ('second')")

    assert entries(postgres_url) == ["first", "second"]


def test_a_disarmed_trap_catches_nothing(proxy: Proxy, postgres_url: str) -> None:
    trap = proxy.swallow_next(MARKER)

    proxy.disarm()

    write_simple(proxy.url(postgres_url), lambda: None)
    assert not trap.sprung


def test_a_cut_ends_every_line_and_new_ones_are_taken(proxy: Proxy, postgres_url: str) -> None:
    url = proxy.url(postgres_url)
    with psycopg.connect(url) as first, psycopg.connect(url) as second:
        assert proxy.cut() == 2

        for lost in (first, second):
            with pytest.raises(LOST):
                lost.execute("SELECT 1")
    write_simple(url, lambda: None)


def test_where_nobody_is_taken_the_lines_that_are_there_stay(proxy: Proxy, postgres_url: str) -> None:
    url = proxy.url(postgres_url)
    with psycopg.connect(url) as kept:
        proxy.refuse()

        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url, connect_timeout=10)
        assert kept.execute("SELECT 1").fetchone() == (1,)
    proxy.accept()
    write_simple(url, lambda: None)


def test_a_delay_delays_each_direction(proxy: Proxy, postgres_url: str) -> None:
    with psycopg.connect(proxy.url(postgres_url), autocommit=True) as connection:
        proxy.delay(0.2)
        began = time.monotonic()

        connection.execute("SELECT 1")

        assert time.monotonic() - began >= 0.4
        proxy.delay(0)


def test_a_frozen_line_passes_nothing_until_it_thaws(proxy: Proxy, postgres_url: str) -> None:
    with psycopg.connect(proxy.url(postgres_url), autocommit=True) as connection:
        proxy.freeze()
        asking = threading.Thread(target=connection.execute, args=["INSERT INTO ledger VALUES ('late')"])
        asking.start()
        asking.join(0.3)

        assert asking.is_alive()
        assert entries(postgres_url) == []
        proxy.thaw()
        asking.join(WAIT_SECONDS)
    assert entries(postgres_url) == ["late"]


def test_much_data_goes_through_unchanged(proxy: Proxy, postgres_url: str) -> None:
    text = "x" * 5_000_000
    with psycopg.connect(proxy.url(postgres_url)) as connection:
        assert connection.execute("SELECT %s", [text]).fetchone() == (text,)


def test_a_server_that_is_down_looks_so_through_the_proxy(postgres_server: Postgres) -> None:
    with Proxy(postgres_server.admin_url) as proxy:
        url = proxy.url(postgres_server.admin_url)
        with psycopg.connect(url) as lost:
            postgres_server.kill()

            with pytest.raises(LOST):
                lost.execute("SELECT 1")
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(url, connect_timeout=10)


def test_it_stands_before_pgbouncer_too(pgbouncer: Pgbouncer, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE ledger (entry text)")
    with Proxy(pgbouncer.admin_url) as proxy:
        proxy.swallow_next(MARKER)

        with pytest.raises(LOST):
            write_simple(proxy.url(postgres_url), lambda: None)

    assert entries(postgres_url) == ["simple"]
