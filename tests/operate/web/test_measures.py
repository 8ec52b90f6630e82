"""`/metrics` of the dashboard, and the overview beside it: what waits for somebody by its trouble, and how far the
outbox of each service is behind."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
from web_scene import SAGAS, TOKENS, Job, access, asking, client_of, jobs

from amends import Orchestrator, Participant, Retry, Saga, Service
from amends.operate.web.app import web
from amends.operate.web.desks import Desks, Source


@dataclass(frozen=True)
class Ask:
    sku: str


reserve_stock = Service("inventory").command("reserve-stock", Ask, reply=str)


@reserve_stock.request(retry=Retry(attempts=1))
def ask_for_stock(order: Ask) -> Ask:
    return order


buy = Saga("buy", ask_for_stock, input=Ask)


async def home(service: str, path: Path, *, waiting: int) -> Participant:
    """A service that is not at work, and so many events in its outbox for an hour."""
    published = Service(service)
    sold = published.event("sold", Ask)
    participant = Participant(published, database=f"sqlite:///{path}", sagas=[buy])
    async with participant:
        pass  # its tables are there
    with closing(sqlite3.connect(path)) as connection:
        for _ in range(waiting):
            participant.publish(sold, Ask("tea"), within=connection)
        connection.execute("UPDATE amends_outbox SET at = at - 3600")
        connection.commit()
    return participant


async def told(source: Source | Desks, path: str = "/metrics") -> str:
    """What whoever asks is told."""
    async with client_of(web(source, access=access())) as client:
        headers = {"authorization": f"Bearer {TOKENS['viewer']}", "accept": "text/html"}
        found: httpx.Response = await client.get(path, headers=headers)
    assert found.status_code == 200, found.text
    return found.text


def number(text: str, series: str) -> float:
    """The value of one series."""
    return float(text.split(f"\n{series} ")[1].split("\n")[0])


def test_what_waits_for_somebody_is_counted_by_its_trouble_also_what_nobody_runs(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"

    async def main() -> str:
        async with Orchestrator(url, sagas=SAGAS) as orchestrator:
            await orchestrator.run(jobs, Job(), id="job-1")
        async with Orchestrator(url, sagas=SAGAS).client() as client:
            await client.start(jobs, Job(), id="job-2")
        return await told(url)

    text = asyncio.run(main())

    counted = re.findall(r'amends_sagas_stuck\{trouble="(\w+)"\} (\d+)', text)
    assert dict(counted) == {
        **dict.fromkeys(("stuck", "stalled", "slow", "waiting", "silent"), "0"),
        "parked": "1",
        "stranded": "1",
    }


def test_the_outbox_of_every_service_that_is_shown_is_told_with_its_name(tmp_path: Path) -> None:
    async def main() -> tuple[str, str]:
        homes = [await home("orders", tmp_path / "o.db", waiting=2), await home("trips", tmp_path / "t.db", waiting=0)]
        async with Orchestrator("memory://", sagas=SAGAS) as orchestrator:
            desks = Desks(orchestrator, homes)
            return await told(desks), await told(desks, "/")

    metrics, page = asyncio.run(main())

    assert number(metrics, 'amends_outbox_waiting{service="orders"}') == 2
    assert 3600 <= number(metrics, 'amends_outbox_lag_seconds{service="orders"}') < 3700
    assert number(metrics, 'amends_outbox_waiting{service="trips"}') == 0
    assert number(metrics, "amends_store_up") == 1
    words = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert re.search(r"Outbox of orders 2 messages, the oldest for 1 h .*Outbox of trips empty", words)


def test_a_service_whose_database_is_away_hides_no_other(tmp_path: Path) -> None:
    async def main() -> tuple[str, str]:
        homes = [await home("orders", tmp_path / "o.db", waiting=1), await home("trips", tmp_path / "t.db", waiting=0)]
        (tmp_path / "t.db").unlink()
        async with Orchestrator("memory://", sagas=SAGAS) as orchestrator:
            desks = Desks(orchestrator, homes)
            return await told(desks), await told(desks, "/")

    metrics, page = asyncio.run(main())

    assert number(metrics, 'amends_outbox_waiting{service="orders"}') == 1
    assert 'service="trips"' not in metrics
    assert "its database does not answer" in page


def test_the_home_of_choreographed_sagas_alone_has_its_own_outbox(tmp_path: Path) -> None:
    async def main() -> str:
        return await told(await home("orders", tmp_path / "orders.db", waiting=1))

    assert number(asyncio.run(main()), 'amends_outbox_waiting{service="orders"}') == 1


def test_where_no_service_is_shown_no_outbox_is_told_of() -> None:
    async def main() -> tuple[str, str]:
        async with asking() as asked:
            page = await asked.get("/", "viewer", accept="text/html")
            return (await asked.get("/metrics", "viewer")).text, page.text

    metrics, page = asyncio.run(main())

    assert "\namends_outbox" not in metrics
    assert "Outbox" not in page
