"""How a parameter is filled: by its type, once, when the saga is built.

The table of the docs, one rule per test: exact types; the saga's input, earlier results, the
context, resources and transactions; a result that may be missing must be taken as `X | None`;
two candidates are an error that prints the line to paste.

Guarantees: every parameter of every function has one source, or building fails and says why.
Must not: call anything.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import reduce
from operator import or_
from typing import Any, NamedTuple, get_args, get_origin

from amends.decide.members import direct
from amends.define.context import Context
from amends.define.hints import canonical, has_type_variable, is_type, markers, shown, without_none
from amends.define.node import RESOURCE, Source
from amends.define.nodes import ResultOf, SagaInput, is_same
from amends.define.outcome import Rejected
from amends.define.shape import is_class
from amends.define.step import Step, Work
from amends.define.transactions import ACCEPTED, LIBRARIES, misfit, transaction_kind
from amends.errors import DefinitionError


@direct
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

    def paste(self, scope: Mapping[str, Any]) -> str:
        """The annotation that picks this candidate, in the names of a scope."""
        if self.kind is Kind.INPUT:
            return f"Annotated[{shown(self.type)}, saga_input]"
        optional = "" if self.sure or without_none(self.type) is not None else " | None"
        return f"Annotated[{shown(self.type)}{optional}, result_of({_variable(self.nodes[0], scope)})]"

    def only(self, node: object) -> Candidate:
        """This candidate cut down to what one of its nodes gives."""
        index = next(number for number, known in enumerate(self.nodes) if is_same(known, node))
        if len(self.nodes) == 1:
            return self
        return replace(self, addresses=(self.addresses[index],), nodes=(self.nodes[index],), sure=False)


class Binder:
    """Fills the parameters of one function.

    giver: says which node of the saga would give a type, wherever it stands.
    """

    def __init__(self, where: str, candidates: Sequence[Candidate], work: Work, giver: Callable[[Any], str]) -> None:
        self._where = where
        self._candidates = candidates
        self._fn = work.fn
        self._scope: Mapping[str, Any] = {**getattr(work.fn, "__globals__", {}), **work.local_names}
        self._giver = giver

    def bind(self, hints: dict[str, Any], *, item: bool = False) -> Call:
        """The call of the function. `item`: its first parameter is a `for_each`'s item."""
        arguments: list[Argument] = []
        defaulted: list[str] = []
        for index, parameter in enumerate(inspect.signature(self._fn).parameters.values()):
            if item and index == 0:
                self._check_item(parameter.name, hints[parameter.name])
                arguments.append(Argument(parameter.name, Kind.ITEM, label="the item"))
                continue
            argument = self._fill(parameter, hints[parameter.name])
            if argument is None:
                defaulted.append(parameter.name)
            else:
                arguments.append(argument)
        if item and not arguments:
            raise DefinitionError(f"{self._where}: in a for_each its first parameter is the item, and it has none")
        call = Call(self._fn, tuple(arguments), inspect.iscoroutinefunction(self._fn), tuple(defaulted))
        self._check_transaction(call)
        return call

    def _check_transaction(self, call: Call) -> None:
        kinds = tuple(dict.fromkeys(known.label for known in call.arguments if known.kind is Kind.TX))
        if len(kinds) > 1:
            raise DefinitionError(f"{self._where}: it takes {' and '.join(kinds)}, and a step has one transaction")
        why = misfit(kinds[0], is_async=call.is_async) if kinds else ""
        if why:
            raise DefinitionError(f"{self._where}: {why}")

    def _check_item(self, name: str, hint: Any) -> None:
        if special(hint) is not None:
            raise DefinitionError(
                f"{self._where}: in a for_each its first parameter is the item, but {name} is {_written(hint)}"
            )

    def _fill(self, parameter: inspect.Parameter, hint: Any) -> Argument | None:
        name = parameter.name
        where = f"{self._where}, parameter {name}"
        if has_type_variable(hint):
            raise DefinitionError(f"{where}: {shown(hint)} is generic; write the type that is meant")
        filled = special(hint)
        if filled is not None:
            return filled._replace(name=name)
        picked = next((mark for mark in markers(hint) if isinstance(mark, (ResultOf, SagaInput))), None)
        found = self._find(hint) if picked is None else self._picked(picked, hint, where)
        if len(found) > 1:
            raise DefinitionError(self._ambiguous(found, name, where))
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
        found = self._marked(mark)
        if found is None:
            raise DefinitionError(
                f"{where}: {mark.source!r} gives no result before this; {self._available()}{self._copies(mark)}"
                if isinstance(mark, ResultOf)
                else f"{where}: there is no input here"
            )
        inner = without_none(hint)
        wanted = {canonical(hint), canonical(hint if inner is None else inner)}
        if found.key not in wanted:
            raise DefinitionError(f"{where}: {shown(hint)} is asked for, but that is {found.label}")
        return [found]

    def _marked(self, mark: ResultOf | SagaInput) -> Candidate | None:
        if isinstance(mark, SagaInput):
            return next((candidate for candidate in self._candidates if candidate.kind is Kind.INPUT), None)
        for candidate in self._candidates:
            if candidate.own and _is_copy(candidate.nodes[0], mark.source):
                return candidate  # in a compensation, the step means itself under any name
            if any(is_same(node, mark.source) for node in candidate.nodes):
                return candidate.only(mark.source)
        return None

    def _copies(self, mark: ResultOf) -> str:
        """The same step under another name, which is another node."""
        for candidate in self._candidates:
            for node, address in zip(candidate.nodes, candidate.addresses, strict=True):
                if _is_copy(node, mark.source):
                    return f". {address} is the same step under another name: result_of({_variable(node, self._scope)})"
        return ""

    def _take(self, name: str, candidate: Candidate, hint: Any, where: str) -> Argument:
        optional = candidate.key != canonical(hint)
        if not candidate.sure and not optional and without_none(hint) is None:
            raise DefinitionError(f"{where}: {_must_be_optional(candidate)}")
        missing = optional or not candidate.sure
        return Argument(name, candidate.kind, candidate.addresses, None, missing, candidate.label, candidate.own)

    def _ambiguous(self, found: list[Candidate], name: str, where: str) -> str:
        lines = "".join(f"\n    {name}: {candidate.paste(self._scope)}" for candidate in found)
        names = " and ".join(candidate.label for candidate in found)
        return f"{where}: {names} fit; say which by pasting one of{lines}"

    def _available(self) -> str:
        known = [candidate.label for candidate in self._candidates]
        return "available: " + ", ".join([*known, "Context", "Resource[…]", "a transaction"])

    def _hint(self, hint: Any) -> str:
        inner = without_none(hint)
        for candidate in self._candidates:
            near = _near_miss(hint, inner, candidate.type)
            if near:
                return near
        giver = self._giver(hint if inner is None else inner)
        if giver:
            return f". {giver}, but not before this: it stands later, or in a branch beside this one"
        module = str(getattr(hint, "__module__", "")).split(".")[0]
        if module in LIBRARIES:
            return (
                f". For a transaction ask for {one_of(ACCEPTED)}; for a client or a pool, for Resource[{shown(hint)}]"
            )
        if isinstance(hint, type) and not is_class(hint) and hint.__module__ not in ("builtins", "typing"):
            return f". If it is a client, a pool or a setting, ask for Resource[{shown(hint)}]"
        return ""


def special(hint: Any) -> Argument | None:
    """What is filled whatever the saga provides: a resource, the context, a transaction."""
    if RESOURCE in markers(hint):
        return Argument("", Kind.RESOURCE, key=canonical(hint), label=f"Resource[{shown(hint)}]")
    if canonical(hint) == Context:
        return Argument("", Kind.CONTEXT, label="Context")
    kind = transaction_kind(hint)
    return None if kind is None else Argument("", Kind.TX, label=kind)


def one_of(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _written(hint: Any) -> str:
    return f"Resource[{shown(hint)}]" if RESOURCE in markers(hint) else shown(hint)


def _near_miss(hint: Any, inner: Any, other: Any) -> str:
    """What a person who asked for one type may have meant, if it was this one."""
    if isinstance(other, type) and isinstance(hint, type):
        if getattr(hint, "_is_protocol", False) and not is_class(hint):
            return f". Types match exactly: {shown(hint)} is a protocol, ask for the class that is given"
        if hint in other.__mro__ and hint is not object:
            return f". Types match exactly: ask for {shown(other)}, a base class does not match"
    if without_none(other) is not None and canonical(without_none(other)) == canonical(inner or hint):
        return f". Ask for {shown(other)}, as it is declared"
    if get_origin(hint) is get_origin(other) is list and _collected(get_args(other)[0]) == canonical(get_args(hint)[0]):
        return f". Its items may be rejected: ask for {shown(other)}"
    for new, plain in ((other, hint), (hint, other)):
        if is_type(new) and canonical(getattr(new, "__supertype__", object)) == canonical(plain):
            return f". Types match exactly: a NewType is a type of its own, ask for {shown(other)}"
    return ""


def _collected(item: Any) -> Hashable:
    """What an item of a `for_each` gives that collects rejections, without those; None of another."""
    rest = [part for part in get_args(item) if part is not Rejected]
    return canonical(reduce(or_, rest)) if rest and len(rest) < len(get_args(item)) else None


def _is_copy(node: object, source: object) -> bool:
    """Whether two nodes are the same step, under whatever names."""
    return isinstance(node, Step) and isinstance(source, Step) and node.body is source.body


def _variable(node: object, scope: Mapping[str, Any]) -> str:
    """How a node is written where a function stands: by its variable, else as it is made."""
    known = next((name for name, value in scope.items() if value is node), None)
    if known is None:
        known = next((name for name, value in scope.items() if _names(value, node)), None)
    if known is not None or not isinstance(node, Step):
        return known or str(getattr(node, "stored_name", None) or node)
    original = next((name for name, value in scope.items() if _is_copy(value, node)), node.__name__)
    return original if node.stored_name == node.__name__ else f'{original}.named("{node.stored_name}")'


def _names(value: object, node: object) -> bool:
    return isinstance(value, Source) and is_same(value, node)


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
