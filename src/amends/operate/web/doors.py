"""The routes beside the API: the address that logs in once, live events, and what watches over the dashboard.

Guarantees: what is open to anybody tells no more than whether this process and its database are there.
Must not: show a saga.
"""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute

from amends.errors import AmendsError
from amends.operate.web.access import Right
from amends.operate.web.context import Web, form_of, href, next_of, web_of
from amends.operate.web.live import TOPICS_MAX, Topic
from amends.operate.web.measures import Measures
from amends.operate.web.problems import Malformed
from amends.operate.web.routing import route
from amends.run.asking import check_id

READY_SECONDS = 2.0  # how long a database may take to answer a probe
READY_KEPT_SECONDS = 1.0  # for how long an answer holds, so that probing is no work


def routes(web: Web, *, pages: bool) -> list[BaseRoute]:
    """All of them. pages: they have the forms for logging in and out, so those are left to them."""
    ready, measures = Ready(web), Measures(web)
    found: list[BaseRoute] = [
        route("/healthz", healthz, right=Right.OPEN),
        route("/readyz", ready.answer, right=Right.OPEN, name="readyz"),
        route("/metrics", measures.answer, right=Right.OPEN if web.open_metrics else Right.VIEW, name="metrics"),
        route("/live", live, right=Right.VIEW),
    ]
    if web.access.has_login:
        found.append(route("/login/{code}", log_in_once, right=Right.OPEN))
        if not pages:
            found.append(route("/login", log_in, right=Right.OPEN, methods=("POST",)))
            found.append(route("/logout", log_out, right=Right.VIEW, methods=("POST",)))
    return found


async def healthz(request: Request) -> Response:
    """This process turns."""
    return _json(b'{"status":"ok"}')


class Ready:
    """Whether the database answers; asked at most once a second."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._kept = False
        self._until = 0.0
        self._asking = asyncio.Lock()

    async def answer(self, request: Request) -> Response:
        """200 if it does, else 503."""
        async with self._asking:
            if time.monotonic() >= self._until:
                self._kept = await self._look()
                self._until = time.monotonic() + READY_KEPT_SECONDS
        if self._kept:
            return _json(b'{"status":"ready"}')
        return _json(b'{"status":"the database does not answer"}', HTTPStatus.SERVICE_UNAVAILABLE)

    async def _look(self) -> bool:
        try:
            async with asyncio.timeout(READY_SECONDS):
                await (await self._web.desks.one(None).desk()).find(limit=1)
        except (AmendsError, TimeoutError):
            return False
        return True


async def log_in_once(request: Request) -> Response:
    """Log in by a code that was printed; it does so once, and not for a program that only looks at the address."""
    access = web_of(request).access
    if request.method == "HEAD":
        return Response()
    token_id = access.codes.take(str(request.path_params["code"]))
    token = None if token_id is None else access.by_id(token_id)
    if token is None:
        return RedirectResponse(f"{href(request, 'login')}?wrong=1", HTTPStatus.SEE_OTHER)
    answer = RedirectResponse(href(request, ""), HTTPStatus.SEE_OTHER)
    access.cookie_on(request, answer, token)
    return answer


async def log_in(request: Request) -> Response:
    """Log in by a token in a form. The pages have their own; this is for dashboards without them."""
    form, access = await form_of(request), web_of(request).access
    token = access.by_text(form.get("token", "").strip())
    if token is None:
        return RedirectResponse(f"{href(request, 'login')}?wrong=1", HTTPStatus.SEE_OTHER)
    answer = RedirectResponse(next_of(form.get("next", ""), request), HTTPStatus.SEE_OTHER)
    access.cookie_on(request, answer, token)
    return answer


async def log_out(request: Request) -> Response:
    """End the session."""
    answer = RedirectResponse(href(request, "login"), HTTPStatus.SEE_OTHER)
    web_of(request).access.cookie_off(request, answer)
    return answer


async def live(request: Request) -> Response:
    """Live events, as `live.py` has them."""
    web, topics = web_of(request), _topics(request)
    if request.method == "HEAD":
        return Response(media_type="text/event-stream")
    web.live.check(topics)
    return StreamingResponse(
        web.live.stream(topics), media_type="text/event-stream", headers={"x-accel-buffering": "no"}
    )


def _topics(request: Request) -> frozenset[Topic]:
    query = request.query_params
    place = query.get("at")
    found = {Topic("saga", check_id(id_), place) for id_ in query.getlist("saga")}
    found |= {Topic("bulk", check_id(id_), place) for id_ in query.getlist("bulk")}
    if any(query.getlist("about")):
        found.add(Topic("overview", "", place))
    web_of(request).desks.one(place)
    if not found or len(found) > TOPICS_MAX:
        raise Malformed(f"say what to listen to: `saga=ID`, `bulk=ID` or `about=overview`, {TOPICS_MAX} at most")
    return frozenset(found)


def _json(body: bytes, status: int = HTTPStatus.OK) -> Response:
    return Response(body, status, media_type="application/json")
