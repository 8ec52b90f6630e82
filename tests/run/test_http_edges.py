"""What an endpoint with an idempotency key answers where something is unusual: equal requests that are written
differently, services that share a database, a process that goes, keys that are forgotten."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from amends import Park, Participant, Service, Settings
from amends.define.contract import Command
from amends.http import accepted, idempotency


@dataclass(frozen=True)
class Book:
    seats: frozenset[int]


def service(name: str) -> tuple[Service, Command[Book, str]]:
    """A service that books seats."""
    made = Service(name)
    return made, made.command("book", Book, reply=str)


class Booking:
    """A service with a web application, in plain Starlette, and what its handlers did. hold: they wait for it."""

    def __init__(self, path: Path, name: str = "cinema", **settings: Any) -> None:
        contract, self.command = service(name)
        self.done: list[str] = []
        self.started = asyncio.Event()
        self.hold = asyncio.Event()
        self.hold.set()
        self.app = Participant(contract, database=f"sqlite:///{path}", settings=Settings(**settings))
        self._register()
        self.once = idempotency(self.app)
        routes = [Route("/book", self._post, methods=["POST"]), Route("/undo", self._undo, methods=["POST"])]
        transport = httpx.ASGITransport(app=Starlette(routes=routes))
        self.client = httpx.AsyncClient(transport=transport, base_url=f"http://{name}")

    def _register(self) -> None:
        @self.app.handles(self.command)
        async def book(command: Book) -> str:
            self.started.set()
            await self.hold.wait()
            self.done.append("book")
            return self.command.service.name

        @self.app.compensates(self.command)
        async def free(command: Book, reply: str) -> None:
            self.done.append("free")

    async def _post(self, request: Request) -> Response:
        once = await self.once(request)
        return await once(self.command, Book(frozenset(await request.json())))

    async def _undo(self, request: Request) -> Response:
        once = await self.once(request)
        return await once.undo(self.command)

    async def book(self, key: str, seats: list[int]) -> httpx.Response:
        """Ask for seats."""
        return await self.client.post("/book", json=seats, headers={"Idempotency-Key": key})

    async def undo(self, key: str) -> httpx.Response:
        """Ask for the undo."""
        return await self.client.post("/undo", headers={"Idempotency-Key": key})


@asynccontextmanager
async def at_work(booking: Booking) -> AsyncIterator[Booking]:
    """It works, and its client is there."""
    async with booking.client, booking.app:
        yield booking


def namespaces(path: Path) -> list[str]:
    """Of what the inbox remembers."""
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT ns FROM amends_inbox")]


def test_a_request_that_is_equal_is_the_same_however_it_is_written(tmp_path: Path) -> None:
    async def main() -> None:
        async with at_work(Booking(tmp_path / "cinema.db")) as booking:
            assert list(frozenset([0, 8])) != list(frozenset([8, 0]))  # equal sets, written in another order

            first, again = await booking.book("k", [0, 8]), await booking.book("k", [8, 0])

            assert (first.status_code, again.status_code) == (200, 200)
            assert booking.done == ["book"]

    asyncio.run(main())


def test_a_key_with_another_request_is_for_a_person_to_look_at(tmp_path: Path) -> None:
    async def main() -> None:
        async with at_work(Booking(tmp_path / "cinema.db")) as booking:
            await booking.book("k", [1])

            with pytest.raises(Park, match="another request"):
                accepted(await booking.book("k", [2]))

    asyncio.run(main())


def test_services_that_share_a_database_do_not_take_each_others_keys(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "both.db"
        async with at_work(Booking(path)) as cinema, at_work(Booking(path, "theatre")) as theatre:
            assert (await cinema.book("k", [1])).json() == "cinema"
            assert (await theatre.book("k", [1])).json() == "theatre"
            assert (cinema.done, theatre.done) == (["book"], ["book"])

    asyncio.run(main())


def test_a_request_that_is_larger_than_the_service_keeps_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    async def main() -> None:
        async with at_work(Booking(tmp_path / "cinema.db", payload_bytes=50)) as booking:
            small, large = await booking.book("k", [1]), await booking.book("m", list(range(100)))

            assert (small.status_code, large.status_code) == (200, 422)
            assert "Amends-Outcome" not in large.headers
            assert booking.done == ["book"]

    asyncio.run(main())


def test_a_service_that_is_not_at_work_says_that_nothing_was_done(tmp_path: Path) -> None:
    async def main() -> None:
        booking = Booking(tmp_path / "cinema.db")
        async with booking.client:
            answered = await booking.book("k", [1])

        assert (answered.status_code, answered.headers["Amends-Outcome"]) == (503, "failed")
        assert "not running" in answered.json()["reason"]

    asyncio.run(main())


def test_an_application_on_another_loop_than_its_participant_is_told_so(tmp_path: Path) -> None:
    booking = Booking(tmp_path / "cinema.db")
    ready, over = threading.Event(), threading.Event()

    async def work() -> None:
        async with booking.app:
            ready.set()
            await asyncio.to_thread(over.wait)

    async def ask() -> httpx.Response:
        async with booking.client:
            return await booking.book("k", [1])

    elsewhere = threading.Thread(target=lambda: asyncio.run(work()))
    elsewhere.start()
    try:
        assert ready.wait(60)
        answered = asyncio.run(ask())
    finally:
        over.set()
        elsewhere.join(60)

    assert answered.status_code == 503
    assert "another event loop" in answered.json()["reason"]


def test_a_request_that_is_at_work_when_its_process_goes_says_that_nothing_was_done(tmp_path: Path) -> None:
    async def main() -> None:
        booking = Booking(tmp_path / "cinema.db", drain_seconds=0.01)
        booking.hold.clear()
        async with booking.client:
            async with booking.app:
                asked = asyncio.ensure_future(booking.book("k", [1]))
                await booking.started.wait()
            answered = await asked

        assert (answered.status_code, answered.headers["Amends-Outcome"]) == (503, "failed")
        assert booking.done == []

    asyncio.run(main())


def test_a_request_whose_asker_is_gone_is_done_once_all_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        async with at_work(Booking(tmp_path / "cinema.db")) as booking:
            booking.hold.clear()
            asked = asyncio.ensure_future(booking.book("k", [1]))
            await booking.started.wait()
            asked.cancel()
            await asyncio.wait([asked])
            booking.hold.set()

            again = await booking.book("k", [1])

            assert again.json() == "cinema"
            assert booking.done == ["book"]

    asyncio.run(main())


def test_keys_are_kept_for_good_unless_they_are_to_be_forgotten(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "cinema.db"
        async with at_work(Booking(path, inbox_horizon_seconds=1.0)) as booking:
            assert (await booking.book("kept", [1])).status_code == 200
            booking.once = idempotency(booking.app, namespace="passing", forgets=True)
            assert (await booking.book("passing", [1])).status_code == 200
            assert sorted(namespaces(path)) == ["http", "passing"]
            async with asyncio.timeout(60):
                while not await booking.app.session.clean():
                    await asyncio.sleep(0.05)

            assert namespaces(path) == ["http"]

    asyncio.run(main())
