"""An example of a type's values, as JSON data, for error messages and help.

Guarantees: bounded in depth, so a type that contains itself has one too.
Must not: be taken for a value; it only looks like one.
"""

from __future__ import annotations

from typing import Any

from msgspec import inspect as info

FULL_DEPTH = 2  # deeper, only what must be there
DEPTH_MAX = 12  # no type needs itself that often

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


def example_of(node: object, depth: int) -> object:
    """Plain JSON data that fits a node of msgspec's description of types."""
    if isinstance(node, info.Metadata):
        return example_of(node.type, depth)
    if depth > DEPTH_MAX:
        return {}
    if isinstance(node, info.CustomType):
        return _model(node.cls, depth)
    fields: tuple[info.Field, ...] = getattr(node, "fields", ())
    if fields:
        shown = {f.encode_name: example_of(f.type, depth + 1) for f in fields if f.required or depth < FULL_DEPTH}
        return list(shown.values()) if isinstance(node, info.NamedTupleType) or is_array(node) else shown
    if isinstance(node, info.UnionType):
        return _one_of(node, depth)
    if isinstance(node, (info.ListType, info.SetType, info.FrozenSetType, info.VarTupleType)):
        return [example_of(node.item_type, depth + 1)] if depth < FULL_DEPTH else []
    if isinstance(node, info.TupleType):
        return [example_of(item, depth + 1) for item in node.item_types]
    if isinstance(node, info.LiteralType):
        return node.values[0]
    if isinstance(node, info.EnumType):
        return next(iter(node.cls)).value
    return next((text for kind, text in _EXAMPLES if isinstance(node, kind)), {})


def is_array(node: object) -> bool:
    """Whether a class is written as a list of its fields."""
    return bool(getattr(node, "array_like", False))


def _one_of(node: info.UnionType, depth: int) -> object:
    kinds = [kind for kind in node.types if not isinstance(kind, info.NoneType)]
    return None if depth > FULL_DEPTH and len(kinds) < len(node.types) else example_of(kinds[0], depth)


def _model(cls: Any, depth: int) -> object:
    """A pydantic model, as far as its annotations tell; its own rules are not known here."""
    shown: dict[str, object] = {}
    for name, field in getattr(cls, "model_fields", {}).items():
        if field.is_required() or depth < FULL_DEPTH:
            try:
                shown[name] = example_of(info.type_info(field.annotation), depth + 1)
            except (TypeError, NameError):
                shown[name] = "…"
    return shown
