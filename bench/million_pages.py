"""The pages and the HTTP API over a million sagas, asked in this process: their server time.

Guarantees: each is asked several times, and answers with 200; the worst counts.
Must not: open a port.
"""

from __future__ import annotations

import time
from statistics import median

import httpx

from amends.asgi import Person, web
from amends.operate.operations import operations
from amends.operate.values import Search
from amends.operate.web.access import Role

TIMES = 5
Row = tuple[str, float, float, float, str]


async def measured_pages(url: str) -> list[Row]:
    """The median and the worst of each, the processor time of this process, in milliseconds, and the size."""
    async with operations(url) as found:
        [one, *_] = (await found.search(Search(statuses=("parked",)), limit=1)).sagas
        [old] = (await found.search(Search(statuses=("completed",)), limit=1)).sagas
    pages = (
        "/",
        "/sagas",
        "/sagas?status=parked",
        f"/sagas?error={one.fingerprint}",
        "/sagas?saga=pay-out&status=completed",
        "/sagas?input=number%3D1003&status=parked",
        f"/sagas?key={old.id[:13]}",
        f"/sagas/{one.id}",
        f"/sagas/{old.id}",
        "/stuck",
        "/workers",
        "/bulk",
        "/definitions",
        "/definitions/pay-out",
    )
    api = ("overview", "groups", "sagas", "sagas?status=parked", f"sagas/{one.id}", "stuck", "workers")
    person = Person("bench", Role.ADMIN, payloads=True)
    app = web(url, authenticate=lambda request: person)
    rows: list[Row] = []
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client,
    ):
        for path in (*pages, *(f"/api/v1/{name}" for name in api)):
            spans: list[float] = []
            used = time.process_time()
            for _ in range(TIMES):
                begun = time.perf_counter()
                answer = await client.get(path)
                spans.append((time.perf_counter() - begun) * 1000)
                answer.raise_for_status()
            used = (time.process_time() - used) * 1000 / TIMES
            rows.append((path, median(spans), max(spans), used, f"{len(answer.content) // 1024} KiB"))
    return rows
