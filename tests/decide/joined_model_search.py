"""Visiting every world that can be reached, the nearest first.

Guarantees: the first bad world has the shortest history; where none is bad, every world is one from which a good end
can be reached by what happens by itself.
Must not: know what a world is.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol, TypeVar

W = TypeVar("W", bound=Hashable)


class Explored(Protocol[W]):
    """A model."""

    def first(self) -> W:
        """The world at the beginning."""
        ...

    def moves(self, world: W, /) -> Iterator[tuple[str, bool, W]]:
        """What may happen next, in words, whether that happens by itself, and the world after it."""
        ...

    def violation(self, world: W, /) -> str:
        """What is wrong; empty if nothing."""
        ...

    def end_of(self, world: W, /) -> str:
        """Which good end this is; empty if it is none."""
        ...


class Report(NamedTuple):
    """What was seen. ends: worlds that are good ends, by which. path: the shortest history that goes wrong, and what is
    wrong with it."""

    worlds: int
    moves: int
    ends: Mapping[str, int]
    path: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.worlds:,} worlds, {self.moves:,} moves"


def explore(model: Explored[W], look: Callable[[W], object] = bool, worlds_max: int = 20_000_000) -> Report:
    """Visit them all, until one is bad. look: is shown each of them."""
    numbers: dict[W, int] = {model.first(): 0}
    frontier = list(numbers)
    parents, good = array("i", [-1]), array("i")
    tails, heads = array("i"), array("i")  # of what happens by itself
    ends: Counter[str] = Counter()
    moves = 0
    while frontier:
        later: list[W] = []
        for world in frontier:
            number = numbers[world]
            if wrong := model.violation(world):
                return Report(len(numbers), moves, ends, (*_path(model, numbers, parents, number), wrong))
            look(world)
            if end := model.end_of(world):
                good.append(number)
                ends[end] += 1
            for _, fair, after in model.moves(world):
                moves += 1
                known = numbers.get(after)
                if known is None:
                    known = numbers[after] = len(numbers)
                    parents.append(number)
                    later.append(after)
                    if known > worlds_max:
                        raise RuntimeError(f"more than {worlds_max:,} worlds: this scope is too large")
                if fair:
                    tails.append(number)
                    heads.append(known)
        frontier = later
    hopeless = _hopeless(len(numbers), good, tails, heads)
    if hopeless is None:
        return Report(len(numbers), moves, ends, ())
    path = (*_path(model, numbers, parents, hopeless), "from here there is no good end")
    return Report(len(numbers), moves, ends, path)


def _hopeless(count: int, good: Iterable[int], tails: array[int], heads: array[int]) -> int | None:
    """The first world from which nothing that happens by itself leads to a good end."""
    starts = array("i", bytes(4 * (count + 1)))
    for head in heads:
        starts[head + 1] += 1
    for place in range(count):
        starts[place + 1] += starts[place]
    before, filled = array("i", bytes(4 * len(heads))), array("i", starts)
    for tail, head in zip(tails, heads, strict=True):
        before[filled[head]] = tail
        filled[head] += 1
    fine, todo = bytearray(count), list(good)
    for number in todo:
        fine[number] = 1
    while todo:
        number = todo.pop()
        for tail in before[starts[number] : starts[number + 1]]:
            if not fine[tail]:
                fine[tail] = 1
                todo.append(tail)
    found = fine.find(0)
    return None if found < 0 else found


def _path(model: Explored[W], numbers: Mapping[W, int], parents: array[int], number: int) -> tuple[str, ...]:
    """How it came to a world."""
    worlds = list(numbers)
    found: list[str] = []
    while (before := parents[number]) >= 0:
        found.append(next(what for what, _, after in model.moves(worlds[before]) if after == worlds[number]))
        number = before
    return tuple(reversed(found))
