"""Shapes: how values of a type turn into plain JSON data and back.

msgspec carries nearly everything by itself (`native.py`). What it refuses, unions of several
classes, is taken apart here: a value of such a union is written with the name of its class
beside it.

Guarantees: a shape is built once per type; the only classes it ever makes are those the type
names.
Must not: look at data to find out which class to load, beyond the names of the union.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from typing import Annotated, Any, NotRequired, Required, Union, cast, get_args, get_origin, is_typeddict

import msgspec

from amends.define.examples import DEPTH_MAX, FULL_DEPTH
from amends.define.names import type_name
from amends.define.native import Native, NotNative
from amends.define.schemas import Definitions, Json, tagged
from amends.define.shape import Shape, fields_of, is_class, is_frozen, is_model, make, placed, required_of, unaliased

TAG = "$type"
Known = dict[object, "Fields"]  # the classes that are being taken apart, so that one may contain itself


def shape_of(type_: object, known: Known | None = None) -> Shape:
    """The shape of a type. Raises TypeError where its values cannot be written."""
    type_ = unaliased(type_)
    try:
        return Native(type_)
    except NotNative as error:
        return _taken_apart(type_, {} if known is None else known, error)


class Choice:
    """A union with several classes; the class's name is written beside its value."""

    def __init__(self, members: tuple[object, ...], known: Known) -> None:
        self._classes: dict[str, tuple[type, Shape]] = {}
        rest: list[object] = []
        for member in members:
            if isinstance(member, type) and is_class(member):
                if member.__name__ in self._classes:
                    raise TypeError(f"two classes of the union are called {member.__name__}")
                self._classes[member.__name__] = (member, shape_of(member, known))
            else:
                rest.append(member)
        if len(self._classes) < 2:
            alike = " and ".join(type_name(member) for member in members)
            raise TypeError(f"in their JSON form, {alike} cannot be told apart; make each a class of its own")
        self._rest = shape_of(Union[tuple(rest)], known) if rest else None  # noqa: UP007  # built from a tuple
        shapes = [shape for _, shape in self._classes.values()] + ([self._rest] if self._rest else [])
        self.careful: bool = any(shape.careful for shape in shapes)
        self.frozen: bool = all(shape.frozen for shape in shapes)
        names = {name: shape.schema for name, (_, shape) in sorted(self._classes.items())}
        self.schema: str = json.dumps(
            {"union": names, "rest": self._rest.schema if self._rest else None}, sort_keys=True
        )

    def dump(self, value: object) -> object:
        known = self._classes.get(type(value).__name__)
        if known is not None and known[0] is type(value):
            data = known[1].dump(value)
            return _tagged(known[0].__name__, data)
        if self._rest is None:
            raise TypeError(f"Expected {self._names()}, got `{type(value).__name__}`")
        return self._rest.dump(value)

    def load(self, data: object) -> object:
        if not isinstance(data, dict) or TAG not in data:
            if self._rest is None:
                raise ValueError(f"Expected an object with `{TAG}`: {self._names()}")
            return self._rest.load(data)
        given = cast("dict[str, object]", data)
        known = self._classes.get(str(given[TAG]))
        if known is None:
            raise ValueError(f"Invalid `{TAG}`, expected {self._names()}")
        rest = {key: value for key, value in given.items() if key != TAG}
        return known[1].load(rest["$"] if rest.keys() == {"$"} else rest)

    def example(self, depth: int) -> object:
        name, (_, shape) = next(iter(self._classes.items()))
        return _tagged(name, shape.example(depth + 1))

    def json_schema(self, definitions: Definitions) -> Json:
        arms: list[Json] = []
        for name, (_, shape) in self._classes.items():
            schema = shape.json_schema(definitions)
            if isinstance(shape, Native):
                arms.append(tagged(TAG, name, schema, definitions))
            else:  # it may not be complete yet, and allows what it does not know
                arms.append({"allOf": [schema], "properties": {TAG: {"const": name}}, "required": [TAG]})
        return {"anyOf": arms if self._rest is None else [*arms, self._rest.json_schema(definitions)]}

    def _names(self) -> str:
        return " or ".join(f"`{name}`" for name in self._classes)


class Fields:
    """A class with a field that msgspec does not carry by itself."""

    def __init__(self, cls: Any, known: Known) -> None:
        self._class = cls
        self._is_dict = is_typeddict(cls)
        self._shapes: dict[str, Shape] = {}
        known[cls] = self
        for name, hint in fields_of(cls).items():
            with _Placed(f".{name}"):
                self._shapes[name] = shape_of(_unrequired(hint), known)
        del known[cls]
        self.careful: bool = any(shape.careful for shape in self._shapes.values())
        self.frozen: bool = is_frozen(cls) and all(shape.frozen for shape in self._shapes.values())
        self.schema: str = json.dumps({name: shape.schema for name, shape in sorted(self._shapes.items())})

    def dump(self, value: object) -> object:
        dumped: dict[str, object] = {}
        if self._is_dict:
            if not isinstance(value, dict):
                raise TypeError(f"Expected `object`, got `{type(value).__name__}`")
            given = cast("dict[str, object]", value)
        elif not isinstance(value, self._class):
            raise TypeError(f"Expected `{self._class.__name__}`, got `{type(value).__name__}`")
        else:
            given = {name: getattr(value, name) for name in self._shapes}
        for name, shape in self._shapes.items():
            if name in given:
                with _Placed(f".{name}"):
                    dumped[name] = shape.dump(given[name])
        return dumped

    def load(self, data: object) -> object:
        if not isinstance(data, dict):
            raise ValueError(f"Expected `object`, got `{type(data).__name__}`")
        loaded: dict[str, object] = {}
        given = cast("dict[str, object]", data)
        for name, shape in self._shapes.items():
            if name in given:
                with _Placed(f".{name}"):
                    loaded[name] = shape.load(given[name])
        if self._is_dict:
            missing = [name for name in sorted(self._class.__required_keys__) if name not in loaded]
            if missing:
                raise ValueError(f"Object missing required field `{missing[0]}`")
            return loaded
        return make(self._class, loaded)

    def example(self, depth: int) -> object:
        if depth > DEPTH_MAX:
            return {}
        needed = self._shapes.keys() if depth < FULL_DEPTH else required_of(self._class)
        return {name: shape.example(depth + 1) for name, shape in self._shapes.items() if name in needed}

    def json_schema(self, definitions: Definitions) -> Json:
        return definitions.of(self._class, type_name(self._class), lambda: self._described(definitions))

    def _described(self, definitions: Definitions) -> Json:
        needed = required_of(self._class)
        return {
            "type": "object",
            "properties": {name: shape.json_schema(definitions) for name, shape in self._shapes.items()},
            "required": [name for name in self._shapes if name in needed],
        }


class Again:
    """A class inside itself."""

    careful = True  # it may contain itself without end
    frozen = False

    def __init__(self, fields: Fields, name: str) -> None:
        self._fields = fields
        self.schema: str = json.dumps({"again": name})

    def dump(self, value: object) -> object:
        return self._fields.dump(value)

    def load(self, data: object) -> object:
        return self._fields.load(data)

    def example(self, depth: int) -> object:
        return self._fields.example(depth)

    def json_schema(self, definitions: Definitions) -> Json:
        return self._fields.json_schema(definitions)


class Items:
    """A list, set or tuple of what msgspec does not carry by itself."""

    def __init__(self, make_: Callable[[list[object]], object], item: Shape) -> None:
        self._make, self._item = make_, item
        self.careful: bool = item.careful
        self.frozen: bool = item.frozen and make_ in (tuple, frozenset)
        self.schema: str = json.dumps({"items": item.schema})

    def dump(self, value: object) -> object:
        if not isinstance(value, (list, tuple, set, frozenset)):
            raise TypeError(f"Expected `array`, got `{type(value).__name__}`")
        dumped = _each(self._item.dump, list(cast("list[object]", value)))
        return sorted(dumped, key=json.dumps) if self._make in (set, frozenset) else dumped

    def load(self, data: object) -> object:
        if not isinstance(data, list):
            raise ValueError(f"Expected `array`, got `{type(data).__name__}`")
        return self._make(_each(self._item.load, cast("list[object]", data)))

    def example(self, depth: int) -> object:
        return [self._item.example(depth + 1)] if depth < FULL_DEPTH else []

    def json_schema(self, definitions: Definitions) -> Json:
        return {"type": "array", "items": self._item.json_schema(definitions)}


class Row:
    """A tuple of fixed length with a member that msgspec does not carry by itself."""

    def __init__(self, members: tuple[Shape, ...]) -> None:
        self._members = members
        self.careful: bool = any(member.careful for member in members)
        self.frozen: bool = all(member.frozen for member in members)
        self.schema: str = json.dumps({"row": [member.schema for member in members]})

    def dump(self, value: object) -> object:
        return self._all(value, lambda shape, item: shape.dump(item), TypeError)

    def load(self, data: object) -> object:
        return tuple(self._all(data, lambda shape, item: shape.load(item), ValueError))

    def example(self, depth: int) -> object:
        return [member.example(depth + 1) for member in self._members] if depth <= DEPTH_MAX else []

    def json_schema(self, definitions: Definitions) -> Json:
        members = [member.json_schema(definitions) for member in self._members]
        return {"type": "array", "prefixItems": members, "minItems": len(members), "maxItems": len(members)}

    def _all(
        self, given: object, one: Callable[[Shape, object], object], wrong: type[TypeError] | type[ValueError]
    ) -> list[object]:
        items = cast("list[object]", given) if isinstance(given, (list, tuple)) else None
        if items is None or len(items) != len(self._members):
            raise wrong(f"Expected `array` of length {len(self._members)}")
        done: list[object] = []
        for index, (shape, item) in enumerate(zip(self._members, items, strict=True)):
            with _Placed(f"[{index}]"):
                done.append(one(shape, item))
        return done


class Table:
    """A dict whose values msgspec does not carry by itself."""

    frozen = False

    def __init__(self, key: object, value: Shape) -> None:
        self._keys = Native(dict[key, None])  # type: ignore[valid-type]  # built here
        self._value = value
        self.careful = True  # the keys may hide a flaw
        self.schema: str = json.dumps({"key": self._keys.schema, "value": value.schema})

    def dump(self, value: object) -> object:
        if not isinstance(value, dict):
            raise TypeError(f"Expected `object`, got `{type(value).__name__}`")
        dumped: dict[str, object] = {}
        for key, item in cast("dict[object, object]", value).items():
            with _Placed("[…]"):
                (text,) = cast("dict[str, None]", self._keys.dump({key: None}))
                dumped[text] = self._value.dump(item)
        return dumped

    def load(self, data: object) -> object:
        if not isinstance(data, dict):
            raise ValueError(f"Expected `object`, got `{type(data).__name__}`")
        loaded: dict[object, object] = {}
        for text, item in cast("dict[str, object]", data).items():
            with _Placed("[…]"):
                (key,) = cast("dict[object, None]", self._keys.load({text: None}))
                loaded[key] = self._value.load(item)
        return loaded

    def example(self, depth: int) -> object:
        return {}

    def json_schema(self, definitions: Definitions) -> Json:
        keys = self._keys.json_schema(definitions)
        return {**keys, "additionalProperties": self._value.json_schema(definitions)}


class _Placed:
    """Puts one step in front of the path of an error."""

    def __init__(self, step: str) -> None:
        self._step = step

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TypeError):
            raise TypeError(placed(error, self._step)) from None
        if isinstance(error, (ValueError, msgspec.MsgspecError)):
            raise ValueError(placed(error, self._step)) from None


def _taken_apart(type_: Any, known: Known, refusal: NotNative) -> Shape:
    origin, args = get_origin(type_), get_args(type_)
    if origin is Annotated:
        return shape_of(args[0], known)
    if origin is Union or origin is types.UnionType:
        return Choice(args, known)
    if origin in (list, set, frozenset) and args:
        return Items(origin, _inside("[…]", args[0], known))
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return Items(tuple, _inside("[…]", args[0], known))
    if origin is tuple and args:
        return Row(tuple(_inside(f"[{index}]", arg, known) for index, arg in enumerate(args)))
    if origin is dict and len(args) == 2:
        return Table(args[0], _inside("[…]", args[1], known))
    if type_ in known:
        return Again(known[type_], type_name(type_))
    if isinstance(type_, type) and not is_model(type_) and fields_of(type_):
        return Fields(type_, known)
    raise TypeError(str(refusal))


def _inside(step: str, type_: object, known: Known) -> Shape:
    with _Placed(step):
        return shape_of(type_, known)


def _unrequired(hint: Any) -> Any:
    """The type in a typed dict's `Required[…]` or `NotRequired[…]`."""
    return get_args(hint)[0] if get_origin(hint) in (Required, NotRequired) else hint


def _each(one: Callable[[object], object], items: list[object]) -> list[object]:
    done: list[object] = []
    for index, item in enumerate(items):
        with _Placed(f"[{index}]"):
            done.append(one(item))
    return done


def _tagged(name: str, data: object) -> dict[str, object]:
    return {TAG: name, **cast("dict[str, object]", data)} if isinstance(data, dict) else {TAG: name, "$": data}
