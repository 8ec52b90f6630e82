"""How a parameter is filled: by its type, once, when the saga is built.

The table of the docs, one rule per test: exact types; the saga's input, earlier results, the
context, resources and transactions; a result that may be missing must be taken as `X | None`;
two candidates are an error that prints the line to paste.

Guarantees: every parameter of every function has one source, or building fails and says why.
Must not: call anything.
"""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, NamedTuple

from amends.define.context import Context
from amends.define.hints import canonical, has_type_variable, markers, shown, without_none
from amends.define.node import RESOURCE
from amends.define.nodes import ResultOf, SagaInput
from amends.define.resources import Resources
from amends.errors import DefinitionError

TRANSACTIONS: dict[type, str] = {sqlite3.Connection: "sqlite3"}


class Kind(Enum):
    """Where an argument comes from when the function is called."""

    INPUT = "input"
    RESULT = "result"
    ITEMS = "items"
    ITEM = "item"
    CONTEXT = "context"
    RESOURCE = "resource"
    TX = "tx"


class Argument(NamedTuple):
    """One parameter and its source.

    addresses: for a result, the nodes that may provide it; the one that ran does. key: of a
    resource. optional: None is passed where nothing is there.
    """

    name: str
    kind: Kind
    addresses: tuple[str, ...] = ()
    key: Hashable = None
    optional: bool = False
    label: str = ""
    own: bool = False  # the result of the step that this compensation undoes


@dataclass(frozen=True, slots=True)
class Call:
    """A function and how its parameters are filled. `defaulted`: those left to their default."""

    fn: Callable[..., Any]
    arguments: tuple[Argument, ...]
    is_async: bool
    defaulted: tuple[str, ...] = ()

    @property
    def transaction(self) -> str | None:
        """The kind of transaction that it asks for, if it does."""
        wanted = (argument.label for argument in self.arguments if argument.kind is Kind.TX)
        return next(wanted, None)

    @property
    def reads(self) -> tuple[str, ...]:
        """The addresses without whose result it cannot be called."""
        needed = (argument for argument in self.arguments if not (argument.optional or argument.own))
        return tuple(address for argument in needed for address in argument.addresses)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something a parameter may be filled with.

    nodes: the user's objects, for `result_of`. sure: it is there whenever the function runs.
    own: the result of the very step that a compensation undoes.
    """

    type: Any
    kind: Kind
    addresses: tuple[str, ...]
    nodes: tuple[object, ...]
    sure: bool = True
    own: bool = False

    @property
    def key(self) -> Hashable:
        """What a parameter's type is compared with."""
        return canonical(self.type)

    @property
    def label(self) -> str:
        """The candidate in an error message."""
        if self.kind is Kind.INPUT:
            return f"{shown(self.type)} (the saga's input)"
        source = " or ".join(self.addresses)
        maybe = "" if self.sure else ", may be missing"
        return f"{shown(self.type)} (the result of {source}{maybe})"

    def paste(self) -> str:
        """The annotation that picks this candidate."""
        optional = "" if self.sure else " | None"
        if self.kind is Kind.INPUT:
            return f"Annotated[{shown(self.type)}, saga_input]"
        return f"Annotated[{shown(self.type)}{optional}, result_of({self.addresses[0]})]"


class Binder:
    """Fills the parameters of one function."""

    def __init__(self, where: str, candidates: Sequence[Candidate], resources: Resources | None) -> None:
        self._where = where
        self._candidates = candidates
        self._resources = resources

    def bind(self, fn: Callable[..., Any], hints: dict[str, Any], *, item: bool = False) -> Call:
        """The call of a function. `item`: its first parameter is a `for_each`'s item."""
        arguments: list[Argument] = []
        defaulted: list[str] = []
        for index, parameter in enumerate(inspect.signature(fn).parameters.values()):
            if item and index == 0:
                arguments.append(Argument(parameter.name, Kind.ITEM, label="the item"))
                continue
            argument = self._fill(parameter, hints[parameter.name])
            if argument is None:
                defaulted.append(parameter.name)
            else:
                arguments.append(argument)
        if item and not arguments:
            raise DefinitionError(f"{self._where}: in a for_each its first parameter is the item, and it has none")
        return Call(fn, tuple(arguments), inspect.iscoroutinefunction(fn), tuple(defaulted))

    def _fill(self, parameter: inspect.Parameter, hint: Any) -> Argument | None:
        name = parameter.name
        where = f"{self._where}, parameter {name}"
        marks = markers(hint)
        if has_type_variable(hint):
            raise DefinitionError(f"{where}: {shown(hint)} is generic; write the type that is meant")
        if RESOURCE in marks:
            if self._resources is not None:
                self._resources.check(canonical(hint), hint, where)
            return Argument(name, Kind.RESOURCE, key=canonical(hint), label=f"Resource[{shown(hint)}]")
        if canonical(hint) == Context:
            return Argument(name, Kind.CONTEXT, label="Context")
        if isinstance(hint, type) and hint in TRANSACTIONS:
            return Argument(name, Kind.TX, label=TRANSACTIONS[hint])
        picked = next((mark for mark in marks if isinstance(mark, (ResultOf, SagaInput))), None)
        found = self._find(hint) if picked is None else self._picked(picked, hint, where)
        if len(found) > 1:
            raise DefinitionError(self._ambiguous(found, where))
        if found:
            return self._take(name, found[0], hint, where)
        if parameter.default is not parameter.empty:
            return None
        raise DefinitionError(f"{where}: nothing here is {shown(hint)}; {self._available()}{self._hint(hint)}")

    def _find(self, hint: Any) -> list[Candidate]:
        """Candidates whose type the parameter has, or has but for `| None`."""
        inner = without_none(hint)
        keys = {canonical(hint)} | ({canonical(inner)} if inner is not None else set())
        return [candidate for candidate in self._candidates if candidate.key in keys]

    def _picked(self, mark: ResultOf | SagaInput, hint: Any, where: str) -> list[Candidate]:
        if isinstance(mark, SagaInput):
            found = [candidate for candidate in self._candidates if candidate.kind is Kind.INPUT]
        else:
            found = [c for c in self._candidates if any(node is mark.source for node in c.nodes)]
            if not found:
                raise DefinitionError(f"{where}: {mark.source!r} gives no result before this; {self._available()}")
        inner = without_none(hint)
        wanted = {canonical(hint), canonical(hint if inner is None else inner)}
        if found[0].key not in wanted:
            raise DefinitionError(f"{where}: {shown(hint)} is asked for, but that is {found[0].label}")
        return found

    def _take(self, name: str, candidate: Candidate, hint: Any, where: str) -> Argument:
        optional = candidate.key != canonical(hint)
        if not candidate.sure and not optional and without_none(hint) is None:
            raise DefinitionError(f"{where}: {_must_be_optional(candidate)}")
        missing = optional or not candidate.sure
        return Argument(name, candidate.kind, candidate.addresses, None, missing, candidate.label, candidate.own)

    def _ambiguous(self, found: list[Candidate], where: str) -> str:
        lines = "".join(f"\n    {candidate.paste()}" for candidate in found)
        names = " and ".join(candidate.label for candidate in found)
        return f"{where}: {names} both fit; say which by pasting one of{lines}"

    def _available(self) -> str:
        known = [candidate.label for candidate in self._candidates]
        return "available: " + ", ".join([*known, "Context", "Resource[…]", "sqlite3.Connection"])

    def _hint(self, hint: Any) -> str:
        inner = without_none(hint)
        for candidate in self._candidates:
            other = candidate.type
            if isinstance(other, type) and isinstance(hint, type) and issubclass(other, hint):
                return f". Types match exactly: ask for {shown(other)}, a base class does not match"
            if without_none(other) is not None and canonical(without_none(other)) == canonical(inner or hint):
                return f". Ask for {shown(other)}, as it is declared"
        module = getattr(hint, "__module__", "")
        if module.split(".")[0] in ("asyncpg", "psycopg", "sqlalchemy", "django"):
            return f". A transaction of {module.split('.')[0]} is not supported yet; sqlite3.Connection is"
        return ""


def _must_be_optional(candidate: Candidate) -> str:
    if candidate.own:
        return (
            f"a compensation also runs when it is not known whether its step worked, and then there is no result: "
            f"take {shown(candidate.type)} | None"
        )
    return f"{candidate.label}: take {shown(candidate.type)} | None"


def merge(then: list[Candidate], otherwise: list[Candidate] | None) -> list[Candidate]:
    """What a `when` provides: one candidate where both arms give one of the same type, and
    else what may be missing."""
    if otherwise is None:
        return [replace(candidate, sure=False) for candidate in then]
    merged: list[Candidate] = []
    rest = list(otherwise)
    for candidate in then:
        twin = next((other for other in rest if other.key == candidate.key), None)
        if twin is None:
            merged.append(replace(candidate, sure=False))
            continue
        rest.remove(twin)
        merged.append(
            replace(
                candidate,
                addresses=(*candidate.addresses, *twin.addresses),
                nodes=(*candidate.nodes, *twin.nodes),
                sure=candidate.sure and twin.sure,
            )
        )
    return merged + [replace(candidate, sure=False) for candidate in rest]
