"""What all shapes have in common, and what can be told of a class without knowing its shape.

Guarantees: a class's fields and their types are read in one way, whatever made the class.
Must not: import pydantic or attrs to find out whether a class is theirs.
"""

from __future__ import annotations

import dataclasses
import re
import types
from typing import Annotated, Any, Protocol, Union, get_args, get_origin, get_type_hints, is_typeddict

import msgspec

from amends.define.hints import unresolved
from amends.define.names import type_name
from amends.define.schemas import Definitions, Json

_PLACE = re.compile(r"(?P<text>.*?)(?: - at (?:`key` in )?`\$(?P<path>[^`]*)`)?", re.DOTALL)
_INNER = re.compile(r"`(?P<path>[.\[][^`]*)` (?P<text>.*)", re.DOTALL)


class Shape(Protocol):
    """How one type's values are written.

    careful: they may hide a flaw that encoding does not see. frozen: they cannot change.
    schema: a text that equal types share.
    """

    careful: bool
    frozen: bool
    schema: str

    def dump(self, value: object) -> object:
        """Plain JSON data. Raises TypeError or ValueError."""
        ...

    def load(self, data: object) -> object:
        """The value of plain JSON data. Raises msgspec.ValidationError, TypeError or ValueError."""
        ...

    def example(self, depth: int) -> object:
        """Plain JSON data of the right shape."""
        ...

    def json_schema(self, definitions: Definitions) -> Json:
        """The JSON Schema of that data. definitions: those of the document, to which it adds its own."""
        ...


def path_of(text: str) -> tuple[str, str]:
    """An error's text, and the path in it: msgspec writes "… - at `$.path`" behind, a model's
    own path stands before."""
    found = _PLACE.fullmatch(text)
    text, path = (text, "") if found is None else (found["text"], found["path"] or "")
    inner = _INNER.fullmatch(text)
    if inner is not None:
        text, path = inner["text"], path + inner["path"]
    return text, path.replace("[...]", "[…]")


def placed(error: Exception, step: str) -> str:
    """An error's text with one more step in front of its path."""
    text, path = path_of(str(error))
    return f"{text} - at `${step}{path}`"


def is_model(cls: object) -> bool:
    """Whether a class is a pydantic model."""
    return isinstance(cls, type) and hasattr(cls, "__pydantic_core_schema__") and hasattr(cls, "model_validate")


def is_class(cls: object) -> bool:
    """Whether values of a class are objects with fields that know their class."""
    if not isinstance(cls, type) or is_typeddict(cls):
        return False
    return (
        is_model(cls)
        or any(hasattr(cls, mark) for mark in ("__struct_fields__", "__attrs_attrs__"))
        or (dataclasses.is_dataclass(cls))
    )


def fields_of(cls: Any) -> dict[str, Any]:
    """The fields of a data class and their types; empty for any other class.

    Raises TypeError where a type's name cannot be resolved.
    """
    if is_typeddict(cls):
        names = list(cls.__annotations__)
    elif dataclasses.is_dataclass(cls):
        names = [field.name for field in dataclasses.fields(cls)]
    else:
        attributes: Any = getattr(cls, "__attrs_attrs__", ())
        names = [*getattr(cls, "__struct_fields__", ()), *(attribute.name for attribute in attributes)]
    if not names:
        return {}
    try:
        hints = get_type_hints(cls, include_extras=True)
    except NameError as error:
        where = f"a field of {type_name(cls)} has a type that does not exist"
        raise TypeError(f"{where}: {unresolved(cls.__module__, error.name or str(error))}") from None
    return {name: hints[name] for name in names}


def required_of(cls: Any) -> frozenset[str]:
    """The fields of a data class that have no default."""
    if is_typeddict(cls):
        return frozenset(cls.__required_keys__)
    if dataclasses.is_dataclass(cls):
        known = dataclasses.fields(cls)
        without = (field for field in known if field.default is field.default_factory is dataclasses.MISSING)
        return frozenset(field.name for field in without)
    if hasattr(cls, "__struct_fields__"):
        return frozenset(field.name for field in msgspec.structs.fields(cls) if field.required)
    attributes: Any = getattr(cls, "__attrs_attrs__", ())
    return frozenset(attribute.name for attribute in attributes if type(attribute.default).__name__ == "_Nothing")


def is_frozen(cls: Any) -> bool:
    """Whether the fields of a class's values cannot be set."""
    if dataclasses.is_dataclass(cls):
        return bool(getattr(cls, "__dataclass_params__").frozen)  # noqa: B009  # no checker knows it
    if hasattr(cls, "__struct_config__"):
        return bool(cls.__struct_config__.frozen)
    return hasattr(cls, "_fields") and issubclass(cls, tuple)


def make(cls: Any, given: dict[str, object]) -> object:
    """An object of a class from its fields, those that its constructor does not take too."""
    late: dict[str, object] = {}
    taken: dict[str, object] = {}
    rules = _constructor(cls)
    for name, value in given.items():
        alias = rules.get(name, name)
        if alias is None:
            late[name] = value
        else:
            taken[alias] = value
    made: object = cls(**taken)
    for name, value in late.items():
        object.__setattr__(made, name, value)
    return made


def unaliased(type_: Any) -> Any:
    """A type with its aliases (`type X = …`) replaced by what they stand for, at every depth."""
    if type(type_).__name__ == "TypeAliasType":
        return unaliased(type_.__value__)
    origin, args = get_origin(type_), get_args(type_)
    if origin is None or not args:
        return type_
    inner = tuple(unaliased(arg) for arg in args)
    if all(one is other for one, other in zip(inner, args, strict=True)):
        return type_
    if origin is Union or origin is types.UnionType:
        return Union[inner]  # noqa: UP007  # built from a tuple
    if origin is Annotated:
        return unaliased(type_.__origin__)
    return origin[inner]


def _constructor(cls: Any) -> dict[str, str | None]:
    """Fields that a constructor takes under another name, or not at all."""
    if dataclasses.is_dataclass(cls):
        return {field.name: None for field in dataclasses.fields(cls) if not field.init}
    attributes: Any = getattr(cls, "__attrs_attrs__", ())
    return {attribute.name: attribute.alias if attribute.init else None for attribute in attributes}
