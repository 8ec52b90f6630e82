"""What the chaos of services does to processes, brokers and databases while messages go over unreliable networks.

Guarantees: each fault writes itself into the fault log with how many sagas were in flight; what it takes away comes
back, at once or by `Yard.later`.
Must not: look at what comes of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from services_shop import HANDLER_SECONDS, LEASE_SECONDS, SERVICES
from services_yard import Yard

Fault = Callable[[Yard], None]
TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY random() LIMIT 2
"""
SERVICE_POINTS = {
    "orchestrated": ("tx.before", "tx.after", "reply.after", "send.before", "send.after"),
    "choreographed": ("tx.before", "tx.after", "hop.before", "hop.after", "send.before", "send.after", "publish.after"),
}
RARELY_PASSED = {"hop.before": 3, "hop.after": 3}  # so often at most, where others are passed fifteen times
SETTLED_SECONDS, SETTLING_SECONDS = 1.5, 5.0
DOWN_SECONDS = (2.0, 4.0)  # from, to
ORCHESTRATOR_POINTS = ("commit.before", "commit.after", "send.before", "send.after", "reply.written", "mail.after")


def kill_a_service(yard: Yard) -> None:
    """At any instant."""
    yard.note("kill -9 of a participant, at any instant")
    yard.dice.choice(yard.services).kill()


def kill_a_service_at_a_point(yard: Yard) -> None:
    """Its next life ends before or after a commit, or with a reply on its way."""
    unit = yard.dice.choice(yard.services)
    point = yard.dice.choice(SERVICE_POINTS[yard.style])
    unit.fault = f"{point}:{yard.dice.randrange(1, RARELY_PASSED.get(point, 15))}"
    yard.note("kill -9 of a participant, at a fault point", unit.fault)
    unit.kill()


def kill_an_orchestrator(yard: Yard) -> None:
    """At any instant; its sagas are taken over."""
    yard.note("kill -9 of an orchestrator, at any instant")
    yard.dice.choice(yard.orchestrators).kill()


def kill_an_orchestrator_at_a_point(yard: Yard) -> None:
    """Its next life ends at one."""
    unit = yard.dice.choice(yard.orchestrators)
    unit.fault = f"{yard.dice.choice(ORCHESTRATOR_POINTS)}:{yard.dice.randrange(1, 30)}"
    yard.note("kill -9 of an orchestrator, at a fault point", unit.fault)
    unit.kill()


def freeze_a_service(yard: Yard) -> None:
    """Past its claims, its session, and the time of its transactions."""
    yard.note("SIGSTOP of a participant past its claims, then SIGCONT")
    yard.freeze(yard.dice.choice(yard.services), HANDLER_SECONDS + yard.dice.uniform(0.5, 2.0))


def freeze_an_orchestrator(yard: Yard) -> None:
    """Past its lease."""
    yard.note("SIGSTOP of an orchestrator past its lease, then SIGCONT")
    yard.freeze(yard.dice.choice(yard.orchestrators), LEASE_SECONDS + yard.dice.uniform(1.0, 2.0))


def ask_to_stop(yard: Yard) -> None:
    """As a deploy does."""
    yard.note("SIGTERM of a process")
    yard.dice.choice(yard.units).terminate()


def kill_the_broker(yard: Yard) -> None:
    """kill -9, some time without it, and a start."""
    yard.note("the broker killed with -9, and started")
    _let_queues_settle(yard)
    yard.broker.kill()
    yard.rest(yard.dice.choice((0.0, 1.0, 2.0)))
    yard.broker.start()


def _let_queues_settle(yard: Yard) -> None:
    """RabbitMQ 3.10 writes down late which queues there are. A quorum queue that is killed within half a second of
    being made may come back without a leader, and confirms nothing to anybody (rabbitmq-server 10070, 15725)."""
    if yard.broker.name == "RabbitMQ":
        until = time.monotonic() + SETTLING_SECONDS
        while time.monotonic() < until and time.time() - _newest(yard.broker.data) < SETTLED_SECONDS:
            yard.rest(0.1)


def _newest(data: Path) -> float:
    """When its newest queue was made."""
    return max((path.stat().st_ctime for path in data.glob("*/quorum/*/*") if path.is_dir()), default=0.0)


def wipe_the_broker(yard: Yard) -> None:
    """All that it kept is gone."""
    yard.note("the broker killed with -9, its data wiped, and started")
    yard.broker.kill()
    yard.broker.wipe()
    yard.broker.start()


def pause_the_broker(yard: Yard) -> None:
    """Every connection stays open, and nothing comes through."""
    yard.note("SIGSTOP of the broker, then SIGCONT")
    yard.broker.pause()
    yard.rest(yard.dice.uniform(1.0, 3.0))
    yard.broker.resume()


def terminate_sessions(yard: Yard) -> None:
    """Of anybody, on the database of anybody."""
    yard.note("pg_terminate_backend of sessions, in a loop")
    for _ in range(6):
        url = yard.dice.choice(list(yard.databases.values()))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(TERMINATE)
        yard.rest(0.1)


def take_two_services_down(yard: Yard) -> None:
    """All processes of both, for some seconds."""
    yard.note("two services down at once, with all their processes")
    until = time.monotonic() + yard.dice.uniform(*DOWN_SECONDS)
    for service in yard.dice.sample(("orders", *SERVICES), 2):
        for unit in yard.processes_of(service):
            unit.not_before = until
            unit.kill()
    yard.rest(until - time.monotonic())


def kill_the_watcher(yard: Yard) -> None:
    """At any instant."""
    yard.note("kill -9 of the watcher, at any instant")
    yard.watcher.kill()


def wipe_the_watcher(yard: Yard) -> None:
    """All that it kept is gone, and it begins anew."""
    yard.note("the watcher killed with -9, its store wiped, and started")
    yard.watcher.kill()
    with psycopg.connect(yard.databases["watcher"], autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS amends CASCADE")


ON_ANY_STYLE: tuple[Fault, ...] = (
    kill_a_service,
    kill_a_service_at_a_point,
    kill_a_service_at_a_point,
    freeze_a_service,
    ask_to_stop,
    kill_the_broker,
    wipe_the_broker,
    pause_the_broker,
    terminate_sessions,
)
FAULTS: dict[str, tuple[Fault, ...]] = {
    "orchestrated": (
        *ON_ANY_STYLE,
        kill_an_orchestrator,
        kill_an_orchestrator_at_a_point,
        freeze_an_orchestrator,
    ),
    "choreographed": (
        *ON_ANY_STYLE,
        take_two_services_down,
        kill_the_watcher,
        wipe_the_watcher,
    ),
}
KINDS = {style: len(set(faults)) for style, faults in FAULTS.items()}
