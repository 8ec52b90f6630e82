"""Fixtures for real servers. `tests/conftest.py` hands them to every test.

- `postgres_url`: the URL of a fresh, empty database, on one server that the whole run shares.
- `postgres_databases`: makes such databases, for tests that want several.
- `postgres_server`: a private server for tests that stop, kill or configure it.

With AMENDS_TEST_POSTGRES=postgresql://… (a superuser's URL) the shared server is that one.

Guarantees: a missing server skips the test and says what to do, and fails it where AMENDS_REQUIRE_SERVICES is set.
Must not: leave a server or a database behind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.databases import Databases
from services.found import ServiceMissing, postgres_bin
from services.postgres import Postgres
from services.shared import shared_postgres


def need(missing: ServiceMissing) -> None:
    """Skip for a person, with the way out; fail where all services were promised."""
    if os.environ.get("AMENDS_REQUIRE_SERVICES"):
        pytest.fail(f"AMENDS_REQUIRE_SERVICES is set, and {missing}", pytrace=False)
    pytest.skip(str(missing))


@pytest.fixture(scope="session")
def postgres_databases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Makes fresh databases on the server that all processes of this run share."""
    given = os.environ.get("AMENDS_TEST_POSTGRES")
    if given:
        yield Databases(given)
        return
    _need_postgres()
    with shared_postgres(_place_of_the_run(request, tmp_path_factory)) as databases:
        yield databases


@pytest.fixture
def postgres_url(postgres_databases: Databases) -> Iterator[str]:
    """The URL of a fresh, empty database."""
    url = postgres_databases.create()
    yield url
    postgres_databases.drop(url)


@pytest.fixture
def postgres_server() -> Iterator[Postgres]:
    """A private server, running, that the test may stop, kill and start."""
    _need_postgres()
    with Postgres() as server:
        yield server


def _need_postgres() -> None:
    try:
        postgres_bin()
    except ServiceMissing as missing:
        need(missing)


def _place_of_the_run(request: pytest.FixtureRequest, factory: pytest.TempPathFactory) -> Path:
    """A directory that the workers of one run share, and no other run."""
    base = factory.getbasetemp()
    return base.parent if hasattr(request.config, "workerinput") else base
