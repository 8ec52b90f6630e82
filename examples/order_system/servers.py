"""The servers that the system needs: started for it, or those that the environment names.

    ORDERS_DATABASE, INVENTORY_DATABASE, PAYMENT_DATABASE    all three, or a PostgreSQL is started
    BROKER_URL                                               or the broker is started

Guarantees: what is started here is gone at the end; what was given is never stopped or killed.
Must not: know what runs on them.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from services.broker import Broker
from services.postgres import Postgres
from services.up import BROKERS

NONE = "none"
KINDS = (*BROKERS, NONE)
SERVICES = ("orders", "inventory", "payment")
# How long a consumer may be silent before others get what it had in hand. The defaults are for production; the fault
# that stops a consumer is to last longer than that, and nobody wants to wait for half a minute.
SOON = {"kafka": "session_seconds=3", "nats": "claim_seconds=3", "redis": "claim_seconds=3"}


@dataclass(frozen=True)
class Servers:
    """databases: a URL for each service. broker: the one that may be killed, if it is ours. choreographed: nobody is
    in the middle."""

    databases: dict[str, str]
    broker_url: str | None
    broker: Broker | None = None
    choreographed: bool = False


def soon(kind: str, url: str) -> str:
    """The URL of a broker that does not wait long for a consumer that is silent."""
    return f"{url}?{SOON[kind]}" if kind in SOON and "?" not in url else url


@contextmanager
def servers(kind: str) -> Generator[Servers, None, None]:
    """All that is needed with a broker of this kind."""
    given = {name: os.environ[key] for name in SERVICES if (key := f"{name.upper()}_DATABASE") in os.environ}
    with ExitStack() as ends:
        if len(given) < len(SERVICES):
            postgres = ends.enter_context(Postgres())
            given = {name: postgres.create_database() for name in SERVICES}
        url = os.environ.get("BROKER_URL")
        if kind == NONE:
            yield Servers(given, None)
        elif url:
            yield Servers(given, url)
        else:
            broker = ends.enter_context(BROKERS[kind]())
            yield Servers(given, soon(kind, broker.url), broker)
