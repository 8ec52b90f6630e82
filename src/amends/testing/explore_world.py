"""The world of a run: the user's fake of the outside, made anew each time, and what steps are given of it.

Guarantees: no run sees anything of another.
Must not: know what a world is; it is the user's.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Hashable, Mapping
from operator import attrgetter, itemgetter
from typing import Any, cast

from amends.define.bind import Kind
from amends.define.hints import canonical
from amends.define.names import type_name
from amends.define.program import Program
from amends.errors import DefinitionError

_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
Getter = Callable[[Any], Any]


class Clock:
    """The time in a run, for a world that has to know it."""

    def __init__(self) -> None:
        self.seconds: float = 0.0

    def now(self) -> float:
        """The instant, in seconds since 1970."""
        return self.seconds

    def __repr__(self) -> str:
        return f"Clock({self.seconds})"


class Worlds:
    """Makes worlds, and finds in them what steps ask for.

    given: a function without parameters, or with one, which is given the clock; or a value, of which every run has a
    copy. Raises DefinitionError.
    """

    def __init__(self, given: object, program: Program) -> None:
        self._make = _maker(given)
        self._wanted = _wanted(program)
        self._getters: dict[Hashable, Getter] | None = None
        self._others: dict[Hashable, Getter] = {}  # what handlers and transactions ask for

    def make(self, clock: Clock) -> Any:
        """A world that nobody has used."""
        return self._make(clock)

    def resources(self, world: Any) -> dict[Any, Any]:
        """What the steps ask for, by type."""
        if self._getters is None:
            self._getters = {key: _getter(world, key, label) for key, label in self._wanted.items()}
        return {key: getter(world) for key, getter in self._getters.items()}

    def find(self, world: Any, wanted: Any) -> Any:
        """What stands in a world for a type."""
        key = canonical(wanted)
        if key not in self._others:
            self._others[key] = _getter(world, key, type_name(wanted))
        return self._others[key](world)


def _maker(given: object) -> Callable[[Clock], Any]:
    if not callable(given):
        return lambda _: copied(given, "the world is copied for every run", "give world= a function that makes it")
    made = cast("Callable[..., Any]", given)
    if inspect.iscoroutinefunction(made):
        raise DefinitionError(f"world={made!r:.80}: a plain function is expected, not an async one")
    clocked = _takes_a_clock(made)

    def make(clock: Clock) -> Any:
        try:
            return made(clock) if clocked else made()
        except Exception as error:
            error.add_note(f"while world={called(made)} made a world")
            raise

    return make


def copied(world: Any, why: str, instead: str) -> Any:
    """A copy of a world. Raises DefinitionError where there is none."""
    try:
        return copy.deepcopy(world)
    except Exception as error:
        raise DefinitionError(f"{why}, and {type(world).__name__} cannot be: {error}; {instead}") from error


def called(fn: Any) -> str:
    """A function in messages."""
    return getattr(fn, "__name__", None) or repr(fn)[:80]


def check_takes(fn: Any, where: str, *given: str) -> None:
    """Raises DefinitionError for a function that cannot be called with these."""
    try:
        inspect.signature(fn).bind(*given)
    except TypeError:
        words = f"it is called with {', '.join(given)}; it takes {inspect.signature(fn)}"
        raise DefinitionError(f"{where}{called(fn)}: {words}") from None
    except ValueError:
        return  # nobody knows what it takes


def _takes_a_clock(made: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(made, eval_str=True).parameters.values()
    except (ValueError, TypeError, NameError):
        return False
    needed = [
        one for one in parameters if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    clocks = [one for one in parameters if one.annotation is Clock]
    if len(needed) > 1 or (needed and not clocks and needed[0].annotation is not inspect.Parameter.empty):
        names = ", ".join(one.name for one in needed)
        raise DefinitionError(f"world={made!r:.80}: it is called with nothing, or with the Clock, and needs {names}")
    return bool(needed or clocks)


def _wanted(program: Program) -> dict[Hashable, str]:
    wanted: dict[Hashable, str] = {}
    for _, call in program.calls():
        for argument in call.arguments:
            if argument.kind is Kind.RESOURCE:
                wanted[argument.key] = argument.label
    return wanted


def _getter(world: Any, key: Hashable, label: str) -> Getter:
    """How to find a resource: the world itself, an entry of it where it is a mapping, a list or a tuple, or one of
    its attributes; of exactly that type, else of one that fits."""
    found = [(getter, kind) for getter, kind in _offers(world)]
    exact = [getter for getter, kind in found if canonical(kind) == key]
    if len(exact) == 1:
        return exact[0]
    fits = [getter for getter, kind in found if isinstance(key, type) and _is_below(kind, key)]
    if not exact and len(fits) == 1:
        return fits[0]
    offered = ", ".join(sorted({getattr(kind, "__name__", repr(kind)) for _, kind in found}))
    if world is None:
        raise DefinitionError(f"a step asks for {label}, and no world is given: world=, a function that makes one")
    problem = "more than one thing" if exact or fits else "nothing"
    there = f"there is: {offered}" if offered else "there is nothing in it"
    raise DefinitionError(
        f"a step asks for {label}, and {problem} in the world is one; {there}. The world is the thing "
        "itself, an object that has it as an attribute, or a mapping {Type: value}"
    )


def _is_below(kind: Any, wanted: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, wanted)


def _offers(world: Any) -> list[tuple[Getter, Any]]:
    if isinstance(world, Mapping):
        return [(itemgetter(key), key) for key in world]
    if isinstance(world, (list, tuple)) and not hasattr(world, "_fields"):
        return [(itemgetter(place), type(value)) for place, value in enumerate(world)]
    own: list[tuple[Getter, Any]] = [(_itself, type(world))]
    own += [(attrgetter(name), type(value)) for name, value in _attributes(world).items()]
    return own


def _itself(world: Any) -> Any:
    return world


def _attributes(world: Any) -> dict[str, Any]:
    names = [*getattr(world, "__dict__", {}), *getattr(type(world), "__slots__", ()), *getattr(world, "_fields", ())]
    return {name: getattr(world, name) for name in names if not name.startswith("_") and hasattr(world, name)}
