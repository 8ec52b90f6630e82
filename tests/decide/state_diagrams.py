"""The state diagrams of the docs, drawn from the transition tables of the core.

    python tests/decide/state_diagrams.py

writes them anew into docs/concepts/states.md, between their markers; a test fails when the page
and the tables differ.

Guarantees: every transition of a table is drawn, and nothing else.
Must not: hold a transition of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from amends.decide.events import Event
from amends.decide.state import ACTION_TABLE, ENDED, SAGA_TABLE, UNDO_SETTLED, UNDO_TABLE, Action, Status, Undo

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "states.md"
StatusT = TypeVar("StatusT", Status, Action, Undo)
Table = Mapping[type[Event], Mapping[StatusT, StatusT]]


def diagram(table: Table[StatusT], first: StatusT, last: Iterable[StatusT]) -> str:
    """One table as a Mermaid state diagram. `last`: the statuses that nothing leaves."""
    edges: dict[tuple[str, str], list[str]] = {}
    for event, moves in table.items():
        for before, now in moves.items():
            edges.setdefault((before, now), []).append(words(event))
    lines = ["stateDiagram-v2", f"    [*] --> {first}"]
    lines += [f"    {before} --> {now}: {', '.join(names)}" for (before, now), names in edges.items()]
    lines += [f"    {status} --> [*]" for status in sorted(last)]
    return "\n".join(lines)


def words(event: type[Event]) -> str:
    """An event's name as it is read: `TurnedBack` is "turned back"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", event.__name__).lower()


def unmoved(table: Table[StatusT], statuses: Iterable[StatusT]) -> set[StatusT]:
    """The statuses that no event leaves."""
    return set(statuses) - {before for moves in table.values() for before in moves}


def diagrams() -> dict[str, str]:
    """The three diagrams, by the name of their markers."""
    return {
        "saga": diagram(SAGA_TABLE, Status.RUNNING, ENDED),
        "action": diagram(ACTION_TABLE, Action.PENDING, unmoved(ACTION_TABLE, Action)),
        "undo": diagram(UNDO_TABLE, Undo.PENDING, UNDO_SETTLED),
    }


def drawn(page: str) -> str:
    """The page with its diagrams as the tables have them. Raises ValueError for a marker that is missing."""
    for name, text in diagrams().items():
        pattern = re.compile(rf"(<!-- drawn: {name} -->\n).*?(<!-- end: {name} -->)", re.S)
        page, found = pattern.subn(rf"\1\n```mermaid\n{text}\n```\n\n\2", page)
        if found != 1:
            raise ValueError(f"the page has {found} places for the diagram {name!r}, one is expected")
    return page


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text()))
