"""The private PgBouncer that tests use: transaction mode, without prepared statements across transactions."""

from __future__ import annotations

import psycopg
import pytest

import servers
from services.found import pgbouncer_program
from services.pgbouncer import Pgbouncer
from services.postgres import Postgres


def backend(connection: psycopg.Connection) -> int:
    """The server process that answers now."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


def test_both_ways_lead_to_the_same_database(pgbouncer_url: str, postgres_url: str) -> None:
    with psycopg.connect(pgbouncer_url) as through:
        through.execute("CREATE TABLE seen (number int)")

    with psycopg.connect(postgres_url) as direct:
        assert direct.execute("SELECT to_regclass('seen') IS NOT NULL").fetchone() == (True,)
    assert pgbouncer_url != postgres_url


def test_a_connection_is_lent_for_one_transaction(pgbouncer_url: str) -> None:
    with psycopg.connect(pgbouncer_url) as first, psycopg.connect(pgbouncer_url) as second:
        lent = backend(first)
        first.commit()

        assert backend(second) == lent


def test_a_prepared_statement_does_not_survive_its_transaction(pgbouncer_url: str) -> None:
    with (
        psycopg.connect(pgbouncer_url, prepare_threshold=None) as holder,
        psycopg.connect(pgbouncer_url, prepare_threshold=0) as careless,
    ):
        first = backend(careless)
        careless.commit()
        assert backend(holder) == first  # whose transaction stays open, so the next gets another server

        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            backend(careless)


def test_what_a_session_is_told_is_not_kept_with_it(pgbouncer_url: str) -> None:
    """Why migrations and leases may not lock by session behind it."""
    with psycopg.connect(pgbouncer_url) as first, psycopg.connect(pgbouncer_url) as second:
        first.execute("SELECT pg_advisory_lock(1)")
        first.commit()

        assert second.execute("SELECT pg_try_advisory_lock(1)").fetchone() == (True,)


def test_it_is_stopped_killed_and_started_on_the_same_port(postgres_server: Postgres) -> None:
    servers.need(pgbouncer_program)
    url = postgres_server.create_database()
    with Pgbouncer(postgres_server.admin_url) as bouncer:
        for end in (bouncer.stop, bouncer.kill):
            with psycopg.connect(bouncer.url(url)) as lost:
                backend(lost)
                end()
                with pytest.raises(psycopg.OperationalError):
                    backend(lost)

            bouncer.start()

            with psycopg.connect(bouncer.url(url)) as found:
                assert backend(found)
    assert not bouncer.directory.exists()
