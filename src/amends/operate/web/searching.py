"""What a query or a body says of which sagas are wanted, as a `Search`.

Guarantees: who may not read payloads does not find out by asking which sagas have which.
Must not: look for any.
"""

from __future__ import annotations

from datetime import datetime

from starlette.requests import Request

from amends.operate.values import Search
from amends.operate.web.context import person_of
from amends.operate.web.problems import Forbidden
from amends.operate.web.shapes import ListQuery, SearchBody


def search_of(request: Request, query: ListQuery | SearchBody) -> Search:
    """What is searched for. Raises Forbidden."""
    pairs = query.input.items() if isinstance(query.input, dict) else (_pair(text) for text in query.input)
    if query.input and not person_of(request).payloads:
        raise Forbidden("to search by the input takes the right to read payloads")
    return Search(
        statuses=tuple(query.status),
        sagas=tuple(query.saga),
        steps=tuple(query.step),
        fingerprints=tuple(query.fingerprint),
        key=query.key,
        input=tuple(pairs),
        versions=tuple(query.version),
        troubles=tuple(query.trouble),
        stuck=query.stuck,
        assigned=query.assigned,
        started_after=_instant(query.started_after),
        started_before=_instant(query.started_before),
        changed_before=_instant(query.changed_before),
    )


def _pair(text: str) -> tuple[str, str]:
    field, _, value = text.partition("=")
    return field, value


def _instant(given: datetime | None) -> float | None:
    return None if given is None else given.timestamp()
