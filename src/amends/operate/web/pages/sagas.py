"""Lists: sagas that fit the filters in the address, and those that are stuck.

Guarantees: one page of rows per reading, newest first; the address says all, so it can be sent to somebody.
Must not: hold a rule of what is stuck.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from amends.operate.values import SagaLine, StuckLine, Trouble
from amends.operate.web.access import Person, Right
from amends.operate.web.context import desk_of, person_of
from amends.operate.web.pages import filters as f
from amends.operate.web.pages.render import at_home, link, live, page
from amends.operate.web.pages.words import wait_for_somebody
from amends.operate.web.plans import plans_of
from amends.operate.web.problems import Forbidden
from amends.operate.web.reading import cursor_of, place_of

ROWS = 50
STUCK_ROWS = 200
TRAIL_MAX = 50
AGES = ("15min", "1h", "6h", "1d", "7d")


class Row(NamedTuple):
    """One saga in a list. why: what holds it up, in words. trouble: what kind that is, where it is one."""

    line: SagaLine
    why: str
    trouble: str


class Pager(NamedTuple):
    """The links to the other pages; empty where there are none."""

    first: str
    newer: str
    older: str


class Choice(NamedTuple):
    """A filter to switch on or off."""

    value: str
    link: str
    on: bool


async def sagas(request: Request) -> Response:
    """The list."""
    wanted = allowed(f.read(request.query_params.multi_items(), time.time()), person_of(request))
    desk = await desk_of(request)
    before = request.query_params.get("before")
    found = await desk.search(wanted.search, before=None if before is None else place_of(before), limit=ROWS)
    rows = tuple(row_of(line) for line in found.sagas)
    names = sorted({plan.name for plan in await plans_of(desk)})
    return page(
        request,
        "sagas.html",
        current="sagas",
        current_part="sagas",
        may_act=person_of(request).may(Right.OPERATE) and not at_home(request),  # to tick, and to repair
        live=live(request, about="sagas"),
        wanted=wanted,
        words_of=f.in_words(wanted),
        rows=rows,
        more=found.more,
        pager=pager(request, wanted.pairs, before, cursor_of(found.place) if found.more else ""),
        statuses=[_choice(request, wanted.pairs, "status", word) for word in f.STATUSES],
        clear=link(request, "sagas"),
        chip_link=lambda pairs: _at(request, pairs),
        repair=link(request, "bulk", "new", **_query(wanted.pairs)),
        names=names,
        ages=AGES,
        troubles=tuple(str(trouble) for trouble in Trouble),
    )


async def stuck(request: Request) -> Response:
    """Those that wait for somebody."""
    desk = await desk_of(request)
    given = request.query_params.getlist("trouble")
    troubles = [Trouble(word) for word in given if word in tuple(Trouble)]
    found = await desk.stuck(limit=STUCK_ROWS, troubles=troubles)
    pairs = tuple(("trouble", str(word)) for word in troubles)
    return page(
        request,
        "stuck.html",
        current="stuck",
        current_part="stuck",
        live=live(request, about="stuck"),
        found=found,
        rows=tuple(stuck_row(line) for line in found.lines),
        title=stuck_title(found.lines, found.more),
        troubles=[
            Choice(
                str(word), link(request, "stuck", **_query(f.toggled(pairs, "trouble", str(word)))), word in troubles
            )
            for word in Trouble
        ],
    )


def allowed(wanted: f.Filters, person: Person) -> f.Filters:
    """What somebody may look for: to look by a payload is to read it. Raises Forbidden."""
    if wanted.search.input and not person.payloads:
        raise Forbidden(f"{person.name} may not read payloads, and so not look for sagas by a field of their input")
    return wanted


def row_of(line: SagaLine) -> Row:
    """A saga in a list, with the one thing that one wants to know of it."""
    for trouble, why in (("stalled", line.stalled), ("silent", line.silent)):
        if why:
            return Row(line, why, trouble)
    if line.stranded and line.status != "parked":
        return Row(line, line.stranded, "stranded")
    if line.stuck and line.status in ("running", "compensating"):
        return Row(line, line.reason or line.stuck, "stuck")
    return Row(line, line.reason or line.holder, "")


def stuck_row(found: StuckLine) -> Row:
    """One that waits for somebody."""
    return Row(found.saga, found.why, str(found.trouble))


def stuck_title(lines: Sequence[StuckLine], more: bool) -> str:
    """What the page says first."""
    return wait_for_somebody(len(lines), more=more)


def pager(request: Request, pairs: f.Pairs, before: str | None, following: str) -> Pager:
    """The links to newer and older rows. The way back is in the address, since a key set has none."""
    trail = request.query_params.getlist("back")[-TRAIL_MAX:]
    first = _at(request, pairs) if before is not None else ""
    newer = ""
    if before is not None:
        at = trail[-1] if trail else ""
        newer = _at(request, (*pairs, *(("back", one) for one in trail[:-1]), *([("before", at)] if at else [])))
    older = ""
    if following:
        passed = [*trail, before] if before is not None else [""]
        older = _at(request, (*pairs, *(("back", one) for one in passed), ("before", following)))
    return Pager(first, newer, older)


def _choice(request: Request, pairs: f.Pairs, name: str, value: str) -> Choice:
    return Choice(value, _at(request, f.toggled(pairs, name, value)), (name, value) in pairs)


def _at(request: Request, pairs: f.Pairs) -> str:
    return link(request, "sagas", **_query(pairs))


def _query(pairs: f.Pairs) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        found[name] = (*found.get(name, ()), value)
    return found
