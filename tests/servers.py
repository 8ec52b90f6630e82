"""Fixtures for real servers. `tests/conftest.py` hands them to every test.

- `postgres_url`: the URL of a fresh, empty database, on one server that the whole run shares.
- `postgres_databases`: makes such databases, for tests that want several.
- `postgres_of_version`: a server of the oldest and of the newest version, one after the other.
- `postgres_server`: a private server for tests that stop, kill or configure it.
- `pgbouncer_url`: a fresh database through PgBouncer in transaction mode; `pgbouncer` is that PgBouncer.
- `rabbitmq_url`, `nats_url`, `redis_url`, `kafka_url`: one broker of each that the whole run shares; tests keep
  apart by `broker_prefix`, a name that no other test has.
- `rabbitmq_server`, `nats_server`, `redis_server`, `kafka_server`: a private broker for tests that stop, kill, pause
  or wipe it.

With AMENDS_TEST_POSTGRES=postgresql://… (a superuser's URL) the shared server is that one; AMENDS_TEST_RABBITMQ,
AMENDS_TEST_NATS, AMENDS_TEST_REDIS and AMENDS_TEST_KAFKA do the same for the brokers.

Guarantees: a missing server skips the test and says what to do, and fails it where AMENDS_REQUIRE_SERVICES is set.
Must not: leave a server or a database behind.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.broker import Broker
from services.databases import Databases
from services.found import ServiceMissing, pgbouncer_program, postgres_bin
from services.kafka import Kafka
from services.nats import Nats
from services.pgbouncer import Pgbouncer
from services.postgres import Postgres
from services.rabbitmq import Rabbitmq
from services.redis import Redis
from services.shared import shared_broker, shared_postgres
from services.versions import VERSIONS, version_bin


def need(find: Callable[[], Path]) -> None:
    """Without the program: skip for a person, with the way out; fail where all services were promised."""
    try:
        find()
    except ServiceMissing as missing:
        if os.environ.get("AMENDS_REQUIRE_SERVICES"):
            pytest.fail(f"AMENDS_REQUIRE_SERVICES is set, and {missing}", pytrace=False)
        pytest.skip(f"NOT TESTED: {missing}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it where nobody overlooks it: what was not tested, and what would change that."""
    skipped = [report.longrepr for report in terminalreporter.stats.get("skipped", [])]
    reasons = Counter(str(told[2]) for told in skipped if isinstance(told, tuple) and "NOT TESTED" in str(told[2]))
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count} tests {reason.removeprefix('Skipped: ')}", yellow=True, bold=True)


@pytest.fixture(scope="session")
def postgres_databases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Makes fresh databases on the server that all processes of this run share."""
    given = os.environ.get("AMENDS_TEST_POSTGRES")
    if given:
        yield Databases(given)
        return
    need(postgres_bin)
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
    need(postgres_bin)
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session", params=VERSIONS)
def postgres_of_version(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """A running server of each version that is tested beside the machine's: the oldest and the newest."""
    version: int = request.param
    need(lambda: version_bin(version))
    with Postgres(version_bin(version)) as server:
        yield server


@pytest.fixture(scope="session")
def pgbouncer(postgres_databases: Databases) -> Iterator[Pgbouncer]:
    """A PgBouncer in transaction mode before the server of the run."""
    need(pgbouncer_program)
    with Pgbouncer(postgres_databases.admin_url) as bouncer:
        yield bouncer


@pytest.fixture
def pgbouncer_url(pgbouncer: Pgbouncer, postgres_url: str) -> str:
    """The URL through PgBouncer of the fresh database that `postgres_url` reaches directly."""
    return pgbouncer.url(postgres_url)


@pytest.fixture
def broker_prefix() -> str:
    """What the names of a test's queues and topics begin with on a broker that others use at the same time."""
    return f"t{secrets.token_hex(4)}"


@pytest.fixture(scope="session")
def rabbitmq_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the RabbitMQ that all processes of this run share."""
    yield from _shared_url(request, tmp_path_factory, Rabbitmq)


@pytest.fixture(scope="session")
def nats_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the NATS server that all processes of this run share."""
    yield from _shared_url(request, tmp_path_factory, Nats)


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the Redis that all processes of this run share."""
    yield from _shared_url(request, tmp_path_factory, Redis)


@pytest.fixture(scope="session")
def kafka_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the Kafka that all processes of this run share."""
    yield from _shared_url(request, tmp_path_factory, Kafka)


@pytest.fixture
def rabbitmq_server() -> Iterator[Rabbitmq]:
    """A private RabbitMQ, running."""
    need(Rabbitmq.find)
    with Rabbitmq() as broker:
        yield broker


@pytest.fixture
def nats_server() -> Iterator[Nats]:
    """A private NATS server, running."""
    need(Nats.find)
    with Nats() as broker:
        yield broker


@pytest.fixture
def redis_server() -> Iterator[Redis]:
    """A private Redis, running."""
    need(Redis.find)
    with Redis() as broker:
        yield broker


@pytest.fixture
def kafka_server() -> Iterator[Kafka]:
    """A private Kafka, running."""
    need(Kafka.find)
    with Kafka() as broker:
        yield broker


def _shared_url(request: pytest.FixtureRequest, factory: pytest.TempPathFactory, kind: type[Broker]) -> Iterator[str]:
    """The URL of the broker that was given, or of the one that the processes of this run share."""
    given = os.environ.get(f"AMENDS_TEST_{kind.name.upper()}")
    if given:
        yield given
        return
    need(kind.find)
    with shared_broker(_place_of_the_run(request, factory), kind) as url:
        yield url


def _place_of_the_run(request: pytest.FixtureRequest, factory: pytest.TempPathFactory) -> Path:
    """A directory that the workers of one run share, and no other run."""
    base = factory.getbasetemp()
    return base.parent if hasattr(request.config, "workerinput") else base
