"""Who reacts to what, taken from participants, orchestrators and flows as they stand in the code.

Guarantees: opens nothing; what is declared twice is there once.
Must not: judge; `decide/reactions.py` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from amends.decide.reactions import Asked, Fact, Reaction, Scene
from amends.define.contract import Event
from amends.define.flow import Flow
from amends.define.program import Program
from amends.run.orchestrator import Orchestrator
from amends.run.participant import Participant


class Together(NamedTuple):
    """What is looked at together."""

    participants: tuple[Participant, ...] = ()
    orchestrators: tuple[Orchestrator, ...] = ()
    flows: tuple[Flow, ...] = ()


KINDS = (Participant, Orchestrator, Flow)


def together(values: Iterable[object]) -> Together:
    """What of these can be looked at together, each once."""
    found = list({id(value): value for value in values}.values())
    return Together(
        tuple(one for one in found if isinstance(one, Participant)),
        tuple(one for one in found if isinstance(one, Orchestrator)),
        tuple(one for one in found if isinstance(one, Flow)),
    )


def scene_of(given: Together) -> Scene:
    """All of it as one scene."""
    own = (fact for app in given.participants for fact in _told(app))
    facts = dict.fromkeys((*own, *(fact for app in given.participants for fact in _heard(app))))
    asked = _asked(given)
    commands = tuple(
        Asked(command.type, app.service.name, command.undoable, command.readonly, asked.get(command.type, ()))
        for app in given.participants
        for command in app.service.commands.values()
    )
    return Scene(
        tuple(dict.fromkeys(app.service.name for app in given.participants)),
        tuple(facts),
        tuple(reaction for app in given.participants for reaction in _reactions(app)),
        tuple(dict.fromkeys(commands)),
        tuple(flow.plan for flow in given.flows),
    )


def _told(app: Participant) -> Iterator[Fact]:
    """The events of its service."""
    yield from map(_fact, app.service.events.values())


def _heard(app: Participant) -> Iterator[Fact]:
    """The events that it hears of, and what they tell the undoing of."""
    for event, _ in app.built.handlers.events.values():
        yield _fact(event)
        if event.compensates is not None:
            yield _fact(event.compensates)


def _fact(event: Event[Any]) -> Fact:
    compensates = "" if event.compensates is None else event.compensates.type
    return Fact(event.type, event.service.name, event.begins, event.rejection, compensates)


def _reactions(app: Participant) -> Iterator[Reaction]:
    for event, handler in app.built.handlers.events.values():
        outcomes = tuple(tuple(one.type for one in outcome) for outcome in handler.outcomes)
        yield Reaction(app.service.name, handler.call.fn.__name__, event.type, outcomes)


def _asked(given: Together) -> dict[str, tuple[str, ...]]:
    """The sagas that ask for a command, by its name."""
    found: dict[str, tuple[str, ...]] = {}
    for program in _programs(given):
        for step in program.steps.values():
            remote = step.step.body.remote
            if remote is not None:
                command = f"{remote.service}.{remote.name}"
                found[command] = tuple(dict.fromkeys((*found.get(command, ()), program.plan.name)))
    return found


def _programs(given: Together) -> Iterator[Program]:
    for app in given.participants:
        yield from (route.program for route in app.built.routes.values())
    for orchestrator in given.orchestrators:
        yield from (saga.program for saga in orchestrator.config.registry)
