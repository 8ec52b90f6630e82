"""Servers by name, started together, for `python -m services up`.

Guarantees: all of them run, or none is left; the order is that of the names.
Must not: start one that was not asked for, but the PostgreSQL that a PgBouncer stands before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from services.broker import Broker
from services.kafka import Kafka
from services.nats import Nats
from services.pgbouncer import Pgbouncer
from services.postgres import Postgres
from services.rabbitmq import Rabbitmq
from services.redis import Redis

BROKERS: dict[str, type[Broker]] = {"rabbitmq": Rabbitmq, "nats": Nats, "redis": Redis, "kafka": Kafka}


@dataclass(frozen=True)
class Running:
    """A server that runs. variable: what makes tests use it."""

    name: str
    way_in: str
    log: Path
    variable: str = ""


@contextlib.contextmanager
def started(names: Sequence[str]) -> Iterator[list[Running]]:
    """The servers of these names, for as long as they are wanted."""
    with contextlib.ExitStack() as ends, ThreadPoolExecutor() as pool:
        running: list[Running] = []
        brokers = [BROKERS[name]() for name in BROKERS if name in names]
        for broker in brokers:
            ends.callback(broker.close)
        starts = [pool.submit(broker.start) for broker in brokers]
        if {"postgres", "pgbouncer"} & set(names):
            postgres = ends.enter_context(Postgres())
            running.append(Running(postgres.name, postgres.admin_url, postgres.log, "AMENDS_TEST_POSTGRES"))
            if "pgbouncer" in names:
                bouncer = ends.enter_context(Pgbouncer(postgres.admin_url))
                running.append(Running(bouncer.name, bouncer.url(postgres.admin_url), bouncer.log))
        for start in starts:
            start.result()
        running += [Running(one.name, one.url, one.log, f"AMENDS_TEST_{one.name.upper()}") for one in brokers]
        yield running
