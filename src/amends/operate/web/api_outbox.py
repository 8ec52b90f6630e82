"""The HTTP API, of what a service publishes: how far that is behind, and having it published again.

Guarantees: whoever has events published again is in the log.
Must not: publish; participants do.
"""

from __future__ import annotations

import logging

from starlette.requests import Request
from starlette.responses import Response

from amends.operate import as_json
from amends.operate.homes import HomeOperations
from amends.operate.web import answers as a
from amends.operate.web import shapes as s
from amends.operate.web.access import Right
from amends.operate.web.context import desk_of, person_of
from amends.operate.web.problems import NotHere
from amends.operate.web.reading import answer, body_of, query_of
from amends.operate.web.routing import Guarded, Told, route

_log = logging.getLogger("amends.web")


def routes(root: str) -> list[Guarded]:
    """Both. root: of the API."""
    behind = Told("What a service's outbox and inbox hold", "services", s.Query, answer=a.Outbox, errors=(501,))
    again = Told("Have its events published again", "services", s.Query, s.Republish, a.Republished, errors=(501,))
    return [
        route(f"{root}/outbox", outbox, right=Right.VIEW, told=behind),
        route(f"{root}/outbox/republish", republish, right=Right.ADMIN, methods=("POST",), told=again),
    ]


async def outbox(request: Request) -> Response:
    """What waits to be published, and what is remembered."""
    query_of(request, s.Query)
    home = await _home(request)
    return answer(as_json.outbox(home.keeping, await home.sizes()))


async def republish(request: Request) -> Response:
    """Have what was published since then published again: after a broker has lost its data."""
    body = await body_of(request, s.Republish)
    home = await _home(request)
    count = await home.republish(since_seconds=body.since_seconds)
    who, span = person_of(request).name, body.since_seconds
    _log.warning("%s has the events of %s of the last %g s published again: %d", who, home.service, span, count)
    return answer(as_json.republished(home.keeping, count))


async def _home(request: Request) -> HomeOperations:
    """Of the service that is meant. Raises NotHere."""
    desk = await desk_of(request)
    if not isinstance(desk, HomeOperations):
        raise NotHere("an orchestrator has no outbox of events; name a service that is shown here, as in ?at=orders")
    return desk
