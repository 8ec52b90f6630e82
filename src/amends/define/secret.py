"""Secrets: which fields of a type are marked, and what a payload looks like without them.

A field is marked in its type, `card: Secret[str]`, or `card: Annotated[str, secret]`. Where the marked fields of
a payload stand is said by JSON pointers, in which `*` is any item or value, and `**` any depth; the empty one is
the whole payload.

Guarantees: a mark is found wherever msgspec or a model would write its field; where a pointer could mean more than
one place, all of them are hidden.
Must not: change what is stored. A mark is about who sees a value, never about the value.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, NotRequired, Required, TypeVar, Union, cast, get_type_hints
from typing import get_args as args_of
from typing import get_origin as origin_of

import msgspec

from amends.define.hints import is_nothing
from amends.define.shape import fields_of, is_model

T = TypeVar("T")
MASK = "***"
TAGGED = "$"  # where a union's member stands that is no object, beside the name of its class
Path = tuple[str, ...]
Secrets = tuple[str, ...]  # pointers
_WORDS = (Required, NotRequired, Final, ClassVar)


class Mark:
    """What marks a field as secret: `Annotated[str, secret]`."""

    def __repr__(self) -> str:
        return "amends.secret"


secret: Mark = Mark()
Secret = Annotated[T, secret]
"""A value that nobody is shown without asking for it: `card: Secret[str]`."""


def secrets_of(type_: Any) -> Secrets:
    """Where the marked fields of a type's payloads stand. Raises TypeError where a mark could not be kept."""
    return tuple(dict.fromkeys(map(_pointer, _Look().at(type_))))


def hidden(data: object, secrets: Secrets) -> object:
    """Plain JSON data, with what is secret in it masked. What is null stays null."""
    for pointer in secrets:
        data = _hidden(data, _path(pointer))
    return data


def found(data: object, secrets: Secrets) -> Iterator[str | int | float]:
    """The texts and numbers in plain JSON data that are secret."""
    for pointer in secrets:
        yield from _found(data, _path(pointer))


def holds(data: object, secrets: Secrets) -> bool:
    """Whether there is anything secret in plain JSON data."""
    return next(found(data, secrets), None) is not None


class _Look:
    """One walk through a type."""

    def __init__(self) -> None:
        self._above: list[object] = []
        self._again: list[object] = []  # classes that were met inside themselves

    def at(self, type_: Any) -> Iterator[Path]:
        """The paths of what is marked in a type and below it."""
        type_ = _unnamed(type_)
        origin, args = origin_of(type_), args_of(type_)
        if origin is Annotated:
            if any(isinstance(mark, Mark) for mark in args[1:]):
                yield ()
            else:
                yield from self.at(args[0])
        elif origin in _WORDS:
            yield from self.at(args[0])
        elif origin is Union or origin is types.UnionType:
            for path in [path for member in args for path in self.at(member)]:
                yield path
                if path and (path[0] == "*" or path[0].isdecimal()):  # of what is no object
                    yield (TAGGED, *path)
        elif origin is tuple and args and args[-1] is not Ellipsis:
            for index, member in enumerate(args):
                yield from self._below(str(index), member)
        elif origin is not None and origin is not Literal and isinstance(origin, type):
            yield from self._generic(origin, args)
        elif isinstance(type_, type):
            yield from self._class(type_, type_, {})

    def _generic(self, origin: type, args: tuple[Any, ...]) -> Iterator[Path]:
        if issubclass(origin, Mapping):
            for _ in self.at(args[0]) if args else ():
                raise TypeError("a secret cannot be the key of a dict, whose keys are shown")
            yield from self._below("*", args[1]) if len(args) > 1 else ()
        elif fields_of(origin) or is_model(origin):
            given = dict(zip(getattr(origin, "__parameters__", ()), args, strict=False))
            yield from self._class(origin, origin[args] if args else origin, given)  # type: ignore[index]
        else:
            for arg in args:
                yield from self._below("*", arg)

    def _class(self, cls: Any, key: object, given: dict[Any, Any]) -> Iterator[Path]:
        """The fields of a class. given: what stands for its type variables."""
        if key in self._above:
            self._again.append(key)
            return
        self._above.append(key)
        paths = [path for steps, type_ in _fields(cls) for path in self._field(steps, _filled(type_, given))]
        self._above.pop()
        again = key in self._again
        for path in paths:
            yield ("**", *path) if again else path

    def _field(self, names: tuple[str, ...], type_: Any) -> Iterator[Path]:
        paths = list(self.at(type_))
        for name in names:
            yield from ((name, *path) if name else path for path in paths)

    def _below(self, step: str, type_: Any) -> Iterator[Path]:
        return ((step, *path) for path in self.at(type_))


def _fields(cls: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The fields of a class: under which names they may be written, and their types."""
    if is_model(cls):
        root = bool(getattr(cls, "__pydantic_root_model__", False))
        for name, field in cls.model_fields.items():
            marked = any(isinstance(mark, Mark) for mark in field.metadata)
            type_ = field.annotation
            yield ("" if root else name,), Annotated[type_, secret] if marked else type_
    elif hasattr(cls, "__struct_fields__"):
        hints = fields_of(cls)
        shift = 0 if cls.__struct_config__.tag is None else 1
        for index, field in enumerate(msgspec.structs.fields(cls)):
            row = str(index + shift) if cls.__struct_config__.array_like else field.encode_name
            yield tuple(dict.fromkeys((field.name, row))), hints[field.name]
    elif issubclass(cls, tuple) and hasattr(cls, "_fields"):
        hints = get_type_hints(cls, include_extras=True)
        names: tuple[str, ...] = getattr(cls, "_fields")  # noqa: B009  # no checker knows it
        for index, name in enumerate(names):
            yield (str(index),), hints.get(name, object)
    else:
        for name, hint in fields_of(cls).items():
            yield (name,), hint


def _unnamed(type_: Any) -> Any:
    """A type behind its aliases and NewTypes."""
    while True:
        if hasattr(type_, "__supertype__"):
            type_ = type_.__supertype__
        elif type(type_).__name__ == "TypeAliasType":
            type_ = type_.__value__
        elif type(origin_of(type_)).__name__ == "TypeAliasType":
            type_ = origin_of(type_).__value__[args_of(type_)]
        else:
            return type_


def _filled(type_: Any, given: dict[Any, Any]) -> Any:
    """A type with what stands for its type variables."""
    if not given or is_nothing(type_):
        return type_
    if isinstance(type_, TypeVar):
        return given.get(type_, type_)
    inner = getattr(type_, "__parameters__", ())
    if not inner or isinstance(type_, type):
        return type_
    return type_[tuple(given.get(one, one) for one in inner)]


def _pointer(path: Iterable[str]) -> str:
    return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in path)


def _path(pointer: str) -> Path:
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def _hidden(data: object, path: Path) -> object:
    if not path:
        return None if data is None else MASK
    first, rest = path[0], path[1:]
    if first == "**":
        data = _hidden(data, rest)
        return _each(data, lambda _, child: _hidden(child, path))
    return _each(data, lambda step, child: _hidden(child, rest) if first in ("*", step) else child)


def _each(data: object, made: Callable[[str, object], object]) -> object:
    if isinstance(data, dict):
        return {key: made(str(key), child) for key, child in cast("dict[object, object]", data).items()}
    if isinstance(data, list):
        return [made(str(index), child) for index, child in enumerate(cast("list[object]", data))]
    return data


def _found(data: object, path: Path) -> Iterator[str | int | float]:
    if not path:
        yield from _leaves(data)
        return
    first, rest = path[0], path[1:]
    if first == "**":
        yield from _found(data, rest)
    for step, child in _children(data):
        if first == "**":
            yield from _found(child, path)
        elif first in ("*", step):
            yield from _found(child, rest)


def _leaves(data: object) -> Iterator[str | int | float]:
    if isinstance(data, (str, int, float)) and not isinstance(data, bool):
        yield data
    for _, child in _children(data):
        yield from _leaves(child)


def _children(data: object) -> Iterator[tuple[str, object]]:
    if isinstance(data, dict):
        for key, child in cast("dict[object, object]", data).items():
            yield str(key), child
    elif isinstance(data, list):
        for index, child in enumerate(cast("list[object]", data)):
            yield str(index), child
