"""The order system over each broker and over none: all is broken once, and then all money is where it should be.

AMENDS_ORDER_SYSTEM=all: over each broker in both styles, as `make soak` has it; else in one of them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from order_system.servers import SERVICES, Servers, soon
from order_system.story import Report, Size, run

from services.broker import Broker
from services.databases import Databases

SMALL = Size(orders=10, rate=8.0)
BROKERS = ("kafka", "rabbitmq", "nats", "redis")
STYLES = ("orchestrated", "choreographed")
EACH = [(kind, style) for kind in BROKERS for style in STYLES]
SOME = [("kafka", "orchestrated"), ("rabbitmq", "choreographed"), ("nats", "orchestrated"), ("redis", "choreographed")]
FAULTS_WITHOUT = {"orchestrated": 6, "choreographed": 5}  # two processes or one, a pause, three databases
FAULTS_WITH = 9  # four processes, the broker, a pause, three databases


@pytest.fixture
def databases(postgres_databases: Databases) -> Iterator[dict[str, str]]:
    made = {name: postgres_databases.create() for name in SERVICES}
    yield made
    for url in made.values():
        postgres_databases.drop(url)


def told(servers: Servers, directory: Path) -> Report:
    """The whole story, and what to look at if it went wrong."""
    report = asyncio.run(run(servers, SMALL, directory, tell=lambda _: None))
    if report.troubles:
        logs = [f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in sorted(directory.glob("*.log"))]
        pytest.fail("\n".join([*(f"{order}: {what}" for order, what in report.troubles), *report.shown, *logs]))
    return report


def check_the_story(report: Report, faults: int) -> None:
    assert len(report.faults) == faults
    assert all(moving > 0 for _, moving in report.faults)
    assert set(report.statuses) == {"completed", "compensated"}
    assert report.totals is not None
    assert report.totals.worth > 0
    assert report.totals.refunded > 0


@pytest.mark.parametrize(("kind", "style"), EACH if os.environ.get("AMENDS_ORDER_SYSTEM") == "all" else SOME)
def test_it_balances_after_all_faults_over(
    kind: str, style: str, request: pytest.FixtureRequest, databases: dict[str, str], tmp_path: Path
) -> None:
    broker: Broker = request.getfixturevalue(f"{kind}_server")

    given = Servers(databases, soon(kind, broker.url), broker, choreographed=style == "choreographed")
    report = told(given, tmp_path)

    check_the_story(report, FAULTS_WITH)
    assert all(report.lives[name] > 1 for name in ("web", *SERVICES))


@pytest.mark.parametrize("style", STYLES)
def test_it_balances_after_all_faults_in_one_process_without_a_broker(
    style: str, databases: dict[str, str], tmp_path: Path
) -> None:
    report = told(Servers(databases, None, choreographed=style == "choreographed"), tmp_path)

    check_the_story(report, FAULTS_WITHOUT[style])
    assert report.lives["everything" if style == "orchestrated" else "web"] > 1
