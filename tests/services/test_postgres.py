"""The private PostgreSQL that tests use: fresh databases, default durability, kills and restarts."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import psycopg
import pytest

import servers
from services.databases import Databases
from services.found import postgres_bin
from services.postgres import Postgres


def rows(url: str, statement: str) -> list[tuple[object, ...]]:
    """What a statement gives, in a session and a transaction of its own."""
    with psycopg.connect(url, connect_timeout=20) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_every_test_gets_an_empty_database(postgres_url: str) -> None:
    tables = rows(postgres_url, "SELECT * FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')")

    assert tables == []
    rows(postgres_url, "CREATE TABLE left_behind (number int)")


def test_a_second_test_gets_another_database(postgres_url: str, postgres_databases: Databases) -> None:
    rows(postgres_url, "CREATE TABLE left_behind (number int)")

    other = postgres_databases.create()

    assert rows(other, "SELECT to_regclass('left_behind')") == [(None,)]
    postgres_databases.drop(other)


def test_a_database_is_dropped_while_somebody_is_connected(postgres_databases: Databases) -> None:
    url = postgres_databases.create()

    with psycopg.connect(url) as connection:
        postgres_databases.drop(url)

        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


def test_only_databases_made_here_are_dropped(postgres_databases: Databases) -> None:
    with pytest.raises(ValueError, match="was not made here"):
        postgres_databases.drop(postgres_databases.url("postgres"))


def test_durability_is_the_default(postgres_server: Postgres) -> None:
    names = ["fsync", "full_page_writes", "max_connections", "synchronous_commit"]

    settings = [rows(postgres_server.admin_url, f"SHOW {name}") for name in names]

    assert settings == [[("on",)], [("on",)], [("200",)], [("on",)]]


def test_a_killed_server_comes_back_with_what_was_committed(postgres_server: Postgres) -> None:
    url = postgres_server.create_database()
    rows(url, "CREATE TABLE kept (number int)")
    with psycopg.connect(url) as lost:
        lost.execute("INSERT INTO kept VALUES (2)")
        rows(url, "INSERT INTO kept VALUES (1)")

        postgres_server.kill()

        assert not postgres_server.running
        with pytest.raises(psycopg.OperationalError):
            lost.execute("SELECT 1")
    postgres_server.start()
    assert rows(url, "SELECT number FROM kept") == [(1,)]


def test_a_start_waits_for_the_children_of_a_killed_server(postgres_server: Postgres) -> None:
    """A stopped session notices nothing; PostgreSQL refuses to start as long as it is there."""
    with psycopg.connect(postgres_server.admin_url, autocommit=True) as frozen:
        os.kill(frozen.info.backend_pid, signal.SIGSTOP)
        postgres_server.kill()
        later = threading.Timer(1.5, os.kill, (frozen.info.backend_pid, signal.SIGCONT))
        later.start()

        postgres_server.start()

        later.join()
        assert rows(postgres_server.admin_url, "SELECT 1") == [(1,)]
    assert "pre-existing shared memory" not in postgres_server.log.read_text()


def test_a_restart_keeps_port_and_data(postgres_server: Postgres) -> None:
    url = postgres_server.create_database()
    rows(url, "CREATE TABLE kept (number int)")

    postgres_server.restart("immediate")

    assert rows(url, "SELECT number FROM kept") == []


def test_a_closed_server_leaves_nothing(tmp_path: Path) -> None:
    servers.need(postgres_bin)

    with Postgres(deadlock_timeout="50ms") as server:
        assert rows(server.admin_url, "SHOW deadlock_timeout") == [("50ms",)]
        pid = server.pid

    assert not server.directory.exists()
    assert not Path(f"/proc/{pid}").exists()
