"""The one way to make a route: each names the right that it demands.

Guarantees: a route whose right somebody has not got is never entered; which right a route demands can be asked of it,
so a test walks them all.
Must not: know what is behind a route.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from amends.operate.web.access import Right, known_of
from amends.operate.web.problems import Forbidden, Unknown

Handler = Callable[[Request], Awaitable[Response]]
WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Told:
    """What the OpenAPI document says of a route. query, body: the classes that are read. answer: the class that its
    JSON has the shape of. confirms: it needs the version that was looked at, in If-Match. versioned: it takes it, and
    needs none. repeats: it takes an Idempotency-Key."""

    summary: str
    tag: str
    query: type[Any] | None = None
    body: type[Any] | None = None
    answer: Any = None
    status: int = 200
    confirms: bool = False
    versioned: bool = False
    repeats: bool = False
    errors: tuple[int, ...] = ()


class Guarded(Route):
    """A route that demands a right. One that writes demands more than to view, but for logging in and out."""

    def __init__(
        self,
        path: str,
        handler: Handler,
        *,
        right: Right,
        methods: Sequence[str] = ("GET",),
        name: str | None = None,
        told: Told | None = None,
    ) -> None:
        self.right: Right = right
        self.told: Told | None = told
        self.handler: Handler = handler
        super().__init__(path, _demanding(right, handler), methods=list(methods), name=name or _name_of(handler))

    @property
    def writes(self) -> bool:
        """Whether asking may change anything."""
        return bool(WRITING & (self.methods or set()))


def _demanding(right: Right, handler: Handler) -> Handler:
    async def entered(request: Request) -> Response:
        if right is not Right.OPEN:
            person = known_of(request)
            if person is None:
                raise Unknown("this needs somebody who is known: log in, or send `Authorization: Bearer …`")
            if not person.may(right):
                raise Forbidden(f"{person.name} is {person.role}, and this takes {_least(right)}")
        return await handler(request)

    return entered


def _least(right: Right) -> str:
    return {Right.VIEW: "a viewer", Right.OPERATE: "an operator", Right.ADMIN: "an admin"}.get(right, "nobody")


def _name_of(handler: Handler) -> str:
    return getattr(handler, "__name__", type(handler).__name__)


route = Guarded
