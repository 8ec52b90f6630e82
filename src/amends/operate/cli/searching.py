"""What to look for, as options of a command: the same in every verb that is about several sagas.

Guarantees: an option narrows what the others leave; the options can be written down again for the next command.
Must not: look.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import click

from amends.operate.cli.prune import optional_span
from amends.operate.values import Search, Trouble

F = TypeVar("F", bound=Callable[..., Any])
STATUSES = ("running", "compensating", "parked", "completed", "compensated")
COUNTED_SECONDS = 300.0  # for counting what fits, and between two clocks
_SPANS = {"older_than": "started_before", "newer_than": "started_after", "unchanged_for": "changed_before"}
_LISTS = {
    "statuses": "status",
    "sagas": "saga",
    "steps": "step",
    "fingerprints": "error",
    "versions": "version",
    "troubles": "trouble",
}


def _fields(_: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    found = []
    for text in texts:
        name, sign, value = text.partition("=")
        if not (name and sign):
            raise click.BadParameter(f"{text!r}: a field and its value are expected, such as sku=tea")
        found.append((name, value))
    return tuple(found)


def _seconds(name: str) -> Callable[[click.Context, click.Parameter, str | None], tuple[str, float] | None]:
    """A span, with the words that said it."""

    def read(ctx: click.Context, option: click.Parameter, text: str | None) -> tuple[str, float] | None:
        seconds = optional_span(ctx, option, text)
        return None if seconds is None or text is None else (text, seconds)

    read.__name__ = name
    return read


_OPTIONS = (
    click.option(
        "--status", "statuses", multiple=True, type=click.Choice(STATUSES), help="Only these; may be repeated."
    ),
    click.option("--saga", "sagas", multiple=True, metavar="NAME", help="Only of this definition; may be repeated."),
    click.option(
        "--step", "steps", multiple=True, metavar="STEP", help="Only where this step went wrong; may be repeated."
    ),
    click.option(
        "--error",
        "fingerprints",
        multiple=True,
        metavar="FINGERPRINT",
        help="Only what went wrong like this, as --group of `amends list` names it; may be repeated.",
    ),
    click.option("--key", default="", metavar="ID", help="Only this id, or those that begin with it."),
    click.option(
        "--input",
        "fields",
        multiple=True,
        callback=_fields,
        metavar="FIELD=VALUE",
        help="Only where this field of the input has this value; may be repeated.",
    ),
    click.option(
        "--version",
        "versions",
        multiple=True,
        metavar="VERSION",
        help="Only on this version of its definition; may be repeated.",
    ),
    click.option(
        "--trouble",
        "troubles",
        multiple=True,
        type=click.Choice([str(kind) for kind in Trouble]),
        help="Only those that wait for somebody for this reason; may be repeated.",
    ),
    click.option("--stuck", is_flag=True, help="Only those parked, stalled, or with a stuck step."),
    click.option("--assigned", metavar="PERSON", help="Only those that this person sees to; '' for nobody."),
    click.option(
        "--older-than",
        callback=_seconds("older_than"),
        metavar="SPAN",
        help="Only those started longer ago: 90s, 15m, 2d.",
    ),
    click.option(
        "--newer-than", callback=_seconds("newer_than"), metavar="SPAN", help="Only those started since then."
    ),
    click.option(
        "--unchanged-for",
        callback=_seconds("unchanged_for"),
        metavar="SPAN",
        help="Only those to which nothing has happened for longer.",
    ),
)


def search_options(command: F) -> F:
    """All that narrows a search."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def search_of(filters: dict[str, Any]) -> Search:
    """What to look for; takes its options out of all that were given. Spans count from now."""
    given = {name: filters.pop(name) for name in (*_LISTS, "key", "stuck", "assigned")}
    given["troubles"] = tuple(Trouble(name) for name in given["troubles"])
    now = time.time()
    for name, instant in _SPANS.items():
        span = filters.pop(name)
        given[instant] = None if span is None else now - span[1]
    return Search(input=filters.pop("fields"), **given)


def as_begun(search: Search, begun: Search, at: float) -> Search:
    """A search just read, its spans counted from when the same was looked for first, for what began at `at`; as it is
    where that was none with these spans."""
    ages = [name for name in _SPANS.values() if None not in (getattr(search, name), getattr(begun, name))]
    for name in ages:
        first = time.time() - getattr(search, name) + getattr(begun, name)
        if abs(first - at) > COUNTED_SECONDS:
            return search
    return replace(search, **{name: getattr(begun, name) for name in ages})


def is_narrow(search: Search) -> bool:
    """Whether anything narrows it."""
    return search != Search()


def words_of(filters: dict[str, Any]) -> list[str]:
    """The same options again."""
    words = [f"--{option}={value}" for name, option in _LISTS.items() for value in filters[name]]
    words += [f"--input={name}={value}" for name, value in filters["fields"]]
    words += [f"--key={filters['key']}"] if filters["key"] else []
    words += ["--stuck"] if filters["stuck"] else []
    words += [f"--assigned={filters['assigned']}"] if filters["assigned"] is not None else []
    spans = ((name.replace("_", "-"), filters[name]) for name in _SPANS)
    return words + [f"--{name}={span[0]}" for name, span in spans if span is not None]
