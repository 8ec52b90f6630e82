"""The first page: how all sagas fare, what went wrong most, and who works.

Guarantees: one reading of the store gives the whole page, but for the outboxes of services that are shown beside it.
Must not: count anything itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from amends.operate.operations import Operations
from amends.operate.values import Overview
from amends.operate.web.context import desk_of, web_of
from amends.operate.web.outboxes import outboxes_of
from amends.operate.web.pages.render import link, live, page
from amends.operate.web.pages.words import figure, wait_for_somebody

SEE_OTHER = 303
NO_WATCHER = "No watcher is alive: sagas go on, and nothing is heard of them"


class Rate(NamedTuple):
    """One row of bars. label: what it says, for whoever cannot see it."""

    name: str
    tone: str
    values: tuple[int, ...]
    now: int
    hour: str
    label: str


class Figure(NamedTuple):
    """One number. status: the filter that lists what it counts, empty where none does."""

    name: str
    word: str
    number: str
    status: str
    note: str = ""
    loud: bool = False


async def overview(request: Request) -> Response:
    """The page."""
    desk = await desk_of(request)
    if not isinstance(desk, Operations):  # a home counts nothing; its list says what there is
        return RedirectResponse(link(request, "sagas"), SEE_OTHER)
    found = await desk.overview()
    return page(
        request,
        "overview.html",
        current="overview",
        live=live(request, about="overview"),
        overview=found,
        headline=headline(found),
        figures=figures(found),
        rates=rates(found),
        empty=is_empty(found),
        outboxes=await outboxes_of(web_of(request).desks),
        hints=web_of(request).hints,
    )


def headline(found: Overview) -> str:
    """The state of things in one sentence."""
    if found.stuck:
        return wait_for_somebody(found.stuck, more=found.troubles_more)
    going = sum(number for status, number in found.counts.items() if status != "parked")
    if not found.workers and going:
        return NO_WATCHER if found.watches else "No worker is alive: nothing moves"
    return wait_for_somebody(0)


def figures(found: Overview) -> tuple[Figure, ...]:
    """The numbers at the top."""
    counts = found.counts
    parked = counts.get("parked", 0)
    return (
        Figure("Running", "running", figure(counts.get("running", 0)), "running"),
        Figure("Going back", "compensating", figure(counts.get("compensating", 0)), "compensating"),
        Figure("Parked", "parked", figure(parked), "parked", loud=bool(parked)),
        _ended("Completed", found.hour.completed, found.hour.more),
        _ended("Compensated", found.hour.compensated, found.hour.more),
    )


def rates(found: Overview) -> tuple[Rate, ...]:
    """The bars: a minute each."""
    told = found.rates
    return (
        _rate("Started", "running", told.started),
        _rate("Completed", "good", told.completed),
        _rate("Compensated", "undone", told.compensated),
        _rate("Parked", "bad", told.parked),
    )


def is_empty(found: Overview) -> bool:
    """Whether there is nothing at all to see yet."""
    ends = (found.day.completed, found.day.compensated)
    return not any(found.counts.values()) and not any(ends) and not any(found.rates.started)


def _ended(name: str, number: int, more: bool) -> Figure:
    word = name.lower()
    return Figure(name, word, f"{number:,}{'+' if more else ''}", word, "last hour")


def _rate(name: str, tone: str, values: Sequence[int]) -> Rate:
    total = sum(values)
    now = values[-1] if values else 0
    most = max(values, default=0)
    label = (
        f"{name} per minute over the last {len(values)} minutes: {total} in all, at most {most} in one, {now} in this"
    )
    return Rate(name, tone, tuple(values), now, f"{total:,}", label)
