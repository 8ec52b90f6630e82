"""Who reacts to what, as a Mermaid flowchart: services with what they do, and the events and sagas between them.

Guarantees: pure; every event, handler and command of a scene is drawn once; any name draws.
Must not: lay anything out; Mermaid does.
"""

from __future__ import annotations

from collections.abc import Iterator

from amends.decide.reactions import Fact, Problem, Reaction, Scene
from amends.operate.mermaid import escaped

_CLASSES = {
    "rejection": "fill:#fbe3e4,stroke:#b02a37,color:#3a1114",
    "compensation": "fill:#d6eef5,stroke:#2a7f98,color:#11303a",
    "problem": "stroke:#b02a37,stroke-width:3px,stroke-dasharray:5 3",
}
BY_ITSELF = "by itself"


def mermaid_of(scene: Scene, problems: tuple[Problem, ...] = ()) -> str:
    """The flowchart's text. problems: whose events stand out."""
    lines = [line for service in scene.services for line in _service(scene, service)]
    lines += [f'    {_event(scene, fact)}(["{escaped(_label(fact))}"])' for fact in scene.facts]
    lines += _edges(scene)
    sagas = dict.fromkeys(saga for command in scene.commands for saga in command.sagas)
    for number, saga in enumerate(sagas, 1):
        lines.append(f'    s{number}[["{escaped(f"saga {saga}")}"]]')
        lines += [
            f"    s{number} --> c{place}" for place, command in enumerate(scene.commands, 1) if saga in command.sagas
        ]
    return "\n".join(["flowchart LR", *lines, *_styles(scene, problems)]) + "\n"


def _service(scene: Scene, service: str) -> Iterator[str]:
    """A box with what it does. A service that tells something by itself does that, too."""
    yield f'    subgraph g{scene.services.index(service) + 1}["{escaped(service)}"]'
    if any(fact.begins and fact.service == service for fact in scene.facts):
        yield f'        b{scene.services.index(service) + 1}("{escaped(BY_ITSELF)}")'
    for number, one in enumerate(scene.reactions, 1):
        if one.service == service:
            yield f'        h{number}["{escaped(one.function)}"]'
    for number, command in enumerate(scene.commands, 1):
        if command.service == service:
            undo = " ↩" if command.undoable else ""
            yield f'        c{number}[/"{escaped(command.type.removeprefix(service + "."))}{undo}"/]'
    yield "    end"


def _edges(scene: Scene) -> Iterator[str]:
    for fact in scene.facts:
        if fact.begins and fact.service in scene.services:
            yield f"    b{scene.services.index(fact.service) + 1} --> {_event(scene, fact)}"
    for number, one in enumerate(scene.reactions, 1):
        yield f"    {_event(scene, scene.by_type[one.event])} --> h{number}"
        for type_ in one.tells:
            arrow = "-->" if _always(one, type_) else "-.->"
            yield f"    h{number} {arrow} {_event(scene, scene.by_type[type_])}"


def _always(one: Reaction, type_: str) -> bool:
    """Whether a handler tells this in any case."""
    return all(type_ in outcome for outcome in one.outcomes)


def _event(scene: Scene, fact: Fact) -> str:
    return f"e{scene.facts.index(fact) + 1}"


def _label(fact: Fact) -> str:
    return f"{fact.type} ↩" if fact.compensates else fact.type


def _styles(scene: Scene, problems: tuple[Problem, ...]) -> Iterator[str]:
    wrong = {one.event for one in problems}
    members = {
        "rejection": [fact for fact in scene.facts if fact.rejection],
        "compensation": [fact for fact in scene.facts if fact.compensates and not fact.rejection],
        "problem": [fact for fact in scene.facts if fact.type in wrong],
    }
    for name, facts in members.items():
        if facts:
            yield f"    classDef {name} {_CLASSES[name]}"
            yield f"    class {','.join(_event(scene, fact) for fact in facts)} {name}"
