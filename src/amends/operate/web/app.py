"""The application: the HTTP API under `/api/v1`, the pages beside it, and the guard before both.

Guarantees: every route is made by `routing.route` and so demands a right, or hands out the static files of the pages;
an application with another kind of route is not made.
Must not: hold a rule of what a saga may do, nor of who may ask.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from amends.errors import AmendsError
from amends.operate.web.access import Access
from amends.operate.web.answering import PAGES, failed, has_pages, refused
from amends.operate.web.api import routes as api_routes
from amends.operate.web.context import Limits, Web
from amends.operate.web.desks import Desks, Source
from amends.operate.web.doors import routes as door_routes
from amends.operate.web.guard import Guard
from amends.operate.web.live import Live
from amends.operate.web.looks import look
from amends.operate.web.routing import Guarded
from amends.run.participant import Participant


def web(
    source: Source | Desks,
    *,
    access: Access,
    homes: Sequence[Participant] = (),
    title: str = "amends",
    limits: Limits | None = None,
    hosts: Iterable[str] = (),
    origins: Iterable[str] = (),
    open_metrics: bool = False,
    hints: Sequence[str] = (),
) -> Starlette:
    """The dashboard as a Starlette application, to serve or to mount.

    source: a database, an orchestrator, a watcher or a participant. homes: participants whose choreographed sagas are
    shown besides. hosts: the names that it may be asked by; any, where none is given. origins: where forms may come
    from besides its own, such as `https://ops.example.com` behind a proxy that renames the host. open_metrics: whoever
    asks may read them. hints: lines that the first page shows, of what one may try.
    """
    desks = source if isinstance(source, Desks) else Desks(source, homes)
    given = limits or Limits()

    async def find(place: str | None) -> Any:
        return await desks.one(place).desk()

    live = Live(find, look, given.listeners)
    names, pages_of = (frozenset(map(str.lower, texts)) for texts in (hosts, origins))  # as browsers write them
    context = Web(access, desks, given, live, title, names, pages_of, open_metrics, tuple(hints))
    pages = _pages()
    routes = [*api_routes(), *door_routes(context, pages=bool(pages)), *pages]
    check_routes(routes)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None, None]:
        if pages:
            _compile()
        context.live.open()
        try:
            yield
        finally:
            await context.live.end()
            await desks.close()

    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, web=context)],
        exception_handlers={AmendsError: refused, 404: failed, 405: failed, 400: failed},
        lifespan=lifespan,
    )
    app.state.web = context
    return app


def check_routes(routes: Sequence[BaseRoute]) -> None:
    """See that nothing is reached without a right. Raises TypeError."""
    for found in routes:
        static = isinstance(found, Mount) and isinstance(found.app, StaticFiles)
        if not isinstance(found, Guarded) and not static:
            raise TypeError(f"{found!r} demands no right; make it by routing.route(…, right=…)")


def _compile() -> None:
    from amends.operate.web.pages.render import compile_all  # Jinja is imported only where it is wanted

    compile_all()


def _pages() -> list[BaseRoute]:
    """Those of the dashboard for people, where what they need is installed."""
    if not has_pages():
        return []
    found: list[BaseRoute] = import_module(PAGES).routes()
    return found
