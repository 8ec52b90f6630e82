"""The HTTP API, in bulk: one act on all sagas that fit, as an operation with progress that survives whoever runs it.

Guarantees: what is begun is what was looked at, where the request says which sagas that were, or how many; its actor
is who is known to ask.
Must not: run a bulk operation; workers do.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from amends.operate import as_json_bulk as bulks_json
from amends.operate.as_json import Json
from amends.operate.bulk_values import Bulk, BulkAct
from amends.operate.operations import Operations
from amends.operate.values import Search
from amends.operate.web import answers_bulk as a
from amends.operate.web import shapes as s
from amends.operate.web.access import Right
from amends.operate.web.context import desk_of, href, person_of, saga_id_of
from amends.operate.web.problems import Malformed, NotHere
from amends.operate.web.reading import answer, body_of, etag, key_of, payload_of, query_of, version_of
from amends.operate.web.routing import Guarded, Told, route
from amends.operate.web.searching import search_of


def routes(root: str) -> list[Guarded]:
    """All of them. root: of the API."""
    one = f"{root}/bulks/{{id}}"
    errors, counting = (404, 501), (409, 412, 501, 504)
    planned = Told("What it would do: a dry run", "bulk", s.Query, s.BulkPlanBody, a.BulkPlan, errors=(501,))
    begun = Told("Begin one", "bulk", s.Query, s.BulkBody, a.Bulk, status=201, repeats=True, errors=counting)
    seen = Told("Bulk operations, newest first", "bulk", s.BulksQuery, answer=a.Bulks, errors=errors)
    found = [
        route(f"{root}/bulks/plan", plan, right=Right.OPERATE, methods=("POST",), name="bulk_plan", told=planned),
        route(f"{root}/bulks", begin, right=Right.OPERATE, methods=("POST",), name="bulk_start", told=begun),
        route(f"{root}/bulks", list_, right=Right.VIEW, name="bulks", told=seen),
        _read(one, show, "One of them", s.Query, "bulk"),
        _read(f"{one}/results", results, "What became of each saga", s.ResultsQuery, "bulk_results", a.BulkResults),
        _read(f"{one}/log", log, "Who did what with it", s.Query, "bulk_log", list[a.BulkMove]),
    ]
    for move, summary in {"pause": "Have it rest", "resume": "Have it go on", "cancel": "End it early"}.items():
        told = Told(summary, "bulk", s.Query, s.Plainly, a.Bulk, confirms=True, errors=(404, 409, 412, 428, 501))
        name = f"bulk_{move}"
        found.append(route(f"{one}/{move}", _Move(move), right=Right.OPERATE, methods=("POST",), name=name, told=told))
    return found


def _read(path: str, handler: Any, summary: str, query: type[Any], name: str, shown: Any = a.Bulk) -> Guarded:
    told = Told(summary, "bulk", query, answer=shown, errors=(404, 501))
    return route(path, handler, right=Right.VIEW, name=name, told=told)


async def plan(request: Request) -> Response:
    """A dry run: how many, which, and what would come of it."""
    body = await body_of(request, s.BulkPlanBody)
    targets = _targets(request, body)
    return answer(bulks_json.bulk_plan(await (await _operations(request)).bulk_plan(_act(request, body), targets)))


async def begin(request: Request) -> Response:
    """Begin it; workers do it."""
    body = await body_of(request, s.BulkBody)
    act, targets, desk = _act(request, body), _targets(request, body), await _operations(request)
    if body.ids is UNSET and body.search == s.SearchBody() and body.expected is None:
        raise Malformed("without `search` and `ids` this is every open saga: say as `expected` how many that are")
    found = await desk.bulk_start(
        act, targets, paused=body.paused, expected=body.expected, seen=body.seen, id=key_of(request)
    )
    where = href(request, "api", "v1", "bulks", found.id)
    return answer(_shown(request, found), HTTPStatus.CREATED, location=where, etag=etag(found.version))


async def list_(request: Request) -> Response:
    """All that there are."""
    query = query_of(request, s.BulksQuery)
    found = await (await _operations(request)).bulks(before=query.before, limit=query.limit)
    return answer(bulks_json.bulk_page(found, hidden=not person_of(request).payloads))


async def show(request: Request) -> Response:
    """One of them; its version is the ETag."""
    query_of(request, s.Query)
    found = await (await _operations(request)).bulk(saga_id_of(request))
    return answer(_shown(request, found), etag=etag(found.version))


async def results(request: Request) -> Response:
    """What became of each saga."""
    query = query_of(request, s.ResultsQuery)
    desk = await _operations(request)
    found = await desk.bulk_results(saga_id_of(request), after=query.after, limit=query.limit, words=tuple(query.word))
    return answer(bulks_json.bulk_results(found))


async def log(request: Request) -> Response:
    """Who did what with it."""
    query_of(request, s.Query)
    return answer(bulks_json.bulk_log(await (await _operations(request)).bulk_log(saga_id_of(request))))


class _Move:
    """To pause, resume or cancel one."""

    def __init__(self, move: str) -> None:
        self._move = move

    async def __call__(self, request: Request) -> Response:
        body = await body_of(request, s.Plainly)
        version = version_of(request)
        desk = await _operations(request)
        move = {"pause": desk.bulk_pause, "resume": desk.bulk_resume, "cancel": desk.bulk_cancel}[self._move]
        actor = person_of(request).name
        found = await move(saga_id_of(request), actor=actor, reason=body.reason, if_version=version)
        return answer(_shown(request, found), etag=etag(found.version))


def _shown(request: Request, found: Bulk) -> Json:
    return bulks_json.bulk(found, hidden=not person_of(request).payloads)


def _act(request: Request, body: s.BulkPlanBody) -> BulkAct:
    return BulkAct(
        body.verb,
        person_of(request).name,
        body.reason,
        step=body.step,
        result=payload_of(body.result, "result"),
        arguments=payload_of(body.arguments, "arguments"),
        nothing_stayed=body.nothing_stayed,
        text=body.text,
        per_second=body.per_second,
        even_if_changed=body.even_if_changed,
    )


def _targets(request: Request, body: s.BulkPlanBody) -> Search | tuple[str, ...]:
    """Which sagas: those that are named, else those that fit. Raises Malformed."""
    if body.ids is UNSET:
        return search_of(request, body.search)
    if body.search != s.SearchBody():
        raise Malformed("name the sagas by `ids`, or say by `search` which fit; not both")
    return tuple(body.ids)


async def _operations(request: Request) -> Operations:
    desk = await desk_of(request)
    if not isinstance(desk, Operations):
        raise NotHere("bulk operations are had of an orchestrator's sagas, not of the home of choreographed ones")
    return desk
