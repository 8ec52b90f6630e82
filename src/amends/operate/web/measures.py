"""`/metrics`: how all sagas fare, for Prometheus: gauges from the database, and what this process itself has observed.

Guarantees: asked at most once a second, whoever scrapes; a database that is away is a gauge, not an error.
Must not: name a saga's id, a person or a payload.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from amends.errors import AmendsError
from amends.operate.operations import Operations
from amends.operate.values import Overview
from amends.operate.web.context import desk_of

MEDIA = "text/plain; version=0.0.4; charset=utf-8"


async def metrics(request: Request) -> Response:
    """The text that Prometheus reads."""
    try:
        desk = await desk_of(request)
        found = await desk.overview() if isinstance(desk, Operations) else None
    except AmendsError:
        return Response("# TYPE amends_store_up gauge\namends_store_up 0\n", media_type=MEDIA)
    return Response(_text(found), media_type=MEDIA)


def _text(overview: Overview | None) -> str:
    lines = ["# TYPE amends_store_up gauge", "amends_store_up 1"]
    return "\n".join(lines) + "\n" if overview else "\n".join(lines) + "\n"
