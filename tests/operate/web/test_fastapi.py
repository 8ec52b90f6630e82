"""FastAPI: dependencies that start and await sagas, health, and errors with their codes.

Annotations are not postponed here: FastAPI could not find the dependencies of an application that a function makes.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from web_scene import SAGAS, Far, Job, asks, client_of, jobs

import amends.asgi
from amends import Compensated, Completed, Handle, Orchestrator, Parked
from amends.asgi import Person, Role
from amends.errors import StoreUnavailable
from amends.fastapi import Sagas, Start

Ended = Completed[int] | Compensated | Parked | None


def application(sagas: Sagas) -> FastAPI:
    """What somebody writes."""
    app = FastAPI(lifespan=sagas.lifespan)
    sagas.install(app)

    @app.post("/jobs", status_code=202)
    async def create(job: Job, start: Annotated[Start[Job, int], Depends(sagas.start(jobs))]) -> dict[str, str]:
        return {"id": (await start(job)).saga_id}

    @app.post("/jobs/now")
    async def now(job: Job, start: Annotated[Start[Job, int], Depends(sagas.start(jobs))]) -> str:
        return type(await start.run(job)).__name__

    @app.get("/jobs/{job_id}")
    async def read(ended: Annotated[Any, Depends(sagas.outcome(jobs, path="job_id", timeout=5))]) -> dict[str, Any]:
        return {"ended": type(ended).__name__, "result": getattr(ended, "result", None)}

    @app.get("/asks/{saga_id}")
    async def ask(
        handle: Annotated[Handle[None], Depends(sagas.handle(asks))],
        ended: Annotated[Ended, Depends(sagas.outcome(asks, timeout=0.01))],
    ) -> list[str | None]:
        return [handle.saga_id, None if ended is None else "ended"]

    return app


@asynccontextmanager
async def asking(*, work: bool = True) -> AsyncGenerator[tuple[FastAPI, Orchestrator, httpx.AsyncClient], None]:
    """That, at work."""
    Far.down = False
    orchestrator = Orchestrator("memory://", sagas=SAGAS)
    app = application(Sagas(orchestrator, work=work))
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield app, orchestrator, client


def test_a_request_with_the_same_key_starts_one_saga_and_its_end_is_had_by_a_dependency() -> None:
    async def main() -> None:
        async with asking() as (_, _, client):
            headers = {"Idempotency-Key": "job-1"}
            made = [await client.post("/jobs", json={"size": 7}, headers=headers) for _ in range(2)]
            found = await client.get("/jobs/job-1")
            other = await client.post("/jobs", json={"size": 8}, headers=headers)
            now = await client.post("/jobs/now", json={"size": 1})

        assert [(one.status_code, one.json()) for one in made] == [(202, {"id": "job-1"})] * 2
        assert (found.json(), now.json()) == ({"ended": "Completed", "result": 7}, "Completed")
        assert (other.status_code, other.json()["code"]) == (409, "id-conflict")
        assert other.headers["content-type"] == "application/problem+json"

    asyncio.run(main())


def test_one_that_has_not_ended_is_none_and_one_that_is_not_there_is_a_problem() -> None:
    async def main() -> None:
        async with asking() as (_, orchestrator, client):
            await orchestrator.start(asks, Job(), id="ask-1")
            found = await client.get("/asks/ask-1")
            nobody = await client.get("/asks/nobody")

        assert (found.json(), nobody.status_code, nobody.json()["code"]) == (["ask-1", None], 404, "unknown-saga")

    asyncio.run(main())


def test_what_is_wrong_with_the_database_is_for_the_log_and_not_for_whoever_asks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with asking() as (app, _, client):

            @app.get("/away")
            async def away() -> None:
                raise StoreUnavailable("no route to sagas.internal")

            found = await client.get("/away")
            refused = await client.get("/asks/nobody")

        assert (found.status_code, found.json()["code"], found.json()["detail"]) == (503, "store-unavailable", "")
        assert "sagas.internal" not in found.text
        assert [record.getMessage() for record in caplog.records if record.name == "amends.web"] == [
            "GET /away: no route to sagas.internal"
        ]
        assert "nobody" in refused.json()["detail"]  # what whoever asks can mend is told

    asyncio.run(main())


def test_the_parameters_of_the_dependencies_are_in_the_applications_own_description() -> None:
    described = application(Sagas(Orchestrator("memory://", sagas=SAGAS))).openapi()

    def names(path: str, method: str) -> set[tuple[str, str]]:
        return {(one["in"], one["name"]) for one in described["paths"][path][method]["parameters"]}

    assert names("/jobs", "post") == {("header", "idempotency-key")}
    assert names("/jobs/{job_id}", "get") == {("path", "job_id")}


def test_health_says_whether_it_turns_and_whether_it_is_ready() -> None:
    async def main() -> None:
        async with asking() as (app, _, client):
            up = [await client.get(path) for path in ("/healthz", "/readyz")]
        async with client_of(app) as client:  # outside of its lifespan
            down = [await client.get(path) for path in ("/healthz", "/readyz")]

        assert [one.status_code for one in up] == [200, 200]
        assert [one.status_code for one in down] == [200, 503]

    asyncio.run(main())


def test_the_dashboard_is_mounted_beside_them() -> None:
    async def main() -> None:
        async with asking() as (app, orchestrator, client):
            app.mount("/amends", amends.asgi.web(orchestrator, authenticate=lambda request: Person("ada", Role.ADMIN)))
            await client.post("/jobs", json={"size": 7}, headers={"Idempotency-Key": "job-1"})
            found = await client.get("/amends/api/v1/sagas/job-1")

        assert found.json()["id"] == "job-1"

    asyncio.run(main())
