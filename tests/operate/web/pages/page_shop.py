"""A shop in memory whose pages are asked within the process, by somebody who has logged in as a browser does.

Guarantees: no socket, no file; one loop for all its requests.
Must not: know what a page should say.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack, contextmanager
from html import unescape
from typing import TypeVar

import httpx
from scene import Scene, scene

T = TypeVar("T")
ORIGIN = "http://localhost"
HTML = {"accept": "text/html"}


class Shop:
    """The shop. Everything is asked as somebody: admin, operator or viewer."""

    def __init__(self, runner: asyncio.Runner, made: Scene) -> None:
        self._runner = runner
        self.scene = made
        self.clients: dict[str, httpx.AsyncClient] = {}

    def wait(self, what: Awaitable[T]) -> T:
        """Have something done."""

        async def done() -> T:
            return await what

        return self._runner.run(done())

    def get(self, path: str, who: str = "admin") -> httpx.Response:
        """A page."""
        return self.wait(self.clients[who].get(path))

    def text(self, path: str, who: str = "admin") -> str:
        """What a person reads on a page."""
        found = self.get(path, who)
        assert found.status_code == 200, found.text
        return words_of(found)

    def version(self, id_: str) -> str:
        """That of a saga's history, as its page has it."""
        return field(self.get(f"/sagas/{id_}"), "version")

    def post(self, path: str, who: str = "admin", **fields: str) -> httpx.Response:
        """A form, with its token."""
        csrf = re.search(r'name="csrf" value="([^"]+)"', self.get("/workers", who).text)
        assert csrf is not None
        headers = {"origin": ORIGIN}
        return self.wait(self.clients[who].post(path, data={"csrf": csrf[1], **fields}, headers=headers))


def words_of(found: httpx.Response) -> str:
    """The text of a page without its markup, on one line."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", found.text)))


def field(found: httpx.Response, name: str) -> str:
    """The value of a hidden field."""
    value = re.search(rf'name="{name}" value="([^"]*)"', found.text)
    assert value is not None, found.text
    return unescape(value[1])


@contextmanager
def opened(*, full: bool) -> Iterator[Shop]:
    """A shop; with something of everything in it, or empty."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def enter() -> Shop:
            made = await stack.enter_async_context(scene("memory://"))
            shop = Shop(runner, made)
            for who, token in made.tokens.items():
                transport = httpx.ASGITransport(made.app)
                client = httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=HTML)
                shop.clients[who] = await stack.enter_async_context(client)
                answer = await client.post("/login", data={"token": token, "next": "/"}, headers={"origin": ORIGIN})
                assert answer.status_code == 303, answer.text
            if full:
                await made.fill()
                await made.settle()
            return shop

        try:
            yield runner.run(enter())
        finally:
            runner.run(stack.aclose())
