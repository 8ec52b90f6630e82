"""An expected flow of events: which event leads to which, and by when; and what of it has not come.

    order:  orders.placed      ->  inventory.reserved or inventory.short  within 30 s
            inventory.reserved ->  billing.paid or billing.declined       within 60 s

Who watches folds the events of one correlation into `Seen` and asks `open_expectations`: each answer says what was
seen, which events are waited for, which services should tell one of them, and until when. The first `until` is when to
look again; `overdue` are those whose time is up; one that is met later is open no more. Events may come twice, late,
in any order, with no causation, and some may never have been seen.

Guarantees: equal flows and events give equal answers; an event answers what caused it before it answers anything else.
Must not: know a clock, or what is done about silence.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple


class EventName(NamedTuple):
    """An event, by the service that tells it and its name there."""

    service: str
    name: str

    @property
    def type(self) -> str:
        """Its name on the wire."""
        return f"{self.service}.{self.name}"


class Expectation(NamedTuple):
    """One of several events is expected after an event. within: seconds."""

    event: EventName
    expected: tuple[EventName, ...]
    within: float

    @property
    def types(self) -> tuple[str, ...]:
        """Of the events that are expected."""
        return tuple(one.type for one in self.expected)

    @property
    def services(self) -> tuple[str, ...]:
        """Those that tell one of them."""
        return tuple(dict.fromkeys(one.service for one in self.expected))


@dataclass(frozen=True)
class FlowPlan:
    """A flow as it is stored, drawn and compared. The event of its first expectation begins it."""

    name: str
    expectations: tuple[Expectation, ...]

    @property
    def first(self) -> EventName:
        """The event that begins it."""
        return self.expectations[0].event

    @cached_property
    def events(self) -> tuple[EventName, ...]:
        """Every event in it, in the order in which they are named."""
        named = (event for one in self.expectations for event in (one.event, *one.expected))
        return tuple(dict.fromkeys(named))

    @property
    def services(self) -> tuple[str, ...]:
        """Those that tell its events: whoever watches listens to them."""
        return tuple(dict.fromkeys(event.service for event in self.events))

    @property
    def ends(self) -> tuple[EventName, ...]:
        """The events after which nothing is expected."""
        asking = {one.event for one in self.expectations}
        return tuple(event for event in self.events if event not in asking)

    @cached_property
    def json(self) -> str:
        """The canonical form: equal flows give equal texts."""
        told = [[one.event, one.expected, _number(one.within)] for one in self.expectations]
        return json.dumps({"name": self.name, "expectations": told}, separators=(",", ":"))

    @cached_property
    def fingerprint(self) -> str:
        """32 hex digits that stand for this form of the flow."""
        return hashlib.blake2b(self.json.encode(), digest_size=16).hexdigest()


class Seen(NamedTuple):
    """An event that was seen. id: of the message. at: when it was told, in seconds since 1970. causation: the id of
    the message that led to it, where it says so."""

    type: str
    id: str
    at: float
    causation: str = ""


class Open(NamedTuple):
    """An expectation that nothing has met. after: the event that was seen. types: of the events of which one is
    expected. services: who should tell one. until: an instant."""

    after: Seen
    types: tuple[str, ...]
    services: tuple[str, ...]
    until: float


def flow_from(text: str) -> FlowPlan:
    """The flow that a canonical text describes. Raises KeyError, TypeError or ValueError for one that is none."""
    data = json.loads(text)
    expectations = tuple(
        Expectation(EventName(*event), tuple(EventName(*one) for one in expected), float(within))
        for event, expected, within in data["expectations"]
    )
    return FlowPlan(data["name"], expectations)


def flaws(plan: FlowPlan) -> tuple[str, ...]:
    """What cannot be right about a flow, in words; empty if nothing is."""
    return (*_repeated(plan), *_unreached(plan), *_endless(plan))


def _repeated(plan: FlowPlan) -> Iterator[str]:
    """Of one event an outcome is expected once: where two expectations name it, nobody knows by when."""
    seen: set[tuple[EventName, EventName]] = set()
    for one in plan.expectations:
        for expected in one.expected:
            if (one.event, expected) in seen:
                yield f"{expected.type} is expected twice after {one.event.type}"
            seen.add((one.event, expected))


def _unreached(plan: FlowPlan) -> Iterator[str]:
    reached = {plan.first}
    grows = True
    while grows:
        more = {event for one in plan.expectations if one.event in reached for event in one.expected} - reached
        reached |= more
        grows = bool(more)
    for event in dict.fromkeys(one.event for one in plan.expectations):
        if event not in reached:
            yield f"nothing leads from {plan.first.type}, which begins it, to {event.type}"


def _endless(plan: FlowPlan) -> Iterator[str]:
    """An event has an end if each of its expectations may be met by one that has."""
    ending = set(plan.ends)
    grows = True
    while grows:
        more = {
            event
            for event in plan.events
            if event not in ending
            and all(ending.intersection(one.expected) for one in plan.expectations if one.event == event)
        }
        ending |= more
        grows = bool(more)
    for event in plan.events:
        if event not in ending:
            yield f"after {event.type} something is expected for ever: no way leads to an end"


def open_expectations(plan: FlowPlan, seen: Iterable[Seen]) -> tuple[Open, ...]:
    """What the events of one correlation still lead to, the earliest `until` first. None open, and at least one event
    of the flow seen: it has come to its end."""
    events: dict[str, Seen] = {}
    for one in sorted(seen, key=lambda one: (one.at, one.id)):
        events.setdefault(one.id, one)  # of one that came twice, the first
    found = [
        Open(one, expectation.types, expectation.services, one.at + expectation.within)
        for expectation in plan.expectations
        for one in _unmet(expectation, events)
    ]
    return tuple(sorted(found, key=lambda one: (one.until, one.after.at, one.after.id)))


def overdue(found: Iterable[Open], now: float) -> tuple[Open, ...]:
    """Those whose time is up."""
    return tuple(one for one in found if one.until <= now)


def silent(found: Iterable[Open]) -> tuple[str, ...]:
    """The services that should have told something."""
    return tuple(dict.fromkeys(service for one in found for service in one.services))


def _unmet(expectation: Expectation, events: Mapping[str, Seen]) -> list[Seen]:
    """The events that should have led to something and have not. What says, or whose causes say, that it came of one
    meets that one, the nearest; what says nothing that is known meets the earliest that waits."""
    waiting = {one.id: one for one in events.values() if one.type == expectation.event.type}
    strays: list[Seen] = []
    for one in events.values():
        if one.type in expectation.types:
            cause = next((each for each in _causes(one, events) if each.type == expectation.event.type), None)
            if cause is None:
                strays.append(one)
            else:
                waiting.pop(cause.id, None)
    for stray in strays:
        for one in waiting.values():
            if one.id != stray.id and stray not in _causes(one, events):
                del waiting[one.id]
                break
    return list(waiting.values())


def _causes(one: Seen, events: Mapping[str, Seen]) -> Iterator[Seen]:
    """What led to an event, the nearest first, as far as it was seen."""
    passed = {one.id}
    cause = events.get(one.causation)
    while cause is not None and cause.id not in passed:
        yield cause
        passed.add(cause.id)
        cause = events.get(cause.causation)


def _number(value: float) -> int | float:
    """Equal numbers are written alike: 30.0 as 30."""
    return int(value) if value.is_integer() else value
