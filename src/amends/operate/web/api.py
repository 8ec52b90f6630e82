"""The HTTP API, reading: everything that the command line shows, as JSON of the same shapes.

Guarantees: payloads are shown to those who may read them, and are null to all others; pages are bounded, and follow
each other without gaps or doubles.
Must not: judge anything; `operations.py` is asked.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from importlib.metadata import version as version_of_package
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from amends.operate import as_json
from amends.operate.finding import LIMIT_MAX
from amends.operate.mermaid import mermaid
from amends.operate.operations import Operations
from amends.operate.values import Act
from amends.operate.web import answers as a
from amends.operate.web import api_acts, api_bulk, api_outbox
from amends.operate.web import shapes as s
from amends.operate.web.access import Right
from amends.operate.web.context import csrf, desk_of, person_of, saga_id_of, web_of
from amends.operate.web.desks import Desk
from amends.operate.web.openapi import document
from amends.operate.web.plans import plans_of
from amends.operate.web.problems import Forbidden, NotHere
from amends.operate.web.reading import answer, cursor_of, etag, place_of, query_of
from amends.operate.web.routing import Guarded, Told, route
from amends.operate.web.searching import search_of

ROOT = "/api/v1"
LEVELS = ("ok", "warning", "error")
LOOK_SECONDS = 0.25
AT_REST = ("completed", "compensated", "parked")


def routes() -> list[BaseRoute]:
    """All of the API, its own description last."""
    found = [*_sagas(), *_all(), *api_acts.routes(ROOT), *api_bulk.routes(ROOT), *api_outbox.routes(ROOT)]
    told = Told("This description", "about", answer=a.OpenApi)
    described = route(f"{ROOT}/openapi.json", partial(openapi, found), right=Right.VIEW, name="openapi", told=told)
    found.append(described)
    return [*found]


def _sagas() -> list[Guarded]:
    one = f"{ROOT}/sagas/{{id}}"
    view = Right.VIEW
    return [
        route(
            f"{ROOT}/sagas", list_, right=view, told=Told("Sagas, newest first", "sagas", s.PageQuery, answer=a.Page)
        ),
        route(one, show, right=view, told=Told("One saga", "sagas", s.ShowQuery, answer=a.View, errors=(404,))),
        route(
            f"{one}/history",
            history,
            right=view,
            told=Told("What happened to it", "sagas", s.HistoryQuery, answer=a.History, errors=(404,)),
        ),
        route(
            f"{one}/flow",
            flow,
            right=view,
            told=Told("Its flow, and where it stands", "sagas", s.Query, answer=a.FlowAnswer, errors=(404,)),
        ),
        route(
            f"{one}/outcome",
            outcome,
            right=view,
            told=Told("How it ended, waited for", "sagas", s.OutcomeQuery, answer=a.Outcome, errors=(404,)),
        ),
    ]


def _all() -> list[Guarded]:
    view = Right.VIEW
    return [
        route(f"{ROOT}/me", me, right=view, told=Told("Who asks", "about", answer=a.Me)),
        route(
            f"{ROOT}/stuck",
            stuck,
            right=view,
            told=Told("What waits for somebody", "all", s.StuckQuery, answer=a.Stuck),
        ),
        route(
            f"{ROOT}/groups",
            groups,
            right=view,
            told=Told("Open sagas by what went wrong", "all", s.GroupQuery, answer=a.Groups, errors=(404, 409)),
        ),
        route(
            f"{ROOT}/overview",
            overview,
            right=view,
            told=Told("How all sagas fare", "all", s.Query, answer=a.Overview),
        ),
        route(
            f"{ROOT}/workers",
            workers,
            right=view,
            told=Told("Workers and their leases", "all", s.Query, answer=a.Workers),
        ),
        route(
            f"{ROOT}/doctor",
            doctor,
            right=view,
            told=Told("The database and who works with it", "all", s.Query, answer=a.Findings),
        ),
        route(f"{ROOT}/plans", plans, right=view, told=Told("Definitions", "all", s.Query, answer=a.Plans)),
        route(
            f"{ROOT}/plans/{{name}}",
            plan,
            right=view,
            told=Told("One definition, the newest", "all", s.Query, answer=a.FlowAnswer, errors=(404, 501)),
        ),
    ]


# One saga


async def list_(request: Request) -> Response:
    """Sagas that fit, in pages."""
    query = query_of(request, s.PageQuery)
    wanted = search_of(request, query)
    before = None if query.cursor is None else place_of(query.cursor)
    page = await (await desk_of(request)).search(wanted, before=before, limit=query.limit)
    return answer({**as_json.page(page), "next": cursor_of(page.place) if page.more else None})


async def show(request: Request) -> Response:
    """One saga; its version is the ETag."""
    query = query_of(request, s.ShowQuery)
    person = person_of(request)
    reveal = _reveals(request, query)
    found = await (await desk_of(request)).show(saga_id_of(request), reveal=reveal, reader=person.name)
    shown = without_payloads(as_json.view(found, _path_of), hidden=not person.payloads)
    return answer(shown, etag=etag(found.line.version))  # and never 304: that nobody works on it changes no version


async def history(request: Request) -> Response:
    """The history of one saga."""
    query = query_of(request, s.HistoryQuery)
    person = person_of(request)
    reveal = _reveals(request, query)
    desk = await desk_of(request)
    lines = await desk.history(saga_id_of(request), after=query.after, reveal=reveal, reader=person.name)
    data = {"history": [as_json.history_line(line) for line in lines], "after": query.after}
    return answer(without_payloads(data, hidden=not person.payloads))


async def flow(request: Request) -> Response:
    """The plan that one saga runs on."""
    query_of(request, s.Query)
    found, state = await (await desk_of(request)).flow(saga_id_of(request))
    return answer({"plan": json.loads(found.json), "fingerprint": found.fingerprint, "mermaid": mermaid(found, state)})


async def outcome(request: Request) -> Response:
    """How one saga ended, as soon as it has, or where it stands after a while."""
    query = query_of(request, s.OutcomeQuery)
    desk, id_ = await desk_of(request), saga_id_of(request)
    until = asyncio.get_running_loop().time() + query.wait
    found = await desk.show(id_)
    while found.line.status not in AT_REST and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(LOOK_SECONDS)
        found = await desk.show(id_)
    data = without_payloads(as_json.outcome(found), hidden=not person_of(request).payloads)
    return answer(data, etag=etag(found.line.version))


# All of them


async def me(request: Request) -> Response:
    """Who asks, and what they may."""
    person = person_of(request)
    return answer(
        {
            "name": person.name,
            "role": str(person.role),
            "payloads": person.payloads,
            "csrf": csrf(request),
            "places": [name for name in web_of(request).desks.names if name],
            "version": version_of_package("amends"),
        }
    )


async def stuck(request: Request) -> Response:
    """What waits for somebody."""
    query = query_of(request, s.StuckQuery)
    desk, before = await desk_of(request), query.changed_before
    page = await desk.stuck(limit=query.limit if before is None else LIMIT_MAX, troubles=query.trouble)
    return answer(as_json.stuck(page if before is None else page.unchanged_since(before.timestamp(), query.limit)))


async def groups(request: Request) -> Response:
    """Open sagas by what went wrong."""
    query = query_of(request, s.GroupQuery)
    wanted = search_of(request, query)
    return answer(as_json.groups(await (await desk_of(request)).groups(wanted, limit=query.limit)))


async def overview(request: Request) -> Response:
    """How all sagas fare."""
    query_of(request, s.Query)
    return answer(as_json.overview(await (await desk_of(request)).overview()))


async def workers(request: Request) -> Response:
    """Workers and their leases."""
    query_of(request, s.Query)
    return answer(as_json.workers(await (await desk_of(request)).workers()))


async def doctor(request: Request) -> Response:
    """The state of the database and of its workers; of a home, of its service."""
    query_of(request, s.Query)
    found = await (await desk_of(request)).doctor()
    worst = max((finding.level for finding in found), key=LEVELS.index, default="ok")
    return answer(as_json.findings(found, worst))


async def plans(request: Request) -> Response:
    """The stored definitions."""
    query_of(request, s.Query)
    found = await plans_of(await desk_of(request))
    return answer({"plans": [{**line._asdict(), "version": line.version or None} for line in found]})


async def plan(request: Request) -> Response:
    """The newest form of one definition."""
    query_of(request, s.Query)
    found = await operations_of(await desk_of(request)).plan(str(request.path_params["name"]))
    return answer({"plan": json.loads(found.json), "fingerprint": found.fingerprint, "mermaid": mermaid(found, None)})


async def openapi(described: list[Guarded], request: Request) -> Response:
    """The description of all this."""
    root = str(request.scope.get("root_path", ""))
    return answer(document(described, root or "/", web_of(request).access.sessions.cookie))


# Parts


def operations_of(desk: Desk) -> Operations:
    """An orchestrator's; of what homes do not have. Raises NotHere."""
    if not isinstance(desk, Operations):
        raise NotHere("that is had of an orchestrator's or a watcher's sagas, not of the home of choreographed ones")
    return desk


def without_payloads(data: dict[str, Any], *, hidden: bool) -> dict[str, Any]:
    """The same for somebody who may not read payloads: what was a payload is null, and it is said so."""
    if not hidden:
        return {**data, "payloads": "shown"}
    made = {**data, "payloads": "hidden"}
    made |= {name: None for name in ("input", "result") if name in data}
    for name, field in (("steps", "result"), ("history", "value")):
        if name in data:
            made[name] = [{**line, field: None} for line in data[name]]
    return made


def _reveals(request: Request, query: s.ShowQuery) -> bool:
    if query.reveal and not person_of(request).payloads:
        raise Forbidden("to reveal what is marked as secret takes the right to read payloads")
    return query.reveal


def _path_of(act: Act) -> str:
    """The path that does an act, below its saga's."""
    return f"POST {act.verb}"
