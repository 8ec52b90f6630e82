"""Pages made of templates: the environment, and what every page is given.

Guarantees: whatever comes from a saga is escaped, and characters that cannot be seen are written out; a name that a
template asks for and nobody gave is an error, not an empty place.
Must not: decide what is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from amends.operate.cli.safe import safe
from amends.operate.web.access import Right, known_of
from amends.operate.web.context import csrf, href, web_of
from amends.operate.web.pages import words
from amends.operate.web.pages.spark import spark

ROOT = Path(__file__).parent.parent
STATIC = ROOT / "static"
HEADERS = {"Cache-Control": "no-store"}
HTMX = "htmx-2.0.11.min.js"


class Place(NamedTuple):
    """A page in the bar at the top. part: of its path."""

    name: str
    title: str
    part: str


PLACES = (
    Place("overview", "Overview", ""),
    Place("sagas", "Sagas", "sagas"),
    Place("stuck", "Stuck", "stuck"),
    Place("bulk", "Bulk", "bulk"),
    Place("workers", "Workers", "workers"),
    Place("definitions", "Definitions", "definitions"),
)


def page(request: Request, template: str, *, status: int = 200, **given: Any) -> HTMLResponse:
    """A page of a template. given: what it shows."""
    text = environment().get_template(template).render({**common(request), **given})
    return HTMLResponse(text, status, HEADERS)


def common(request: Request) -> dict[str, Any]:
    """What every template may use."""
    person = known_of(request)
    web = web_of(request)
    return {
        "title_of_all": web.title,
        "person": person,
        "may_act": person is not None and person.may(Right.OPERATE),
        "has_login": web.access.has_login,
        "csrf": "" if person is None else csrf(request),
        "places": [place for place in PLACES if place.name != "bulk" or not at_home(request)],
        "homes": web.desks.names,
        "at": place_of(request),
        "now": time.time(),
        "live": "",
        "current": "",
        "flash": None,
        "to": lambda *parts, **query: link(request, *parts, **query),
    }


def place_of(request: Request) -> str | None:
    """The place of sagas that a request names; None for the first."""
    return request.query_params.get("at")


def at_home(request: Request) -> bool:
    """Whether that place is the home of choreographed sagas, which are repaired one by one."""
    at = place_of(request)
    return bool(web_of(request).desks.names[0] if at is None else at)


def link(request: Request, *parts: str, **query: object) -> str:
    """A link to a page, for the same place of sagas as this one. A name that Python keeps for itself ends in `_`; a
    tuple stands for one value after the other; None for nothing."""
    pairs: list[tuple[str, str]] = []
    at = place_of(request)
    if at is not None and "at" not in query and parts[:1] != ("static",):
        pairs.append(("at", at))
    for name, value in query.items():
        values = value if isinstance(value, (tuple, list)) else (value,)
        pairs += [(name.rstrip("_"), str(one)) for one in values if one is not None]
    return href(request, *parts) + (f"?{urlencode(pairs)}" if pairs else "")


def live(request: Request, **topics: object) -> str:
    """Where a page hears that what it shows has changed."""
    return link(request, "live", **topics)


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates with their filters."""
    made = Environment(
        loader=FileSystemLoader(ROOT / "templates"),
        auto_reload=False,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_seen,
    )
    filters: dict[str, Callable[..., Any]] = {
        "capital": words.capital,
        "exact": _exact,
        "mark": words.mark,
        "span": words.span,
        "clock": words.clock,
        "fine": words.fine_clock,
        "whole": words.whole,
        "machine": words.machine,
        "day": words.day,
        "figure": words.figure,
        "listed": words.listed,
    }
    known: dict[str, Any] = {"ago": words.ago, "count": words.count, "spark": spark, "htmx": HTMX}
    made.filters |= filters
    made.globals |= known
    return made


def compile_all() -> None:
    """Compile every template now, a quarter of a second in all, so that no first visitor waits for it."""
    for name in environment().list_templates():
        environment().get_template(name)


def _seen(value: object) -> object:
    """A text with nothing in it that cannot be seen; one that is marked as HTML is ours."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return safe(value, lines=True)
    return value


def _exact(value: object) -> Markup:
    """A value that a form carries and gives back: escaped, and otherwise as it is."""
    return Markup(escape(value))  # noqa: S704  # escaped in this line
