"""A dashboard over an orchestrator at work in memory, asked within the process.

Guarantees: no socket, no file; what is entered is left.
Must not: know what an answer should be.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.applications import Starlette

from amends import Orchestrator, Park, Saga, Settings, step, wait_for
from amends.operate.web.access import Access, Person, Role, Token
from amends.operate.web.app import web
from amends.operate.web.context import Limits

ORIGIN = "http://localhost"
TOKENS = {name: f"{name}-{'x' * 30}" for name in ("viewer", "reader", "operator", "admin")}
PEOPLE = {
    "viewer": Person("vera", Role.VIEWER),
    "reader": Person("rea", Role.VIEWER, payloads=True),
    "operator": Person("ola", Role.OPERATOR, payloads=True),
    "admin": Person("ada", Role.ADMIN, payloads=True),
}


@dataclass(frozen=True)
class Job:
    size: int = 1
    name: str = "plain"


@dataclass(frozen=True)
class Approval:
    yes: bool


class Far:
    """Whether the far side is there."""

    down = True


@step
async def work(job: Job) -> int:
    if Far.down:
        raise Park("the far side is down")
    return job.size


@work.compensation
async def undo_work() -> None: ...


jobs = Saga("jobs", work, input=Job, output=work)
approval = wait_for("approval", Approval)
asks = Saga("asks", approval, input=Job)
SAGAS = [jobs, asks]


class Asking:
    """What a test asks with. who: whose token goes along; empty for nobody's."""

    def __init__(self, app: Starlette, orchestrator: Orchestrator, client: httpx.AsyncClient) -> None:
        self.app = app
        self.orchestrator = orchestrator
        self.client = client

    async def get(self, path: str, who: str = "admin", **headers: str) -> httpx.Response:
        """A request that reads."""
        return await self.ask("GET", path, who, **headers)

    async def post(self, path: str, data: Any = None, who: str = "operator", **headers: str) -> httpx.Response:
        """A request that acts, with JSON."""
        return await self.ask("POST", path, who, {} if data is None else data, **headers)

    async def ask(self, method: str, path: str, who: str, data: Any = None, **headers: str) -> httpx.Response:
        """Any request."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if who:
            named.setdefault("authorization", f"Bearer {TOKENS[who]}")
        return await self.client.request(method, path, json=data, headers=named)

    async def parked(self, id_: str) -> None:
        """A saga that a person has to see to."""
        await self.orchestrator.run(jobs, Job(), id=id_)


def access() -> Access:
    """Everybody's tokens."""
    return Access([Token.of(text, PEOPLE[name]) for name, text in TOKENS.items()])


@asynccontextmanager
async def asking(
    *, given: Access | None = None, limits: Limits | None = None, settings: Mapping[str, Any] | None = None, **more: Any
) -> AsyncGenerator[Asking, None]:
    """The scene."""
    Far.down = True
    orchestrator = Orchestrator("memory://", sagas=SAGAS, settings=Settings(**(settings or {})))
    app = web(orchestrator, access=given or access(), limits=limits, **more)
    async with orchestrator, client_of(app) as client:
        yield Asking(app, orchestrator, client)


@asynccontextmanager
async def client_of(app: Any, **more: Any) -> AsyncGenerator[httpx.AsyncClient, None]:
    """A client within this process."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app, **more), base_url=ORIGIN) as client:
        yield client
