"""The HTTP API, acting: each act names the version of the saga that its author looked at.

Guarantees: an act is done once however often it is sent with one Idempotency-Key; its actor is who is known to ask, and
nobody whom the request names.
Must not: judge whether an act is allowed; the saga does.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from amends.errors import NotAnswered
from amends.operate import as_json
from amends.operate.cli.inputs import value_of
from amends.operate.operations import Operations
from amends.operate.values import Answer
from amends.operate.web import answers as a
from amends.operate.web import shapes as s
from amends.operate.web.access import Right
from amends.operate.web.context import desk_of, href, person_of, saga_id_of, web_of
from amends.operate.web.desks import Desk
from amends.operate.web.problems import Malformed, NotHere
from amends.operate.web.reading import answer, body_of, etag, key_of, payload_of, version_of
from amends.operate.web.routing import Guarded, Told, route

_log = logging.getLogger("amends.web")
Send = Callable[[Desk, str, dict[str, Any]], Awaitable[Answer]]
KEPT = "no worker has answered yet; it is kept, and done when one comes. Ask again with the same Idempotency-Key"


def routes(root: str) -> list[Guarded]:
    """All of them. root: of the API."""
    one = f"{root}/sagas/{{id}}"
    started = Told("Start a saga", "sagas", s.Query, s.Start, a.Started, status=201, repeats=True, errors=(404, 409))
    looked = Told("What an act would do now", "acts", s.Query, s.PreviewBody, a.Preview, errors=(404,))
    forgotten = Told("Forget sagas that ended long ago", "all", s.Query, s.Prune, a.Pruned, errors=(501,))
    return [
        route(f"{root}/sagas", start, right=Right.OPERATE, methods=("POST",), told=started),
        route(f"{one}/preview", preview, right=Right.OPERATE, methods=("POST",), told=looked),
        _act(one, retry, s.Retry, "Have a stuck step, or its undo, tried again"),
        _act(one, skip, s.Skip, "Settle a step, or its undo, as it is"),
        _act(one, resolve, s.Resolve, "Say that a step, or its undo, was done by hand"),
        _act(one, compensate, s.Reasoned, "Have it go back and undo what it did"),
        _act(one, unpark, s.Plainly, "Have everything stuck in it tried again"),
        _act(one, cancel, s.Reasoned, "Have it go back, if it has not passed its pivot"),
        _act(one, signal, s.Signal, "Send a value that it waits for", confirms=False),
        _act(one, assign, s.Assign, "Say who sees to it"),
        _act(one, note, s.Note, "Leave a note", confirms=False),
        route(f"{root}/prune", prune, right=Right.ADMIN, methods=("POST",), told=forgotten),
    ]


def _act(
    one: str, handler: Callable[[Request], Awaitable[Response]], body: type[Any], summary: str, *, confirms: bool = True
) -> Guarded:
    name = getattr(handler, "__name__", "")
    told = Told(
        summary,
        "acts",
        s.Query,
        body,
        a.Answered,
        confirms=confirms,
        versioned=not confirms,
        repeats=True,
        errors=(404, 409, 412, *((428,) if confirms else ())),
    )
    return route(f"{one}/{name}", handler, right=Right.OPERATE, methods=("POST",), told=told)


async def start(request: Request) -> Response:
    """Start a saga; it is on disk when this is answered. Its id is the body's, else the Idempotency-Key."""
    body, key = await body_of(request, s.Start), key_of(request)
    if None not in (body.id, key) and body.id != key:
        raise Malformed("the id and the Idempotency-Key are two names for the same; give one, or the same twice")
    session, saga = await web_of(request).desks.one(request.query_params.get("at")).starter(body.saga)
    text = bytes(body.input).decode("utf-8", "surrogateescape")
    value = value_of(text, saga.program.input, f"the input of {saga.name}")
    id_ = await session.start(saga, value, body.id or key)
    return answer({"id": id_, "saga": saga.name}, HTTPStatus.CREATED, location=href(request, "api", "v1", "sagas", id_))


async def preview(request: Request) -> Response:
    """What an act would call, and what would come of it. Nothing is done."""
    body = await body_of(request, s.PreviewBody)
    desk, id_ = await desk_of(request), saga_id_of(request)
    found = await desk.preview(
        id_,
        body.verb,
        body.step,
        arguments=payload_of(body.arguments, "arguments"),
        result=payload_of(body.result, "result"),
        nothing_stayed=body.nothing_stayed,
    )
    return answer(as_json.preview(id_, found), etag=etag(found.version))


async def retry(request: Request) -> Response:
    """Try a step again, perhaps with other arguments."""
    body = await body_of(request, s.Retry)
    given = payload_of(body.arguments, "arguments")

    async def send(desk: Desk, id_: str, who: dict[str, Any]) -> Answer:
        return await desk.retry(
            id_, body.step, reason=body.reason, arguments=given, nothing_stayed=body.nothing_stayed, **who
        )

    return await _acted(request, "retry", send)


async def skip(request: Request) -> Response:
    """Settle a step as it is."""
    body = await body_of(request, s.Skip)
    return await _acted(request, "skip", lambda desk, id_, who: desk.skip(id_, body.step, reason=body.reason, **who))


async def resolve(request: Request) -> Response:
    """A step was done by hand."""
    body = await body_of(request, s.Resolve)
    given = payload_of(body.result, "result")
    return await _acted(
        request, "resolve", lambda desk, id_, who: desk.resolve(id_, body.step, reason=body.reason, result=given, **who)
    )


async def compensate(request: Request) -> Response:
    """Go back."""
    body = await body_of(request, s.Reasoned)
    return await _acted(request, "compensate", lambda desk, id_, who: desk.compensate(id_, reason=body.reason, **who))


async def unpark(request: Request) -> Response:
    """Go on."""
    body = await body_of(request, s.Plainly)
    return await _acted(request, "unpark", lambda desk, id_, who: desk.unpark(id_, reason=body.reason, **who))


async def cancel(request: Request) -> Response:
    """Go back, if that can still be."""
    body = await body_of(request, s.Reasoned)
    return await _acted(request, "cancel", lambda desk, id_, who: desk.cancel(id_, reason=body.reason, **who))


async def signal(request: Request) -> Response:
    """A value that is waited for."""
    body = await body_of(request, s.Signal)
    value = payload_of(body.value, f"the value of the signal {body.name}") or b"null"
    return await _acted(
        request, "signal", lambda desk, id_, who: desk.signal(id_, body.name, value, **who), confirms=False
    )


async def assign(request: Request) -> Response:
    """Who sees to it."""
    body = await body_of(request, s.Assign)
    return await _acted(
        request, "assign", lambda desk, id_, who: desk.assign(id_, body.person, reason=body.reason, **who)
    )


async def note(request: Request) -> Response:
    """Words for whoever looks next."""
    body = await body_of(request, s.Note)
    return await _acted(request, "note", lambda desk, id_, who: desk.note(id_, body.text, **who), confirms=False)


async def prune(request: Request) -> Response:
    """Forget sagas that ended long ago, some at a time; without `"dry_run": false` only count them."""
    body = await body_of(request, s.Prune)
    desk = await desk_of(request)
    if not isinstance(desk, Operations):
        raise NotHere("what a home keeps of choreographed sagas is forgotten by the service's participants")
    span = body.older_than_seconds
    ended_before = desk.session.store.now() - span
    if body.dry_run:
        counted = await desk.count_ended(older_than=span)
        return answer({"pruned": 0, "would_prune": counted, "kept": 0, "ended_before": as_json.instant(ended_before)})
    found = await desk.prune(older_than=span, limit=body.limit)
    who, when = person_of(request).name, as_json.instant(ended_before)
    _log.warning("%s has sagas forgotten that ended before %s: %d", who, when, found.pruned)
    return answer(as_json.pruned(found, ended_before, dry_run=False))


async def _acted(request: Request, verb: str, send: Send, *, confirms: bool = True) -> Response:
    """The answer of a saga. One that has not come in time is no error: what was asked is kept."""
    who: dict[str, Any] = {"actor": person_of(request).name, "message": key_of(request)}
    version = version_of(request, needed=confirms)
    if version is not None:
        who["if_version"] = version
    id_ = saga_id_of(request)
    try:
        found = await send(await desk_of(request), id_, who)
    except NotAnswered as error:
        kept = {"id": id_, "verb": verb, "step": None, "answer": "kept", "detail": f"{error}. {KEPT}"}
        return answer(kept, HTTPStatus.ACCEPTED)
    return answer(as_json.answer(found))
