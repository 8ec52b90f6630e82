"""`amends graph` of services together: who reacts to what, drawn, and what is wrong with it.

Guarantees: needs the code only: no broker and no database.
Must not: judge; `decide/reactions.py` does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import click

from amends.decide.flows import FlowPlan
from amends.decide.reactions import Fact, Problem, Scene, problems
from amends.define.flow import Flow
from amends.operate.cli.app import AppError, object_of
from amends.operate.cli.exits import Exit
from amends.operate.cli.output import console, emit_json, heading, print_table, word
from amends.operate.drawing import lasting
from amends.operate.mermaid_events import mermaid_of
from amends.operate.reacting import KINDS, scene_of, together
from amends.run.participant import Participant


def is_events(targets: Sequence[str]) -> bool:
    """Whether these are services together, and not a saga or an orchestrator's. Raises AppError."""
    if any(":" in target for target in targets[1:]):
        return True
    value = object_of(targets[0])
    if isinstance(value, ModuleType):
        return any(isinstance(one, (Participant, Flow)) for one in vars(value).values())
    return isinstance(value, (Participant, Flow))


def graph_events(targets: Sequence[str], *, check: bool, as_mermaid: bool, as_json: bool) -> int:
    """Draw or check; gives the exit code. Raises AppError."""
    scene = scene_of(together(value for target in targets for value in _values(target)))
    if not scene.services:
        raise AppError(f"{' '.join(targets)}: name participants, or a module with some; there is none")
    found = problems(scene)
    if check and as_json:
        emit_json([one._asdict() for one in found])
    elif check:
        _print_problems(scene, found)
    elif as_json:
        emit_json(_shape(scene))
    elif as_mermaid:
        click.echo(mermaid_of(scene, found), nl=False)
    else:
        _print(scene)
    return Exit.TROUBLE if check and found else Exit.OK


def _shape(scene: Scene) -> dict[str, Any]:
    return {
        "services": scene.services,
        "events": [fact._asdict() for fact in scene.facts],
        "reactions": [one._asdict() for one in scene.reactions],
        "commands": [one._asdict() for one in scene.commands],
        "flows": [json.loads(flow.json) for flow in scene.flows],
    }


def _values(target: str) -> list[object]:
    value = object_of(target)
    if isinstance(value, ModuleType):
        return [one for name, one in vars(value).items() if not name.startswith("_") and isinstance(one, KINDS)]
    if not isinstance(value, KINDS):
        raise AppError(f"{target!r} is a {type(value).__name__}; participants and flows are drawn together")
    return [value]


def _print_problems(scene: Scene, found: tuple[Problem, ...]) -> None:
    out = console()
    for one in found:
        out.print(word(one.words, "bad"))
    if not found:
        many = f"{len(scene.services)} services, {len(scene.facts)} events, {len(scene.reactions)} handlers"
        out.print(f"{many}, and nothing that cannot come to a good end")


def _print(scene: Scene) -> None:
    out = console()
    print_table(
        out,
        ("event", "told by", "handled by"),
        [(_named(fact), _tellers(scene, fact), _hearers(scene, fact)) for fact in scene.facts],
    )
    if scene.commands:
        out.print()
        rows = [(f"{one.type} ↩" if one.undoable else one.type, ", ".join(one.sagas)) for one in scene.commands]
        print_table(out, ("command", "asked by"), rows)
    for flow in scene.flows:
        out.print()
        out.print(heading(f"The flow {flow.name}"))
        print_table(out, ("after", "one of", "within"), _lines(flow))


def _named(fact: Fact) -> str:
    if fact.compensates:
        return f"{fact.type}, compensates {fact.compensates}"
    return f"{fact.type}, a rejection" if fact.rejection else fact.type


def _tellers(scene: Scene, fact: Fact) -> str:
    by_itself = [fact.service] if fact.begins or fact.service not in scene.services else []
    return ", ".join((*by_itself, *(one.function for one in scene.reactions if fact.type in one.tells)))


def _hearers(scene: Scene, fact: Fact) -> str:
    return ", ".join(f"{one.function} of {one.service}" for one in scene.by_event.get(fact.type, ()))


def _lines(flow: FlowPlan) -> list[tuple[str, str, str]]:
    return [(one.event.type, ", ".join(one.types), lasting(one.within)) for one in flow.expectations]
