"""Resources: what steps need and the store never sees: clients, pools, settings.

A resource is one function. The type it returns or yields is its key; it may ask for other
resources. What is wrong with a set of them is an error when the orchestrator is built.

Guarantees: opened once per worker, each after what it needs; closed in the reverse order.
Must not: be stored, or be opened by a client.
"""

from __future__ import annotations

import asyncio
import collections.abc
import inspect
from collections.abc import Callable, Hashable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, NamedTuple, get_args, get_origin

from amends.define.hints import canonical, frame_locals, hints_of, is_nothing, markers, shown
from amends.define.node import RESOURCE
from amends.errors import DefinitionError

_YIELDING = (
    collections.abc.Iterator,
    collections.abc.Generator,
    collections.abc.Iterable,
    collections.abc.AsyncIterator,
    collections.abc.AsyncGenerator,
    collections.abc.AsyncIterable,
)


class Provider(NamedTuple):
    """One resource function: what it provides, and the types of what it needs."""

    fn: Callable[..., Any]
    key: Hashable
    type: Any
    needs: dict[str, Any]


class Resources:
    """The resources of one orchestrator, checked and in the order in which they open."""

    def __init__(self, functions: Sequence[Callable[..., Any]], depth: int = 1) -> None:
        local_names = frame_locals(depth)
        if not isinstance(functions, (list, tuple)):
            raise DefinitionError(f"resources=…: a list of functions is expected, not {functions!r:.80}")
        self._by_key: dict[Hashable, Provider] = {}
        for fn in functions:
            provider = _provider(fn, local_names)
            twice = self._by_key.get(provider.key)
            if twice is not None:
                raise DefinitionError(
                    f"resources: {_name(fn)} and {_name(twice.fn)} both provide {shown(provider.type)}; "
                    "give one of them a NewType of its own"
                )
            self._by_key[provider.key] = provider
        self._order = self._sorted()

    def check(self, key: Hashable, wanted: str, where: str) -> None:
        """Raises DefinitionError where nobody provides what is asked for, a `Resource[…]`."""
        if key not in self._by_key:
            known = ", ".join(shown(provider.type) for provider in self._by_key.values()) or "none"
            raise DefinitionError(
                f"{where}: no resource provides {wanted}; provided are: {known}. "
                f"Add a function that returns it to Orchestrator(…, resources=[…])"
            )

    async def open(self, stack: AsyncExitStack) -> dict[Hashable, Any]:
        """Open all of them; the stack closes them, the last opened first."""
        opened: dict[Hashable, Any] = {}
        for provider in self._order:
            given = {name: opened[canonical(need)] for name, need in provider.needs.items()}
            try:
                opened[provider.key] = await _open(provider.fn, given, stack)
            except Exception as error:
                error.add_note(f"while the resource {_name(provider.fn)} was opened")
                raise
        return opened

    def _sorted(self) -> list[Provider]:
        order: list[Provider] = []
        done: set[Hashable] = set()

        def visit(provider: Provider, above: tuple[Provider, ...]) -> None:
            if provider in above:
                ring = " → ".join(_name(one.fn) for one in (*above[above.index(provider) :], provider))
                raise DefinitionError(f"resources: {_name(provider.fn)} needs itself: {ring}")
            if provider.key in done:
                return
            for name, need in provider.needs.items():
                where = f"the resource {_name(provider.fn)}, parameter {name}"
                self.check(canonical(need), f"Resource[{shown(need)}]", where)
                visit(self._by_key[canonical(need)], (*above, provider))
            done.add(provider.key)
            order.append(provider)

        for provider in self._by_key.values():
            visit(provider, ())
        return order


async def _open(fn: Callable[..., Any], given: dict[str, Any], stack: AsyncExitStack) -> Any:
    if inspect.isasyncgenfunction(fn):
        return await stack.enter_async_context(asynccontextmanager(fn)(**given))
    if inspect.isgeneratorfunction(fn):
        return stack.enter_context(contextmanager(fn)(**given))
    made = fn(**given)
    return await made if asyncio.iscoroutine(made) else made


def _wrapped(given: object) -> str:
    """How a class, or an object of one, is made a resource."""
    made = given if isinstance(given, type) else type(given)
    if made.__module__ == "builtins":
        return ""
    return f"; such as: def open_{made.__name__.lower()}() -> {made.__name__}: …"


def _provider(fn: Callable[..., Any], local_names: dict[str, Any]) -> Provider:
    where = f"the resource {_name(fn)}"
    if not inspect.isfunction(fn):
        raise DefinitionError(
            f"{where}: a function that returns or yields the resource is expected, not {fn!r:.80}{_wrapped(fn)}"
        )
    hints = hints_of(fn, local_names, where)
    provided = hints.get("return")
    if provided is None or is_nothing(provided):
        raise DefinitionError(f"{where}: annotate what it returns or yields; the type is the resource's key")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        if get_origin(provided) not in _YIELDING or not get_args(provided):
            raise DefinitionError(f"{where}: it yields, so annotate Iterator[…] or AsyncIterator[…]")
        provided = get_args(provided)[0]
    needs: dict[str, Any] = {}
    for name in inspect.signature(fn).parameters:
        if name not in hints or RESOURCE not in markers(hints[name]):
            raise DefinitionError(f"{where}: its parameter {name} must be annotated Resource[…]")
        needs[name] = hints[name]
    return Provider(fn, canonical(provided), provided, needs)


def _name(fn: object) -> str:
    return getattr(fn, "__name__", None) or repr(fn)[:80]
