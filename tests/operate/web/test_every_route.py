"""Walks every route there is: each demands a token, each that writes a role, and of a cookie a token against forgery.

The routes are taken from the application itself, so that a new one is walked too.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, Route
from web_scene import ORIGIN, TOKENS, Asking, access, asking

from amends.errors import DefinitionError
from amends.operate.web.access import Access, Right, Token
from amends.operate.web.app import check_routes, web
from amends.operate.web.context import Limits
from amends.operate.web.routing import Guarded

OPEN = {"/healthz", "/readyz", "/login", "/login/{code}", "/static/{name}"}  # and nothing else, ever
LOGIN_AND_OUT = {"/login", "/logout"}  # which write no saga


def guarded(app: Starlette) -> Iterator[Guarded]:
    """Every route of the application."""
    for route in app.routes:
        if isinstance(route, Mount):
            assert route.path == "/static"
        else:
            assert isinstance(route, Guarded)
            yield route


def address(route: Guarded) -> str:
    """A path that it takes."""
    return re.sub(r"{\w+(:\w+)?}", "one", route.path)


def methods(route: Guarded) -> set[str]:
    """Those that it takes, but for HEAD, which is GET."""
    return (route.methods or set()) - {"HEAD"}


async def by_cookie(at: Asking, who: str, **headers: str) -> httpx.AsyncClient:
    """A browser in which somebody has logged in."""
    known = at.app.state.web.access
    token: Token = known.by_text(TOKENS[who])
    at.client.cookies.set(known.sessions.cookie, known.sessions.begin(token.id))
    at.client.headers.update(headers)
    return at.client


def test_the_routes_that_are_open_to_anybody_are_these_and_no_others() -> None:
    app = web("memory://", access=access())

    assert {route.path for route in guarded(app) if route.right is Right.OPEN} <= OPEN
    assert any(route.writes for route in guarded(app))


def test_every_other_route_demands_somebody_who_is_known() -> None:
    async def main() -> None:
        async with asking(limits=Limits(logins_burst=10_000)) as at:
            for route in guarded(at.app):
                if route.right is Right.OPEN:
                    continue
                for method in methods(route):
                    for headers in ({}, {"authorization": "Bearer wrong"}, {"cookie": "amends-0=forged"}):
                        found = await at.client.request(method, address(route), headers=headers)
                        assert found.status_code == 401, (method, route.path, headers)
                        assert found.headers["www-authenticate"].startswith("Bearer")

    asyncio.run(main())


def test_every_route_that_writes_demands_an_operator_or_more() -> None:
    async def main() -> None:
        async with asking() as at:
            for route in guarded(at.app):
                if route.writes and route.path not in LOGIN_AND_OUT:
                    assert route.right >= Right.OPERATE, route.path
                    for method in methods(route):
                        found = await at.ask(method, address(route), "viewer", {})
                        assert (found.status_code, found.json()["code"]) == (403, "forbidden"), route.path
                if route.right is Right.ADMIN:
                    found = await at.ask(next(iter(methods(route))), address(route), "operator", {})
                    assert found.status_code == 403, route.path

    asyncio.run(main())


def test_every_route_that_writes_refuses_a_cookie_without_the_token_against_forgery() -> None:
    async def main() -> None:
        async with asking() as at:
            browser = await by_cookie(at, "admin")
            assert (await browser.get("/api/v1/me")).json()["name"] == "ada"
            for route in guarded(at.app):
                if not route.writes or route.right is Right.OPEN:
                    continue
                for headers in ({}, {"x-csrf-token": "0" * 64}):
                    for body in (b"{}", b"csrf=forged"):
                        kind = "application/json" if body == b"{}" else "application/x-www-form-urlencoded"
                        found = await browser.post(
                            address(route), content=body, headers={**headers, "content-type": kind}
                        )
                        assert found.status_code == 403, route.path
                        assert "CSRF" in found.text

    asyncio.run(main())


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9"},
        {"origin": "http://[::"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": ORIGIN},
    ],
)
def test_every_route_that_writes_refuses_what_comes_from_another_page(headers: dict[str, str]) -> None:
    async def main() -> None:
        async with asking() as at:
            for route in guarded(at.app):
                if route.writes:
                    named = {"authorization": f"Bearer {TOKENS['admin']}", **headers}
                    found = await at.client.post(address(route), json={}, headers=named)
                    assert found.status_code == 403, route.path
                    assert "another" in found.text, route.path

    asyncio.run(main())


def test_an_application_with_a_route_that_demands_no_right_is_not_made() -> None:
    async def open_door(request: object) -> Response:
        return Response("come in")

    with pytest.raises(TypeError, match="demands no right"):
        check_routes([Route("/door", open_door)])


def test_a_dashboard_that_nobody_or_everybody_may_ask_is_not_made() -> None:
    for tokens, hook in (((), None), ([Token.of("x" * 30, access().by_text(TOKENS["admin"]).person)], print)):  # type: ignore[union-attr]
        with pytest.raises(DefinitionError, match="who may ask"):
            Access(tokens, hook)
