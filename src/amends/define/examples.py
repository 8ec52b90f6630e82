"""An example of a type's values, as JSON data, for error messages and help.

Guarantees: bounded in depth, so a type that contains itself has one too.
Must not: be taken for a value; it only looks like one.
"""

from __future__ import annotations

from typing import Any

from msgspec import inspect as info

DEPTH_MAX = 4

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
    fields: Any = getattr(node, "fields", None)
    if fields is not None and depth < DEPTH_MAX:
        return {field.encode_name: example_of(field.type, depth + 1) for field in fields}
    if isinstance(node, info.UnionType):
        return example_of(next(kind for kind in node.types if not isinstance(kind, info.NoneType)), depth)
    if isinstance(node, (info.ListType, info.SetType, info.FrozenSetType, info.VarTupleType)):
        return [example_of(node.item_type, depth + 1)] if depth < DEPTH_MAX else []
    if isinstance(node, info.TupleType):
        return [example_of(item, depth + 1) for item in node.item_types]
    if isinstance(node, info.LiteralType):
        return node.values[0]
    if isinstance(node, info.EnumType):
        return next(iter(node.cls)).value
    return next((text for kind, text in _EXAMPLES if isinstance(node, kind)), {})
