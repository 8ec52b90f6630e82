"""Who reacts to what in a choreography of events, and what cannot come to a good end.

Each rule knows only what services declare: the events that a handler may return, that an event `begins` a chain, tells
of a `rejection`, or `compensates` another. What a handler tells by hand is seen where it is declared.

Guarantees: equal scenes have equal problems, in the same order; a scene without any is finite: every chain ends.
Must not: know a function or a message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from amends.decide.flows import FlowPlan


class Fact(NamedTuple):
    """An event that a service tells. type: its name on the wire. begins: the service tells it by itself, in reaction to
    no event. rejection: it tells that something was not done. compensates: the event that it tells the undoing of."""

    type: str
    service: str
    begins: bool = False
    rejection: bool = False
    compensates: str = ""


class Reaction(NamedTuple):
    """What a service does when it hears of an event. function: its name. outcomes: what it may tell, one of these; an
    empty one is nothing."""

    service: str
    function: str
    event: str
    outcomes: tuple[tuple[str, ...], ...] = ((),)

    @property
    def tells(self) -> tuple[str, ...]:
        """Every event that it may tell."""
        return tuple(dict.fromkeys(type_ for outcome in self.outcomes for type_ in outcome))


class Asked(NamedTuple):
    """A command of a service, and the sagas that ask for it."""

    type: str
    service: str
    undoable: bool = False
    readonly: bool = False
    sagas: tuple[str, ...] = ()


class Rule(StrEnum):
    """What may be wrong."""

    UNHEARD = "unheard"
    UNTRIGGERED = "untriggered"
    ENDLESS = "endless"
    UNCOMPENSATED = "uncompensated"
    FORWARD_AGAIN = "forward-again"


class Problem(NamedTuple):
    """Something that is wrong. event: where. words: what, and what would help."""

    rule: Rule
    event: str
    words: str


@dataclass(frozen=True)
class Scene:
    """Several services together. services: those whose handlers are known; of others there is only what these hear."""

    services: tuple[str, ...]
    facts: tuple[Fact, ...]
    reactions: tuple[Reaction, ...]
    commands: tuple[Asked, ...] = ()
    flows: tuple[FlowPlan, ...] = ()

    @cached_property
    def by_type(self) -> Mapping[str, Fact]:
        """The events by their names."""
        return {fact.type: fact for fact in self.facts}

    @cached_property
    def by_event(self) -> Mapping[str, tuple[Reaction, ...]]:
        """Who reacts to an event."""
        found: dict[str, tuple[Reaction, ...]] = {}
        for one in self.reactions:
            found[one.event] = (*found.get(one.event, ()), one)
        return found

    @cached_property
    def begins(self) -> frozenset[str]:
        """The events that come of no other, as far as is known: those of other services may come at any time."""
        given = {fact.type for fact in self.facts if fact.begins or fact.service not in self.services}
        return frozenset(given | {flow.first.type for flow in self.flows})

    def leads_to(self, event: str) -> tuple[str, ...]:
        """The events that may come of an event, at once."""
        return tuple(dict.fromkeys(type_ for one in self.by_event.get(event, ()) for type_ in one.tells))


def problems(scene: Scene) -> tuple[Problem, ...]:
    """What is wrong, rule by rule."""
    return (
        *_unheard(scene),
        *_untriggered(scene),
        *_endless(scene),
        *_uncompensated(scene),
        *_unled(scene),
        *_forward_again(scene),
    )


def _unheard(scene: Scene) -> Iterator[Problem]:
    ends = {event.type for flow in scene.flows for event in flow.ends}
    for fact in scene.facts:
        if fact.service in scene.services and fact.type not in scene.by_event and fact.type not in ends:
            words = f"nobody here handles {fact.type}: name who does, or have a Flow end with it"
            yield Problem(Rule.UNHEARD, fact.type, words)


def _untriggered(scene: Scene) -> Iterator[Problem]:
    """The first event of each part that nothing leads into; what comes of it is untriggered for its sake alone."""
    reached = _reached(scene.begins, scene.leads_to)
    told = {type_ for one in scene.reactions for type_ in one.tells}
    first = [one for one in scene.reactions if one.event not in told]
    for one in (*first, *scene.reactions):  # what goes round and is told only by itself comes last
        if one.event not in reached:
            reached |= _reached([one.event], scene.leads_to)
            service = scene.by_type[one.event].service
            words = (
                f"nothing leads to {one.event}, so {_names(scene, one.event)} never runs: return it from a handler of "
                f"{service}; where {service} tells it by itself, declare it with begins=True"
            )
            yield Problem(Rule.UNTRIGGERED, one.event, words)


def _endless(scene: Scene) -> Iterator[Problem]:
    """Of an event every handler has to have an outcome that ends: nothing, or events that all do."""
    ending: set[str] = set()
    grows = True
    while grows:
        more = {fact.type for fact in scene.facts if fact.type not in ending and _ends(scene, fact.type, ending)}
        ending |= more
        grows = bool(more)
    seen: set[frozenset[str]] = set()
    for fact in scene.facts:
        if fact.type not in ending:
            circle = _circle(scene, fact.type, ending)
            if frozenset(circle) not in seen:
                seen.add(frozenset(circle))
                way = " -> ".join((*circle, circle[0]))
                words = f"{way} goes round without an end: have a handler on the way return nothing, or what ends"
                yield Problem(Rule.ENDLESS, circle[0], words)


def _ends(scene: Scene, event: str, ending: set[str]) -> bool:
    return all(any(ending.issuperset(outcome) for outcome in one.outcomes) for one in scene.by_event.get(event, ()))


def _circle(scene: Scene, event: str, ending: set[str]) -> tuple[str, ...]:
    """The first circle on the way from an event that has no end, beginning with the event that sorts first."""
    way = [event]
    while True:
        stuck = next(
            one for one in scene.by_event[way[-1]] if not any(ending.issuperset(outcome) for outcome in one.outcomes)
        )
        following = next(type_ for type_ in stuck.tells if type_ not in ending)
        if following in way:
            circle = way[way.index(following) :]
            first = circle.index(min(circle))
            return (*circle[first:], *circle[:first])
        way.append(following)


def _uncompensated(scene: Scene) -> Iterator[Problem]:
    """Where something is refused, what was done before it has to be undone by what comes of the refusal."""
    for refused in scene.facts:
        if not refused.rejection:
            continue
        after = _reached([refused.type], scene.leads_to)
        undone = {scene.by_type[type_].compensates for type_ in after}
        for before in scene.facts:
            if before.rejection or before.compensates or before.type in undone:
                continue
            if refused.type in _reached([before.type], scene.leads_to):
                words = (
                    f"{before.type} stays after {refused.type}, which may come of it: no event that compensates it "
                    "comes of that; declare one with compensates=, and have a handler return it"
                )
                yield Problem(Rule.UNCOMPENSATED, before.type, words)


def _unled(scene: Scene) -> Iterator[Problem]:
    for fact in scene.facts:
        if not fact.compensates or fact.begins or fact.service not in scene.services:
            continue
        after = _reached([fact.compensates], scene.leads_to)
        if fact.type not in after and after <= scene.by_event.keys():  # nobody unknown may lead to it
            words = f"{fact.type} compensates {fact.compensates}, and nothing that comes of that leads to it"
            yield Problem(Rule.UNCOMPENSATED, fact.compensates, words)


def _forward_again(scene: Scene) -> Iterator[Problem]:
    for fact in scene.facts:
        if fact.compensates and fact.compensates in _reached([fact.type], scene.leads_to):
            words = f"{fact.type} compensates {fact.compensates}, and leads to it again: it goes back, and then forward"
            yield Problem(Rule.FORWARD_AGAIN, fact.type, words)


def _reached(events: Iterable[str], leads_to: Callable[[str], Iterable[str]]) -> set[str]:
    """These events, and whatever may come of them."""
    reached: set[str] = set()
    open_ = list(events)
    while open_:
        event = open_.pop()
        if event not in reached:
            reached.add(event)
            open_ += leads_to(event)
    return reached


def _names(scene: Scene, event: str) -> str:
    return " and ".join(f"{one.function} of {one.service}" for one in scene.by_event[event])
