"""The pages of the list: each begins behind the one before, whatever becomes of its sagas."""

from __future__ import annotations

import asyncio
import re
from html import unescape

import pytest
from web_scene import Far, Job, asking, jobs


def older(page: str) -> str:
    """The link to the rows behind those of a page."""
    return next(unescape(link) for link in re.findall(r'href="([^"]+)"', page) if "before=" in link)


def test_the_next_page_is_had_though_the_saga_it_begins_behind_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amends.operate.web.pages.sagas.ROWS", 1)

    async def main() -> None:
        async with asking() as at:
            Far.down = False
            for id_ in ("job-1", "job-2", "job-3"):
                await at.orchestrator.run(jobs, Job(), id=id_)
            first = (await at.get("/sagas", accept="text/html")).text
            second = (await at.get(older(first), accept="text/html")).text
            await at.post("/api/v1/prune", {"older_than_seconds": 0, "dry_run": False}, "admin")
            after = await at.get(older(first), accept="text/html")

        shown = [re.search(r"job-\d", text) for text in (first, second)]
        assert len({found[0] for found in shown if found}) == 2
        assert (after.status_code, re.search(r"job-\d", after.text)) == (200, None)

    asyncio.run(main())
