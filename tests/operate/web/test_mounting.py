"""In an application of one's own: under any path, with its people, and with or without lifespans."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send
from web_scene import SAGAS, Job, asks, client_of

import amends.asgi
from amends import Orchestrator
from amends.asgi import Person, Role
from amends.errors import DefinitionError
from amends.operate.web.pages.render import environment

HEADERS = {"x-user": "hana"}


async def authenticate(request: Request) -> Person | None:
    """The host application knows its people by a header, and who is boss by another."""
    name = request.headers.get("x-user")
    return None if name is None else Person(name, Role.OPERATOR, payloads=True)


def host(inner: Starlette, path: str = "/ops/amends", lifespan: object = None) -> Starlette:
    """An application with the dashboard in it."""
    return Starlette(routes=[Mount(path, inner)], lifespan=lifespan)  # type: ignore[arg-type]  # or None


@asynccontextmanager
async def living(app: Starlette) -> AsyncGenerator[httpx.AsyncClient, None]:
    """The application with its lifespan, as a server has it."""
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield client


def test_metrics_are_open_and_hints_are_shown_where_the_host_says_so() -> None:
    orchestrator = Orchestrator("memory://", sagas=SAGAS)
    closed = amends.asgi.web(orchestrator, authenticate=authenticate)
    opened = amends.asgi.web(orchestrator, authenticate=authenticate, open_metrics=True, hints=["Take the bank away"])

    async def main() -> None:
        async with orchestrator, client_of(closed) as one, client_of(opened) as other:
            asked = [(await client.get("/metrics")).status_code for client in (one, other)]
            page = await other.get("/", headers={**HEADERS, "accept": "text/html"})

        assert asked == [401, 200]
        assert "Take the bank away" in page.text

    asyncio.run(main())


def test_mounted_it_asks_the_session_of_an_orchestrator_that_runs_there() -> None:
    orchestrator = Orchestrator("memory://", sagas=SAGAS)
    inner = amends.asgi.web(orchestrator, authenticate=authenticate)

    async def main() -> None:
        async with living(host(inner, lifespan=orchestrator.lifespan)) as client:
            await orchestrator.start(asks, Job(), id="ask/1")
            nobody = await client.get("/ops/amends/api/v1/sagas")
            listed = await client.get("/ops/amends/api/v1/sagas", headers=HEADERS)
            shown = await client.get("/ops/amends/api/v1/sagas/ask%2F1", headers=HEADERS)
            made = await client.post(
                "/ops/amends/api/v1/sagas",
                json={"saga": "asks", "input": {}, "id": "b"},
                headers={**HEADERS, "authorization": "Bearer of-the-host"},
            )

        assert (nobody.status_code, listed.json()["sagas"][0]["id"], shown.json()["id"]) == (401, "ask/1", "ask/1")
        assert made.headers["location"] == "/ops/amends/api/v1/sagas/b"

    asyncio.run(main())


def test_beside_a_worker_elsewhere_it_is_a_client_of_its_own_that_ends_with_the_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    orchestrator = Orchestrator(f"sqlite:///{tmp_path}/jobs.db", sagas=SAGAS)
    inner = amends.asgi.web(orchestrator, authenticate=authenticate)
    app = host(inner)

    async def fill() -> None:
        async with orchestrator:
            await orchestrator.start(asks, Job(), id="ask-1")

    async def main() -> str:
        async with client_of(app) as client:  # no lifespan is run at all
            together = [client.get("/ops/amends/api/v1/sagas", headers=HEADERS) for _ in range(5)]
            found = await asyncio.gather(*together)
            started = await client.post(
                "/ops/amends/api/v1/sagas",
                json={"saga": "asks", "input": {}},
                headers={**HEADERS, "authorization": "Bearer of-the-host"},
            )
        assert started.status_code == 201
        assert len({one.text for one in found}) == 1
        return str(found[0].json()["sagas"][-1]["id"])

    asyncio.run(fill())
    assert asyncio.run(main()) == "ask-1"
    assert asyncio.run(main()) == "ask-1"  # on another loop, as after a restart within the process
    assert not list(tmp_path.glob("*-wal")), "somebody still has the file open"
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_a_database_that_is_not_there_yet_is_asked_again_by_whoever_comes_next(tmp_path: Path) -> None:
    orchestrator = Orchestrator(f"sqlite:///{tmp_path}/jobs.db", sagas=SAGAS)
    inner = amends.asgi.web(f"sqlite:///{tmp_path}/jobs.db", authenticate=authenticate)

    async def main() -> None:
        async with client_of(inner) as client:
            before = await client.get("/api/v1/sagas", headers=HEADERS)
            ready_before = await client.get("/readyz")
            async with orchestrator:
                await orchestrator.start(asks, Job(), id="ask-1")
            after = await client.get("/api/v1/sagas", headers=HEADERS)

        assert (before.status_code, before.json()["code"], ready_before.status_code) == (503, "store-unavailable", 503)
        assert after.json()["sagas"][0]["id"] == "ask-1"

    asyncio.run(main())


def test_with_its_own_lifespan_run_it_lets_go_of_everything_at_its_end(tmp_path: Path) -> None:
    orchestrator = Orchestrator(f"sqlite:///{tmp_path}/jobs.db", sagas=SAGAS)
    app = amends.asgi.web(orchestrator, authenticate=authenticate)

    async def main() -> None:
        async with orchestrator:
            await orchestrator.start(asks, Job(), id="ask-1")
        async with living(app) as client:
            assert (await client.get("/api/v1/sagas", headers=HEADERS)).status_code == 200
            ready = await client.get("/readyz")
        assert ready.json() == {"status": "ready"}
        assert not list(tmp_path.glob("*-wal"))  # noqa: ASYNC240

    asyncio.run(main())


def test_with_its_own_lifespan_run_no_visitor_waits_for_a_template_to_be_compiled(tmp_path: Path) -> None:
    app = amends.asgi.web(f"sqlite:///{tmp_path / 'none.db'}", authenticate=authenticate)
    environment.cache_clear()

    async def main() -> set[str]:
        async with living(app):
            return {str(name) for _, name in environment().cache or {}}

    compiled = asyncio.run(main())

    assert {"overview.html", "saga.html"} <= compiled
    assert compiled == set(environment().list_templates())


def test_from_a_database_alone_no_saga_is_started(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"

    async def main() -> None:
        async with Orchestrator(url, sagas=SAGAS) as orchestrator:
            await orchestrator.start(asks, Job(), id="ask-1")
        async with client_of(amends.asgi.web(url, authenticate=authenticate)) as client:
            found = await client.post(
                "/api/v1/sagas",
                json={"saga": "asks", "input": {}},
                headers={**HEADERS, "authorization": "Bearer of-the-host"},
            )
        assert (found.status_code, found.json()["code"]) == (409, "refused")
        assert "name the orchestrator" in found.json()["detail"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("secrets", "status"), [(("one text", "one text"), 404), (("one text", "another"), 403), (("", ""), 403)]
)
def test_a_form_of_one_process_is_good_at_another_where_both_have_the_same_secret(
    secrets: tuple[str, str], status: int
) -> None:
    orchestrator = Orchestrator("memory://", sagas=SAGAS)
    shows, takes = (amends.asgi.web(orchestrator, authenticate=authenticate, secret=secret) for secret in secrets)

    async def main() -> None:
        async with orchestrator, client_of(shows) as one, client_of(takes) as other:
            csrf = (await one.get("/api/v1/me", headers=HEADERS)).json()["csrf"]
            found = [
                await other.post(
                    "/api/v1/sagas/no-such/note", json={"text": "seen"}, headers={"x-user": who, "x-csrf-token": csrf}
                )
                for who in ("hana", "ivan")
            ]

        assert [one.status_code for one in found] == [status, 403]  # and never that of another person

    asyncio.run(main())


def test_tokens_may_be_given_in_code_and_one_of_the_two_must_be() -> None:
    token = amends.asgi.new_token()

    async def main() -> None:
        app = amends.asgi.web("memory://", tokens={token: Person("ada", Role.ADMIN)})
        async with client_of(app) as client:
            found = await client.get("/api/v1/me", headers={"authorization": f"Bearer {token}"})
        assert found.json()["role"] == "admin"

    asyncio.run(main())
    with pytest.raises(DefinitionError, match="who may ask"):
        amends.asgi.web("memory://")
    with pytest.raises(DefinitionError, match="20 to 200"):
        amends.asgi.web("memory://", tokens={"secret": Person("ada")})


def test_hosts_and_origins_are_the_same_however_they_are_written() -> None:
    token = amends.asgi.new_token()
    app = amends.asgi.web(
        "memory://",
        tokens={token: Person("ada", Role.ADMIN)},
        hosts=["Ops.Example.com"],
        origins=["https://Front.Example.com"],
    )

    async def main() -> None:
        async with client_of(app) as client:
            known = {"authorization": f"Bearer {token}", "host": "ops.example.com"}
            assert (await client.get("/api/v1/me", headers=known)).status_code == 200
            front = {"host": "ops.example.com", "origin": "https://front.example.com"}
            assert (await client.post("/login", data={"token": token}, headers=front)).status_code == 303

    asyncio.run(main())


@pytest.mark.parametrize(
    "wrong", [("", Role.VIEWER), ("a\nb", Role.VIEWER), ("x" * 101, Role.VIEWER), ("ada", "admin")]
)
def test_a_person_that_could_not_stand_in_a_history_is_not_made(wrong: tuple[str, Role]) -> None:
    with pytest.raises(DefinitionError):
        Person(*wrong)


def test_a_hook_that_gives_something_else_than_a_person_lets_nobody_in_and_only_the_log_says_what_it_gave(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = amends.asgi.web("memory://", authenticate=lambda request: "ada")  # type: ignore[arg-type, return-value]

    async def main() -> None:
        async with client_of(app) as client:
            found = await client.get("/api/v1/me")
        assert (found.status_code, found.json()["code"]) == (500, "unforeseen")
        assert "ada" not in found.text
        assert "authenticate gave 'ada'; a Person or None is expected" in caplog.text

    asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "status", "code", "asks"),
    [
        (HTTPException(401, "log in first", {"WWW-Authenticate": "Basic"}), 401, "unauthenticated", "Basic"),
        (HTTPException(401), 401, "unauthenticated", 'Bearer realm="amends"'),
        (HTTPException(403, "not in the team"), 403, "forbidden", None),
        (HTTPException(418, "hunter2"), 500, "unforeseen", None),
    ],
)
def test_a_hook_may_refuse_as_its_framework_does(
    error: HTTPException, status: int, code: str, asks: str | None
) -> None:
    async def refuses(request: Request) -> Person | None:
        raise error

    async def main() -> None:
        async with client_of(amends.asgi.web("memory://", authenticate=refuses)) as client:
            found = await client.get("/api/v1/me")
        assert (found.status_code, found.json()["code"], found.headers.get("www-authenticate")) == (status, code, asks)
        assert (error.detail == found.json()["detail"]) is (status != 500)

    asyncio.run(main())


def test_a_hook_sees_what_the_host_application_has_put_into_the_requests_state() -> None:
    def known(request: Request) -> Person | None:
        assert request.app is inner  # and not the host's
        return Person(f"{request.state.person} of {request.state.web}", Role.OPERATOR)

    inner = amends.asgi.web("memory://", authenticate=known)
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"person": "hana", "web": "the shop"}
        await inner(scope, receive, send)
        seen.append(dict(scope["state"]))

    async def main() -> None:
        async with client_of(app) as client:
            assert (await client.get("/api/v1/me")).json()["name"] == "hana of the shop"
        assert seen == [{"person": "hana", "web": "the shop"}]

    asyncio.run(main())
