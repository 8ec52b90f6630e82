"""What every handler of the API and of the pages can ask for.

    web = web_of(request)               # the one application: access, desks, limits, live events
    desk = await desk_of(request)       # Operations | HomeOperations, of the place that `?at=` names
    person = person_of(request)         # who asks; known_of(request) may be None, on open routes
    csrf(request)                       # for the hidden field `csrf` of every form that posts
    href(request, "sagas", saga_id)     # a link under wherever this is mounted, every part quoted

Routes are made by `routing.route(path, handler, right=Right.OPERATE, methods=("POST",))` only. The guard has checked
host, origin and CSRF before a handler is entered, and the route the right.

Guarantees: a saga's id is one part of a path, whatever characters it has.
Must not: know any route.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

from starlette.requests import HTTPConnection, Request

from amends.operate.web.access import Access, Person, known_of
from amends.operate.web.desks import Desk, Desks
from amends.operate.web.problems import Unknown
from amends.run.asking import check_id

if TYPE_CHECKING:
    from amends.operate.web.live import Live

SLASH = "\x1f"  # stands in a path for a slash that was quoted; no id holds it, since it cannot be printed


@dataclass(frozen=True, slots=True)
class Limits:
    """What one may ask for. acts: of one person. logins: wrong tokens, from one address. requests: in work at once;
    those that wait for an outcome, those that act on one saga, and those that log in, are counted apart. listeners:
    pages that are told what changes."""

    body_bytes: int = 2 * 1024 * 1024
    requests: int = 64
    listeners: int = 100
    acts_per_second: float = 20.0
    acts_burst: int = 60
    logins_per_minute: float = 12.0
    logins_burst: int = 10


@dataclass(frozen=True, slots=True)
class Web:
    """The application. title: of its pages; what tells this dashboard from another. hosts: the names by which it may
    be asked, none for any. origins: from which forms may come besides its own, as behind a proxy that renames it.
    open_metrics: whoever asks may read them, as a scraper without a token does. hints: lines
    that the first page shows, of what one may try."""

    access: Access
    desks: Desks
    limits: Limits
    live: Live
    title: str = "amends"
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    open_metrics: bool = False
    hints: tuple[str, ...] = ()


def web_of(connection: HTTPConnection) -> Web:
    """The application that a request is in."""
    found: Web = connection.state.amends_web
    return found


def person_of(request: Request) -> Person:
    """Who asks. Raises Unknown."""
    found = known_of(request)
    if found is None:
        raise Unknown("this needs somebody who is known")
    return found


async def desk_of(request: Request) -> Desk:
    """What may be asked of the sagas at the place that is meant. Raises UnknownSaga, StoreError."""
    return await web_of(request).desks.one(request.query_params.get("at")).desk()


def csrf(request: Request) -> str:
    """What a form must carry in its field `csrf`; empty for nobody."""
    person = known_of(request)
    return "" if person is None else web_of(request).access.csrf(request, person)


def saga_id_of(request: Request) -> str:
    """The id in a path, as it was written before it was quoted. Raises ValueRefused, LimitExceeded."""
    return check_id(str(request.path_params["id"]).replace(SLASH, "/"))


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, the first value of each. Starlette's own reading needs one more package."""
    return {name: values[0] for name, values in (await form_lists_of(request)).items()}


async def form_lists_of(request: Request) -> dict[str, list[str]]:
    """The fields of a form, all values of each."""
    body = (await request.body()).decode("utf-8", "replace")
    return parse_qs(body, keep_blank_values=True)


def next_of(text: str, request: Request) -> str:
    """Where somebody is led after logging in: a path of this application, whatever was asked for."""
    root = str(request.scope.get("root_path", ""))
    sound = text.isprintable() and text.isascii() and text.startswith(f"{root}/") and "\\" not in text
    return text if sound and not text.startswith("//") else f"{root}/"


def href(request: HTTPConnection, *parts: str) -> str:
    """A path under wherever this is mounted; each part is quoted."""
    root = str(request.scope.get("root_path", "")).rstrip("/")
    return f"{root}/{'/'.join(quote(part, safe='') for part in parts)}"
