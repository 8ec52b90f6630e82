"""Shapes: how values of a type turn into plain JSON data and back.

msgspec carries nearly everything by itself. What it refuses, unions of several classes, is
taken apart here: a value of such a union is written with the name of its class beside it.

Guarantees: a shape is built once per type; the only classes it ever makes are those the type
names.
Must not: look at data to find out which class to load, beyond the names of the union.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Mapping
from typing import Any, Protocol, Union, get_args, get_origin, get_type_hints, is_typeddict

import msgspec
from msgspec import inspect as info

TAG = "$type"


class Shape(Protocol):
    """How one type's values are written.

    careful: they may hide a flaw that encoding does not see. plain: the type does not say what
    it holds, so what comes back may differ. frozen: they cannot change.
    """

    careful: bool
    plain: bool
    frozen: bool
    schema: str

    def dump(self, value: object) -> object:
        """Plain JSON data."""
        ...

    def load(self, data: object) -> object:
        """The value of plain JSON data. Raises msgspec.ValidationError, TypeError or ValueError."""
        ...

    def example(self, depth: int) -> object:
        """Plain JSON data of the right shape."""
        ...


def shape_of(type_: object) -> Shape:
    """The shape of a type. Raises TypeError where its values cannot be written."""
    try:
        return Native(type_)
    except _NotNative:
        return _taken_apart(type_)


class _NotNative(TypeError):
    """msgspec does not carry this type by itself."""


class Native:
    """A type that msgspec carries by itself, pydantic models inside it included."""

    def __init__(self, type_: object) -> None:
        try:
            described = info.type_info(type_)
        except TypeError as error:
            raise _NotNative(str(error)) from None
        facts = _Facts()
        facts.look(described)
        self.type = type_
        self.careful, self.plain, self.frozen = facts.careful, facts.plain, facts.frozen
        encoder = msgspec.json.Encoder(enc_hook=_dump_model, order="deterministic" if facts.unordered else None)
        self.encode: Callable[[object], bytes] = encoder.encode
        self.decode: Callable[[bytes], object] = msgspec.json.Decoder(type_, dec_hook=_load_model).decode
        self._described = described
        schema = msgspec.json.schema(type_, schema_hook=_model_schema)
        self.schema = json.dumps(schema, sort_keys=True, default=str)

    def dump(self, value: object) -> object:
        return msgspec.to_builtins(value, enc_hook=_dump_model)

    def load(self, data: object) -> object:
        return msgspec.convert(data, self.type, dec_hook=_load_model)

    def example(self, depth: int) -> object:
        return _example(self._described, depth)


class Choice:
    """A union with several classes; the class's name is written beside its value."""

    plain = False

    def __init__(self, members: tuple[object, ...]) -> None:
        self._classes: dict[str, tuple[type, Shape]] = {}
        rest: list[object] = []
        for member in members:
            if isinstance(member, type) and _is_class(member):
                if member.__name__ in self._classes:
                    raise TypeError(f"two classes of the union are called {member.__name__}")
                self._classes[member.__name__] = (member, shape_of(member))
            else:
                rest.append(member)
        if len(self._classes) < 2:
            raise TypeError("of the members of the union msgspec can tell no two apart")
        self._rest = shape_of(Union[tuple(rest)]) if rest else None  # noqa: UP007  # built from a tuple
        shapes = [shape for _, shape in self._classes.values()] + ([self._rest] if self._rest else [])
        self.careful = any(shape.careful for shape in shapes)
        self.frozen = all(shape.frozen for shape in shapes)
        names = {name: shape.schema for name, (_, shape) in sorted(self._classes.items())}
        self.schema = json.dumps({"union": names, "rest": self._rest.schema if self._rest else None}, sort_keys=True)

    def dump(self, value: object) -> object:
        known = self._classes.get(type(value).__name__)
        if known is not None and known[0] is type(value):
            data = known[1].dump(value)
            return (
                {TAG: type(value).__name__, **data} if isinstance(data, dict) else {TAG: known[0].__name__, "$": data}
            )
        if self._rest is None:
            raise TypeError(f"{type(value).__name__} is none of {', '.join(self._classes)}")
        return self._rest.dump(value)

    def load(self, data: object) -> object:
        if not isinstance(data, dict) or TAG not in data:
            if self._rest is None:
                raise ValueError(f"an object with {TAG!r} is expected, one of {', '.join(self._classes)}")
            return self._rest.load(data)
        known = self._classes.get(data[TAG])
        if known is None:
            raise ValueError(f"{TAG!r} is none of {', '.join(self._classes)}")
        rest = {key: value for key, value in data.items() if key != TAG}
        return known[1].load(rest["$"] if rest.keys() == {"$"} else rest)

    def example(self, depth: int) -> object:
        name, (_, shape) = next(iter(self._classes.items()))
        data = shape.example(depth + 1)
        return {TAG: name, **data} if isinstance(data, dict) else {TAG: name, "$": data}


class Fields:
    """A class with a field that msgspec does not carry by itself."""

    plain = False

    def __init__(self, cls: type) -> None:
        self._class = cls
        self._shapes = {name: shape_of(hint) for name, hint in _hints(cls).items()}
        self.careful = any(shape.careful for shape in self._shapes.values())
        self.frozen = _is_frozen(cls) and all(shape.frozen for shape in self._shapes.values())
        self.schema = json.dumps({name: shape.schema for name, shape in sorted(self._shapes.items())})

    def dump(self, value: object) -> object:
        if is_typeddict(self._class):
            given: Mapping[str, object] = value  # type: ignore[assignment]  # what is no mapping raises below
            return {name: shape.dump(given[name]) for name, shape in self._shapes.items() if name in given}
        if not isinstance(value, self._class):
            raise TypeError(f"{type(value).__name__} is no {self._class.__name__}")
        return {name: shape.dump(getattr(value, name)) for name, shape in self._shapes.items()}

    def load(self, data: object) -> object:
        if not isinstance(data, dict):
            raise ValueError(f"an object is expected for {self._class.__name__}")
        given = {name: shape.load(data[name]) for name, shape in self._shapes.items() if name in data}
        return self._class(**given)

    def example(self, depth: int) -> object:
        return {name: shape.example(depth + 1) for name, shape in self._shapes.items()} if depth < 4 else {}


class Items:
    """A list, set or tuple of what msgspec does not carry by itself."""

    plain = False

    def __init__(self, make: Callable[[list[object]], object], item: Shape) -> None:
        self._make, self._item = make, item
        self.careful = item.careful
        self.frozen = item.frozen and make in (tuple, frozenset)
        self.schema = json.dumps({"items": item.schema})

    def dump(self, value: object) -> object:
        if not isinstance(value, (list, tuple, set, frozenset)):
            raise TypeError(f"{type(value).__name__} is no list")
        return [self._item.dump(item) for item in value]

    def load(self, data: object) -> object:
        if not isinstance(data, list):
            raise ValueError("a list is expected")
        return self._make([self._item.load(item) for item in data])

    def example(self, depth: int) -> object:
        return [self._item.example(depth + 1)] if depth < 4 else []


class Table:
    """A dict whose values msgspec does not carry by itself."""

    plain = False
    frozen = False

    def __init__(self, key: Shape, value: Shape) -> None:
        self._key, self._value = key, value
        self.careful = key.careful or value.careful
        self.schema = json.dumps({"key": key.schema, "value": value.schema})

    def dump(self, value: object) -> object:
        if not isinstance(value, dict):
            raise TypeError(f"{type(value).__name__} is no dict")
        return {self._key.dump(key): self._value.dump(item) for key, item in value.items()}

    def load(self, data: object) -> object:
        if not isinstance(data, dict):
            raise ValueError("an object is expected")
        return {self._key.load(key): self._value.load(item) for key, item in data.items()}

    def example(self, depth: int) -> object:
        return {}


def _taken_apart(type_: object) -> Shape:
    origin, args = get_origin(type_), get_args(type_)
    if origin is Union or origin is types.UnionType:
        return Choice(args)
    if origin in (list, set, frozenset) and args:
        return Items(origin, shape_of(args[0]))
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return Items(tuple, shape_of(args[0]))
    if origin is dict and len(args) == 2:
        return Table(shape_of(args[0]), shape_of(args[1]))
    if isinstance(type_, type) and not _is_model(type_) and _hints(type_):
        return Fields(type_)
    return Native(type_)  # raises with msgspec's own words


class _Facts:
    """What a type's description tells about its values."""

    def __init__(self) -> None:
        self.careful = False
        self.plain = False
        self.frozen = True
        self.unordered = False  # equal values may be written in another order
        self._seen: set[object] = set()

    def look(self, node: object) -> None:
        """Take in a node of msgspec's description and all below it."""
        if isinstance(node, info.CustomType):
            if not _is_model(node.cls):
                raise TypeError(f"{_plain_name(node.cls)} is no data class")
            self.careful, self.frozen = True, False
        elif isinstance(node, info.AnyType):
            self.careful = self.plain = True
            self.frozen = False
        elif isinstance(node, (info.FloatType, info.DateTimeType, info.TimeType, info.DecimalType)):
            self.careful = True
        elif isinstance(node, (info.ListType, info.DictType, info.SetType, info.TypedDictType, info.ByteArrayType)):
            self.frozen = False
        if isinstance(node, (info.SetType, info.FrozenSetType, info.DictType, info.AnyType, info.CustomType)):
            self.unordered = True
        cls = getattr(node, "cls", None)
        if cls is not None:
            if cls in self._seen:
                self.careful = True  # it may contain itself
                return
            self._seen = self._seen | {cls}
            self.frozen = self.frozen and (_is_frozen(cls) or isinstance(node, info.EnumType))
        for child in _below(node):
            before = self._seen
            self.look(child)
            self._seen = before


def _below(node: object) -> list[object]:
    if isinstance(node, info.Metadata):
        return [node.type]
    fields = [field.type for field in getattr(node, "fields", ())]
    parts = [getattr(node, name) for name in ("item_type", "key_type", "value_type") if hasattr(node, name)]
    return [*fields, *parts, *getattr(node, "item_types", ()), *getattr(node, "types", ())]


def _example(node: object, depth: int) -> object:
    if isinstance(node, info.Metadata):
        return _example(node.type, depth)
    fields = getattr(node, "fields", None)
    if fields is not None and depth < 4:
        return {field.encode_name: _example(field.type, depth + 1) for field in fields}
    if isinstance(node, info.UnionType):
        return _example(next(kind for kind in node.types if not isinstance(kind, info.NoneType)), depth)
    if isinstance(node, (info.ListType, info.SetType, info.FrozenSetType, info.VarTupleType)):
        return [_example(node.item_type, depth + 1)] if depth < 4 else []
    if isinstance(node, (info.EnumType, info.LiteralType)):
        values = node.values if isinstance(node, info.LiteralType) else [member.value for member in node.cls]
        return values[0]
    return next((text for kind, text in _EXAMPLES if isinstance(node, kind)), {})


_EXAMPLES: list[tuple[type, object]] = [
    (info.StrType, "text"),
    (info.IntType, 1),
    (info.FloatType, 1.5),
    (info.BoolType, True),
    (info.NoneType, None),
    (info.DateTimeType, "2026-01-31T12:00:00Z"),
    (info.DateType, "2026-01-31"),
    (info.TimeType, "12:00:00Z"),
    (info.TimeDeltaType, "PT1H"),
    (info.DecimalType, "9.99"),
    (info.UUIDType, "01890a5d-ac96-774b-bcce-b302099a8057"),
    (info.BytesType, "YmFzZTY0"),
]


def _is_model(cls: object) -> bool:
    """Whether a class is a pydantic model; pydantic is not imported to find out."""
    return isinstance(cls, type) and hasattr(cls, "__pydantic_core_schema__") and hasattr(cls, "model_validate")


def _is_class(cls: type) -> bool:
    return _is_model(cls) or hasattr(cls, "__struct_fields__") or bool(_hints(cls))


def _hints(cls: type) -> dict[str, Any]:
    """The fields of a data class and their types; empty for any other class."""
    if is_typeddict(cls):
        return get_type_hints(cls, include_extras=True)
    if dataclasses.is_dataclass(cls):
        names = [field.name for field in dataclasses.fields(cls)]
    else:
        attributes: Any = getattr(cls, "__attrs_attrs__", ())
        names = [*getattr(cls, "__struct_fields__", ()), *(attribute.name for attribute in attributes)]
    hints = get_type_hints(cls, include_extras=True) if names else {}
    return {name: hints[name] for name in names}


def _is_frozen(cls: type) -> bool:
    if dataclasses.is_dataclass(cls):
        return bool(cls.__dataclass_params__.frozen)  # type: ignore[attr-defined]  # every dataclass has it
    if hasattr(cls, "__struct_config__"):
        return bool(cls.__struct_config__.frozen)
    return hasattr(cls, "_fields") and issubclass(cls, tuple)


def _plain_name(cls: object) -> str:
    return getattr(cls, "__name__", None) or str(cls)


def _dump_model(value: Any) -> object:
    if _is_model(type(value)):
        return value.model_dump(mode="json")
    raise TypeError(f"a {type(value).__name__} cannot be stored")


def _load_model(cls: Any, data: object) -> object:
    return cls.model_validate(data)


def _model_schema(cls: Any) -> dict[str, Any]:
    schema: dict[str, Any] = cls.model_json_schema()
    return schema
