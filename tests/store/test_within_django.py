"""`within=django.db.connection`: a saga that exists if and only if the block of `transaction.atomic()` commits."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import django
import psycopg
import pytest
from django.conf import settings
from django.db import connection, connections, transaction

from amends import Completed, Orchestrator, Saga, Settings, step, wait_for
from amends.errors import IdConflict, NotEnlisted, UnknownSaga
from amends.run.blocking import Blocking
from services.databases import Databases

PATIENCE_SECONDS = 60


@step(readonly=True)
async def double(value: int) -> int:
    return value * 2


doubles = Saga("doubles", double, input=int, output=double)
answer = wait_for("answer", str)
asks = Saga("asks", answer, input=int, output=answer)
Place = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def postgres(postgres_databases: Databases) -> Iterator[Place]:
    """A database with a table of the user's, as amends and as Django name it."""
    url = postgres_databases.create()
    with psycopg.connect(url) as made:
        made.execute("CREATE TABLE public.invoice (id text)")
    parts = urlsplit(url)
    names = {"NAME": parts.path[1:], "USER": parts.username, "PASSWORD": parts.password, "HOST": parts.hostname}
    yield url, {"ENGINE": "django.db.backends.postgresql", "PORT": parts.port, **names}
    postgres_databases.drop(url)


@pytest.fixture(params=["postgres", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """The same on either kind of database; Django's default one for as long as the test."""
    if request.param == "postgres":
        found: Place = request.getfixturevalue("postgres")
    else:
        with closing(sqlite3.connect(tmp_path / "shop.db")) as made:
            made.execute("CREATE TABLE invoice (id text)")
        options = {"transaction_mode": "IMMEDIATE", "timeout": PATIENCE_SECONDS}
        engine = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "shop.db", "OPTIONS": options}
        found = f"sqlite:///{tmp_path / 'shop.db'}", engine
    if not settings.configured:
        settings.configure(USE_TZ=True)
        django.setup()
    connections.databases["default"] = connections.configure_settings({"default": found[1]})["default"]
    yield found
    connections["default"].close()
    del connections["default"]
    del connections.databases["default"]


@pytest.fixture
def sagas(place: Place) -> Iterator[Blocking]:
    """An orchestrator that works in this process, in a namespace of its own."""
    name, limits = f"test-{token_hex(8)}", Settings(poll_seconds=0.1)
    made = Orchestrator(place[0], sagas=[doubles, asks], namespace=name, settings=limits, migrate=True)
    working = made.blocking(work=True)
    working.session()
    yield working
    working.close()


def invoice(name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO invoice VALUES (%s)", [name])


def invoices(name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM invoice WHERE id = %s", [name])
        return int(cursor.fetchone()[0])


class Stopped(Exception):
    """What a test's block of atomic() ends with."""


def test_the_saga_runs_once_the_block_commits(sagas: Blocking) -> None:
    name = token_hex(8)

    with transaction.atomic():
        invoice(name)
        handle = sagas.start(doubles, 21, id="a", within=connection)
        again = sagas.start(doubles, 21, id="a", within=connection)

    assert handle.outcome(timeout=PATIENCE_SECONDS) == Completed(42)
    assert again.outcome(timeout=PATIENCE_SECONDS) == Completed(42)
    assert invoices(name) == 1


def test_a_block_that_raises_leaves_neither(sagas: Blocking) -> None:
    name = token_hex(8)

    with suppress(Stopped), transaction.atomic():
        invoice(name)
        handle = sagas.start(doubles, 21, id="a", within=connection)
        raise Stopped

    with pytest.raises(UnknownSaga):
        handle.outcome(timeout=PATIENCE_SECONDS)
    assert invoices(name) == 0
    assert sagas.run(doubles, 4, id="a", timeout=PATIENCE_SECONDS) == Completed(8), "the id must be free"


def test_an_inner_block_that_raises_takes_its_saga_along(sagas: Blocking) -> None:
    with transaction.atomic():
        with suppress(Stopped), transaction.atomic():
            sagas.start(doubles, 1, id="gone", within=connection)
            raise Stopped
        kept = sagas.start(doubles, 2, id="kept", within=connection)

    assert kept.outcome(timeout=PATIENCE_SECONDS) == Completed(4)
    with pytest.raises(UnknownSaga):
        sagas.handle(doubles, "gone").outcome(timeout=PATIENCE_SECONDS)


def test_a_taken_id_is_told_and_the_block_goes_on(sagas: Blocking) -> None:
    sagas.run(doubles, 1, id="a", timeout=PATIENCE_SECONDS)
    name = token_hex(8)

    with transaction.atomic():
        with pytest.raises(IdConflict):
            sagas.start(doubles, 2, id="a", within=connection)
        invoice(name)

    assert invoices(name) == 1


def test_a_signal_counts_if_and_only_if_the_block_commits(sagas: Blocking) -> None:
    handle = sagas.start(asks, 1, id="a")

    with suppress(Stopped), transaction.atomic():
        sagas.signal("a", answer, "rolled back", within=connection)
        raise Stopped
    with transaction.atomic():
        sagas.signal("a", answer, "committed", within=connection)

    assert handle.outcome(timeout=PATIENCE_SECONDS) == Completed("committed")


def test_the_connection_itself_will_do_as_the_proxy_does(sagas: Blocking) -> None:
    with transaction.atomic():
        handle = sagas.start(doubles, 21, within=connections["default"])

    assert handle.outcome(timeout=PATIENCE_SECONDS) == Completed(42)


def test_outside_of_atomic_it_is_refused(sagas: Blocking) -> None:
    with pytest.raises(NotEnlisted, match=r"with transaction\.atomic\(\)"):
        sagas.start(doubles, 21, id="a", within=connection)

    with pytest.raises(UnknownSaga):
        sagas.handle(doubles, "a").outcome(timeout=PATIENCE_SECONDS)


def test_a_block_that_has_failed_is_refused(sagas: Blocking) -> None:
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(NotEnlisted, match="failed"):
            sagas.start(doubles, 21, within=connection)


def test_on_an_event_loop_it_says_how_to_do_it(sagas: Blocking) -> None:
    async def view() -> None:
        with pytest.raises(NotEnlisted, match="sync_to_async"):
            sagas.start(doubles, 21, within=connection)

    asyncio.run(view())


def test_the_worker_hears_of_the_commit_whenever_it_comes(sagas: Blocking, monkeypatch: pytest.MonkeyPatch) -> None:
    said = threading.Event()
    monkeypatch.setattr(sagas.session().store, "hint", lambda keys, *, work: said.set() if work else None)

    with transaction.atomic():
        sagas.start(doubles, 21, within=connection)
        assert not sagas.session()._hints_due, "nothing is said for luck"
        assert not said.is_set()

    assert said.wait(PATIENCE_SECONDS)


def test_the_worker_hears_nothing_of_a_rollback(sagas: Blocking) -> None:
    with suppress(Stopped), transaction.atomic():
        sagas.start(doubles, 21, within=connection)
        raise Stopped

    assert not connection.run_on_commit
    assert not sagas.session()._hints_due


def test_another_database_of_djangos_is_refused(sagas: Blocking, tmp_path: Path) -> None:
    engine = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "other.db"}
    connections.databases["other"] = connections.configure_settings({"default": engine})["default"]
    try:
        with transaction.atomic(using="other"), pytest.raises(NotEnlisted):
            sagas.start(doubles, 21, within=connections["other"])
    finally:
        connections["other"].close()
        del connections["other"]
        del connections.databases["other"]
