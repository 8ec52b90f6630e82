"""Choreographed sagas on the pages of a watcher: all is seen, and nothing can be done but at their home."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from page_shop import HTML, ORIGIN, words_of
from travels import Ground, Order, Town, orders, place_order
from web_scene import TOKENS, access, client_of

from amends import Park, Settings, Watcher
from amends.operate.operations import operations
from amends.operate.web.app import web
from amends.run import homes, hops, outbox

ABOUT = {"accept": HTML["accept"], "authorization": f"Bearer {TOKENS['admin']}", "origin": ORIGIN}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long."""
    for module in (hops, homes, outbox):
        monkeypatch.setattr(module, "SWEEP_SECONDS", 0.1)
    monkeypatch.setattr(outbox, "GRACE_SECONDS", 0.2)


def watcher_in(path: Path) -> Watcher:
    """A watcher of what the orders start."""
    url = f"sqlite:///{path}/watched.db"
    return Watcher(url, homes=[orders], sagas=[place_order], settings=Settings(lease_seconds=0.6), migrate=True)


def locked(what: str, order: str) -> None:
    """Nothing that was reserved comes back."""
    if what == "release":
        raise Park("the shelf is locked")


@asynccontextmanager
async def watched(path: Path) -> AsyncGenerator[httpx.AsyncClient, None]:
    """A client of a watcher's dashboard, which has heard of one saga that is parked."""
    town, watcher = Town(Ground(path), locked), watcher_in(path)
    async with watcher, town.open():
        await watcher.session.listening()
        town.start(Order("o-1", 5000))
        async with operations(watcher.config) as found:
            while not (await found.find(statuses=["parked"])).sagas:
                await asyncio.sleep(0.02)
        async with client_of(web(watcher, access=access())) as client:
            client.headers.update(ABOUT)
            yield client


def test_every_page_of_a_watcher_tells_what_was_heard(tmp_path: Path) -> None:
    says = {
        "/": "1 saga waits for somebody",
        "/sagas": "o-1",
        "/sagas/o-1": "choreographed, home orders",
        "/stuck": "the undo of reserve: the shelf is locked",
        "/workers": "1 worker is alive",
        "/definitions": "place-order",
        "/definitions/place-order": "inventory.ship-goods",
        "/bulk": "None yet",
    }

    async def main() -> dict[str, httpx.Response]:
        async with watched(tmp_path) as client:
            return {path: await client.get(path) for path in says}

    for path, found in asyncio.run(main()).items():
        assert found.status_code == 200, words_of(found)
        assert says[path] in words_of(found), path


def test_what_is_only_watched_is_acted_on_at_its_home(tmp_path: Path) -> None:
    async def main() -> tuple[httpx.Response, httpx.Response]:
        async with watched(tmp_path) as client:
            page = await client.get("/sagas/o-1")
            act = {"verb": "compensate", "reason": "why not", "version": "1", "message": "one"}
            return page, await client.post("/sagas/o-1/act", data=act)

    page, acted = asyncio.run(main())

    assert "It is only watched here. Act at its home, the service orders." in words_of(page)
    assert "/act?" not in page.text
    assert "Keep the note" not in page.text
    assert acted.status_code == 409
    assert "Act at its home, the service orders" in words_of(acted)


def test_where_no_watcher_is_alive_it_is_not_said_that_nothing_moves(tmp_path: Path) -> None:
    async def main() -> httpx.Response:
        town = Town(Ground(tmp_path))
        async with watcher_in(tmp_path) as watcher, town.open("orders"):
            await watcher.session.listening()
            town.start(Order("o-1", 100))
            async with operations(watcher.config) as found:
                while not (await found.find()).sagas:
                    await asyncio.sleep(0.02)
        async with client_of(web(watcher_in(tmp_path), access=access())) as client:
            return await client.get("/", headers=ABOUT)

    told = words_of(asyncio.run(main()))

    assert "No watcher is alive: sagas go on, and nothing is heard of them" in told
    assert "Nothing moves" not in told
