"""What a list shows, as its address has it: filters read from a query, and queries made of filters.

Guarantees: pure; what is not understood is said, and narrows nothing; the same filters give the same address.
Must not: search.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from amends.operate.values import Search, Trouble

STATUSES = ("running", "compensating", "parked", "completed", "compensated")
TEXTS = ("saga", "step", "error", "version")  # each may be there several times
ONCE = ("key", "assigned", "older", "newer", "quiet", "stuck")
NAMES = ("status", "trouble", "input", *TEXTS, *ONCE)
NOBODY = "nobody"
VALUES_MAX = 20
_SPAN = re.compile(r"(\d{1,6})\s*(s|min|m|h|d)")
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_TITLES = {
    "status": "status",
    "trouble": "trouble",
    "input": "input",
    "saga": "saga",
    "step": "step",
    "error": "failure",
    "version": "version",
    "key": "id begins with",
    "assigned": "assigned to",
    "older": "started more than … ago",
    "newer": "started within",
    "quiet": "unchanged for",
    "stuck": "stuck",
}

Pairs = tuple[tuple[str, str], ...]


class Chip(NamedTuple):
    """One filter that is on. without: the query that leaves it out."""

    name: str
    title: str
    value: str
    without: Pairs


class Filters(NamedTuple):
    """What is wanted. pairs: as the address has it. wrong: what was not understood, in words."""

    search: Search
    pairs: Pairs
    chips: tuple[Chip, ...]
    wrong: tuple[str, ...]

    def of(self, name: str) -> tuple[str, ...]:
        """The values of one filter."""
        return tuple(value for key, value in self.pairs if key == name)

    def first(self, name: str) -> str:
        """The value of a filter that may be there once."""
        return next(iter(self.of(name)), "")


def read(given: Iterable[tuple[str, str]], now: float) -> Filters:
    """The filters of a query. now: what ages are told from."""
    found = tuple((name, value.strip()) for name, value in given if name in NAMES and value.strip())
    pairs = found[:VALUES_MAX]
    wrong = [f"{len(found)} filters: no more than {VALUES_MAX} count"] if len(found) > VALUES_MAX else []
    statuses = _known(pairs, "status", STATUSES, wrong)
    troubles = _known(pairs, "trouble", tuple(Trouble), wrong)
    ages = {name: _age(pairs, name, now, wrong) for name in ("older", "newer", "quiet")}
    search = Search(
        statuses=statuses,
        sagas=_of(pairs, "saga"),
        steps=_of(pairs, "step"),
        fingerprints=_of(pairs, "error"),
        key=_one(pairs, "key"),
        input=tuple(_fields(_of(pairs, "input"), wrong)),
        versions=_of(pairs, "version"),
        troubles=tuple(Trouble(word) for word in troubles),
        stuck=bool(_one(pairs, "stuck")),
        assigned=_person(_one(pairs, "assigned")),
        started_after=ages["newer"],
        started_before=ages["older"],
        changed_before=ages["quiet"],
    )
    return Filters(search, pairs, chips_of(pairs), tuple(wrong))


def chips_of(pairs: Pairs) -> tuple[Chip, ...]:
    """What is on, each with the way to leave it out. Statuses are shown apart."""
    return tuple(
        Chip(name, _TITLES[name], value, tuple(pair for at, pair in enumerate(pairs) if at != index))
        for index, (name, value) in enumerate(pairs)
        if name != "status"
    )


def toggled(pairs: Pairs, name: str, value: str) -> Pairs:
    """The same filters with one more, or one fewer where it is on."""
    if (name, value) in pairs:
        return tuple(pair for pair in pairs if pair != (name, value))
    return (*pairs, (name, value))


def seconds_of(text: str) -> float | None:
    """A span such as `15min`, `2 h` or `1d`; None for what is none."""
    found = _SPAN.fullmatch(text.strip().lower())
    return None if found is None else float(found[1]) * _SECONDS[found[2]]


def in_words(filters: Filters) -> str:
    """The filters as a person would say them."""
    if not filters.pairs:
        return "every saga"
    said = [f"{_TITLES[name]} {value}" if name != "stuck" else "stuck" for name, value in filters.pairs]
    return "sagas with " + ", ".join(said)


def _known(pairs: Pairs, name: str, known: Sequence[str], wrong: list[str]) -> tuple[str, ...]:
    given = _of(pairs, name)
    wrong += [f"{name}={value}: there is {', '.join(known)}" for value in given if value not in known]
    return tuple(value for value in given if value in known)


def _of(pairs: Pairs, name: str) -> tuple[str, ...]:
    return tuple(value for key, value in pairs if key == name)


def _one(pairs: Pairs, name: str) -> str:
    return next((value for key, value in pairs if key == name), "")


def _person(name: str) -> str | None:
    if not name:
        return None
    return "" if name == NOBODY else name


def _fields(texts: Sequence[str], wrong: list[str]) -> Iterable[tuple[str, str]]:
    for text in texts:
        field, equals, value = text.partition("=")
        if equals and field.strip():
            yield field.strip(), value.strip()
        else:
            wrong.append(f"input={text}: a field of the input and its value are expected, such as sku=tea")


def _age(pairs: Pairs, name: str, now: float, wrong: list[str]) -> float | None:
    text = _one(pairs, name)
    if not text:
        return None
    seconds = seconds_of(text)
    if seconds is None:
        wrong.append(f"{name}={text}: a span is expected, such as 15min, 2h or 1d")
        return None
    return now - seconds
