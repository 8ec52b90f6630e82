"""Types that msgspec carries by itself, pydantic models inside them included.

Guarantees: equal values are written as equal bytes in every process; a type's schema says what
its values look like and nothing else, no default and no docstring.
Must not: carry a type whose values could come back as something else.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import msgspec
from msgspec import inspect as info

from amends.define.examples import example_of
from amends.define.names import type_name
from amends.define.schemas import Definitions, Json
from amends.define.shape import is_frozen, is_model

# What a schema says beside the shape of the data; and where names stand, which may be the same words.
_WORDS = frozenset({"description", "title", "default", "examples"})
_NAMES = frozenset({"properties", "$defs"})


class NotNative(TypeError):
    """msgspec does not carry this type by itself."""


class Native:
    """A type that msgspec carries by itself."""

    def __init__(self, type_: object) -> None:
        try:
            described = info.type_info(type_)
        except (TypeError, NameError) as error:
            raise NotNative(str(error)) from None
        facts = _Facts()
        facts.look(described, "")
        self.type = type_
        self.careful: bool = facts.careful
        self.frozen: bool = facts.frozen
        self.encode: Callable[[object], bytes] = _encoder(facts)
        self._fill = _filler(facts)
        self.decode: Callable[[bytes], object] = msgspec.json.Decoder(cast("Any", type_), dec_hook=_load_model).decode
        self._described = described
        schema = msgspec.json.schema(type_, schema_hook=_model_schema)
        self.schema: str = json.dumps(_bones(schema), sort_keys=True, default=str)

    def dump(self, value: object) -> object:
        if self._fill is not None:
            self._fill(value)
        return _plain_data(value)

    def load(self, data: object) -> object:
        return msgspec.convert(data, cast("Any", self.type), dec_hook=_load_model, str_keys=True)

    def example(self, depth: int) -> object:
        return example_of(self._described, depth)

    def json_schema(self, definitions: Definitions) -> Json:
        (schema,), parts = msgspec.json.schema_components([self.type], schema_hook=_open_schema)
        return definitions.take(schema, parts)


class _Facts:
    """What a type's description tells about its values."""

    def __init__(self) -> None:
        self.careful = False
        self.frozen = True
        self.unordered = False  # equal values may be written in another order
        self.odd_keys = False  # a dict may have keys that are no texts
        self.lent: dict[str, set[str]] = {}  # where a decoded value may leave which defaults to its class
        self._above: frozenset[object] = frozenset()

    def look(self, node: object, path: str) -> None:
        """Take in a node of msgspec's description and all below it. Raises TypeError for what
        only looks as if msgspec could carry it."""
        if isinstance(node, info.CustomType):
            if not is_model(node.cls):
                raise TypeError(f"{type_name(node.cls)} is no data class - at `${path}`")
            self.careful, self.frozen = True, False
        elif isinstance(node, info.AnyType):
            self.careful = self.odd_keys = True
            self.frozen = False
        elif isinstance(node, (info.FloatType, info.DateTimeType, info.DecimalType)):
            self.careful = True
        elif isinstance(node, (info.ListType, info.DictType, info.SetType, info.TypedDictType, info.ByteArrayType)):
            self.frozen = False
        if isinstance(node, (info.SetType, info.FrozenSetType, info.DictType, info.AnyType, info.CustomType)):
            self.unordered = True
        if isinstance(node, info.DictType) and not isinstance(node.key_type, info.StrType):
            self.odd_keys = True
        cls = getattr(node, "cls", None)
        if isinstance(node, info.DataclassType) and dataclasses.is_dataclass(cls) and hasattr(cls, "__dict__"):
            names = {field.name for field in node.fields if field.name in vars(cls)}
            self.lent |= {path: names} if names else {}
        if cls in self._above and cls is not None:
            self.careful = True  # it may contain itself
            return
        if cls is not None:
            self.frozen = self.frozen and (is_frozen(cls) or isinstance(node, info.EnumType))
        before, self._above = self._above, self._above | {cls}
        for step, child in _below(node):
            self.look(child, path + step)
        self._above = before


def _below(node: object) -> list[tuple[str, object]]:
    if isinstance(node, info.Metadata):
        return [("", node.type)]
    fields = [(f".{field.name}", field.type) for field in getattr(node, "fields", ())]
    parts = [("[…]", getattr(node, name)) for name in ("item_type", "key_type", "value_type") if hasattr(node, name)]
    items = [(f"[{index}]", item) for index, item in enumerate(getattr(node, "item_types", ()))]
    return [*fields, *parts, *items, *(("", kind) for kind in getattr(node, "types", ()))]


def _encoder(facts: _Facts) -> Callable[[object], bytes]:
    encode: Callable[[object], bytes]
    if facts.odd_keys:
        encode = lambda value: msgspec.json.encode(_plain_data(value))  # noqa: E731  # one of three
    else:
        order: Any = "deterministic" if facts.unordered else None
        encode = msgspec.json.Encoder(enc_hook=_dump_model, order=order).encode
    fill = _filler(facts)
    if fill is None:
        return encode

    def filled(value: object) -> bytes:
        fill(value)
        return encode(value)

    return filled


def _filler(facts: _Facts) -> Callable[[Any], object] | None:
    """What puts lent defaults in place, if any are; quick for a dataclass that holds no other."""
    if not facts.lent:
        return None
    names = facts.lent.get("", set())
    if len(facts.lent) > 1 or not names:
        return _filled

    def fill(value: Any) -> None:
        held = getattr(value, "__dict__", names)
        for name in names:
            if name not in held:
                _filled(value)

    return fill


def _filled(value: Any) -> Any:
    """The value, with the defaults of its dataclasses in their own dictionaries. The decoder
    leaves them to the class, and a value that was decoded would be written in fewer words than
    an equal one that was built."""
    if isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            _filled(item)
    elif isinstance(value, dict):
        for item in value.values():
            _filled(item)
    else:
        held = getattr(value, "__dict__", None)
        for name in _field_names(cast("Any", type(value))):
            inner = getattr(value, name, held)
            if inner is not held:  # held: a field that was never given
                if held is not None:
                    held.setdefault(name, inner)
                _filled(inner)
    return value


@cache
def _field_names(cls: Any) -> tuple[str, ...]:
    """The fields of a data class that msgspec carries; none for anything else."""
    names = getattr(cls, "__struct_fields__", None) or getattr(cls, "__dataclass_fields__", None) or ()
    return (*names, *(attribute.name for attribute in getattr(cls, "__attrs_attrs__", ())))


def _plain_data(value: object) -> object:
    return msgspec.to_builtins(value, enc_hook=_dump_model, order="deterministic", str_keys=True)


def _bones(schema: object, *, names: bool = False) -> object:
    """A schema without the words for people and without defaults."""
    if isinstance(schema, list):
        return [_bones(item) for item in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    known = cast("dict[str, object]", schema).items()
    return {key: _bones(value, names=key in _NAMES and not names) for key, value in known if names or key not in _WORDS}


def _dump_model(value: Any) -> object:
    cls = cast("Any", type(value))
    if not is_model(cls):
        raise TypeError(f"a {cls.__name__} cannot be stored")
    data = value.model_dump(mode="json", round_trip=True, warnings=False)
    return _in_order(value.model_dump(round_trip=True, warnings=False), data) if _has_sets(cls) else data


@cache
def _has_sets(cls: Any) -> bool:
    """Whether a model may hold a set, whose order says nothing."""
    return '"uniqueItems": true' in json.dumps(_model_schema(cls), default=str)


def _in_order(value: Any, data: Any) -> Any:
    """A model's JSON data with the members of its sets in one order in every process."""
    if isinstance(value, (set, frozenset)):
        return sorted(data, key=json.dumps)
    if isinstance(data, dict) and isinstance(value, dict) and len(data) == len(value):
        return {name: _in_order(inner, data[name]) for name, inner in zip(data, value.values(), strict=True)}
    if isinstance(data, list) and isinstance(value, (list, tuple)):
        return [_in_order(inner, one) for inner, one in zip(value, data, strict=True)]
    return data


def _load_model(cls: Any, data: object) -> object:
    try:
        return cls.model_validate(data, by_alias=False, by_name=True)
    except ValueError as error:
        raise ValueError(_first_problem(error)) from None


def _first_problem(error: Any) -> str:
    """The first of a model's validation errors, its path in front."""
    if not hasattr(error, "errors"):
        return str(error)
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
    return f"`{path}` {first['msg']}" if path else str(first["msg"])


def _model_schema(cls: Any) -> dict[str, Any]:
    try:
        schema: dict[str, Any] = cls.model_json_schema(by_alias=False)
    except Exception:  # noqa: BLE001  # a model may hold what has no schema, and can be stored all the same
        schema = {"fields": {name: str(field.annotation) for name, field in sorted(cls.model_fields.items())}}
    return schema


def _open_schema(cls: Any) -> dict[str, Any]:
    """The same for others to read: of a model that has no schema, only that it is an object."""
    found = _model_schema(cls)
    return {"type": "object", "title": cls.__name__} if "fields" in found and "type" not in found else found
