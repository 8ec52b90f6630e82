"""Sagas in a FastAPI application: dependencies that start and await them, health, and errors as problem+json.

    sagas = amends.fastapi.Sagas(orchestrator)
    app = FastAPI(lifespan=sagas.lifespan)
    sagas.install(app)

    @app.post("/orders", status_code=202)
    async def create(order: Order, start: Annotated[Start[Order, str], Depends(sagas.start(place_order))]) -> str:
        return (await start(order)).saga_id

Guarantees: what a dependency gives is typed as its saga is; a request with the same Idempotency-Key starts one saga.
Must not: be imported without FastAPI: `pip install fastapi`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from inspect import Parameter, Signature
from typing import Annotated, Any, Generic, TypeVar, cast

from fastapi import APIRouter, FastAPI, Header, Path, Request, Response
from fastapi.responses import JSONResponse

from amends.define.outcome import Compensated, Completed, Parked
from amends.define.policy import Duration
from amends.define.saga import Saga
from amends.errors import AmendsError
from amends.operate.web.problems import problem_of, problem_response
from amends.run.orchestrator import Handle, Orchestrator

__all__ = ["Sagas", "Start"]

I = TypeVar("I")  # noqa: E741  # the input, as in the documented signatures
_log = logging.getLogger("amends.web")
T = TypeVar("T")
READY_SECONDS = 2.0


class Start(Generic[I, T]):
    """Starts one saga, under the request's Idempotency-Key where it has one."""

    def __init__(self, orchestrator: Orchestrator, saga: Saga[I, T], key: str | None) -> None:
        self._orchestrator = orchestrator
        self._saga = saga
        self._key = key

    async def __call__(self, input: I, /, *, id: str | None = None, within: object = None) -> Handle[T]:
        """Start it; it is on disk when this returns. id: else the Idempotency-Key, else a new one. within: an open
        transaction of yours. Raises what `Orchestrator.start` raises."""
        return await self._orchestrator.start(self._saga, input, id=id or self._key, within=within)

    async def run(self, input: I, /, *, id: str | None = None) -> Completed[T] | Compensated | Parked:
        """Start it and wait for its end."""
        return await self._orchestrator.run(self._saga, input, id=id or self._key)


class Sagas:
    """An orchestrator in one FastAPI application. work: it runs sagas in this process; else it is a client beside an
    `amends worker`."""

    def __init__(self, orchestrator: Orchestrator, *, work: bool = False) -> None:
        self.orchestrator: Orchestrator = orchestrator
        self._work = work

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None, None]:
        """For `FastAPI(lifespan=sagas.lifespan)`; or enter it within a lifespan of your own."""
        opened = self.orchestrator.lifespan if self._work else self.orchestrator.client_lifespan
        async with opened(app):
            yield

    def install(self, app: FastAPI) -> None:
        """Add `/healthz`, `/readyz`, and answers to what amends raises."""
        app.include_router(self.health())
        app.add_exception_handler(AmendsError, say_why)

    def start(self, saga: Saga[I, T], /) -> Callable[..., Awaitable[Start[I, T]]]:
        """A dependency that gives what starts this saga: `Depends(sagas.start(place_order))`."""

        async def starts(idempotency_key: Annotated[str | None, Header()] = None) -> Start[I, T]:
            return Start(self.orchestrator, saga, idempotency_key)

        return starts

    def handle(self, saga: Saga[Any, T], /, *, path: str = "saga_id") -> Callable[..., Awaitable[Handle[T]]]:
        """A dependency that gives the handle of a saga that was started before. path: the parameter of the route's path
        that has its id."""

        async def handles(**given: str) -> Handle[T]:
            return self.orchestrator.handle(saga, given[path])

        return _with_path(handles, path)

    def outcome(
        self, saga: Saga[Any, T], /, *, path: str = "saga_id", timeout: Duration = 5.0
    ) -> Callable[..., Awaitable[Completed[T] | Compensated | Parked | None]]:
        """A dependency that gives how a saga ended, or None where it has not within `timeout`; it goes on."""

        async def outcomes(**given: str) -> Completed[T] | Compensated | Parked | None:
            try:
                return await self.orchestrator.handle(saga, given[path]).outcome(timeout=timeout)
            except TimeoutError:
                return None

        return _with_path(outcomes, path)

    def health(self) -> APIRouter:
        """`/healthz`: the process turns. `/readyz`: the orchestrator is entered, and its database answers."""
        router = APIRouter(tags=["health"])

        @router.get("/healthz")
        async def healthz() -> dict[str, str]:
            return {"status": "ok"}

        @router.get("/readyz")
        async def readyz() -> JSONResponse:
            why = await self._trouble()
            return JSONResponse({"status": why or "ready"}, 503 if why else 200)

        return router

    async def _trouble(self) -> str:
        try:
            session = self.orchestrator.session
            async with asyncio.timeout(READY_SECONDS):
                await session.store.plans()
        except (AmendsError, TimeoutError):
            return "the orchestrator is not running, or its database does not answer"
        return "the database cannot be written" if session.trouble else ""


async def say_why(request: Request, error: Exception) -> Response:
    """The answer to what amends raises: `application/problem+json`, with the error's stable code."""
    problem = problem_of(cast("AmendsError", error))
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:  # it tells of the database, which is not for everybody
        _log.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
        problem = replace(problem, detail="")
    return problem_response(problem)


def _with_path(function: Callable[..., Awaitable[T]], name: str) -> Callable[..., Awaitable[T]]:
    """The same, as FastAPI reads it: with one parameter of the path."""
    taken = Parameter(name, Parameter.KEYWORD_ONLY, annotation=Annotated[str, Path()])
    function.__signature__ = Signature([taken])  # type: ignore[attr-defined]  # which `inspect` reads
    return function
