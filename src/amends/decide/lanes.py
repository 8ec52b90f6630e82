"""How far a `for_each` has come: counts that follow from its items' statuses, kept so that nobody walks over all.

Guarantees: a walk over very many items costs what has changed, not what there is.
Must not: move an item.
"""

from __future__ import annotations

from amends.decide.plan import item_address
from amends.decide.state import Action, Lane, State, Undo

# What holds one of the places that a `for_each`'s limit gives.
_LIVE = frozenset({Action.RUNNING, Action.WAITING, Undo.RUNNING, Undo.WAITING})


def count_item(state: State, name: str, index: int, status: Action) -> None:
    """The action of an item is in another status."""
    group = state.groups[name]
    lane = group.forward
    kept = (tuple(item for item in items if item != index) for items in (lane.open, lane.again, lane.held))
    open_, again, held = kept
    if status in _LIVE:
        open_ = (*open_, index)
    elif status is Action.PENDING:
        again = (*again, index)
    elif status is Action.STUCK:
        held = (*held, index)
    state.groups[name] = group._replace(forward=Lane(open_, again, held, max(lane.begun, index + 1)))


def count_undo(state: State, name: str, index: int, status: Undo) -> None:
    """The same of its undo."""
    group = state.groups[name]
    undoing = tuple(item for item in group.undoing if item != index)
    if status in _LIVE:
        undoing = (*undoing, index)
    cleared = group.cleared
    while cleared < len(group.items) and state.step(item_address(name, len(group.items) - cleared - 1)).settled:
        cleared += 1
    state.groups[name] = group._replace(undoing=undoing, cleared=cleared)
