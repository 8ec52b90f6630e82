"""Types as a person writes them, for messages.

Guarantees: a name for whatever may stand in an annotation.
Must not: resolve or judge anything.
"""

from __future__ import annotations

import types
from typing import Annotated, Literal, Union, get_args, get_origin


def type_name(type_: object) -> str:
    """How a type is written, without its module: `list[Order | None]`."""
    if type_ is None or type_ is type(None):
        return "None"
    if type_ is Ellipsis:
        return "..."
    if isinstance(type_, str):
        return type_
    origin, args = get_origin(type_), get_args(type_)
    if origin is Annotated:
        return type_name(args[0])
    if origin is Union or origin is types.UnionType:
        return " | ".join(type_name(arg) for arg in sorted(args, key=lambda arg: arg is type(None)))
    if origin is Literal:
        return f"Literal[{', '.join(repr(arg) for arg in args)}]"
    if isinstance(type_, list):
        return f"[{', '.join(type_name(arg) for arg in type_)}]"
    if origin is not None and args:
        return f"{_plain(origin)}[{', '.join(type_name(arg) for arg in args)}]"
    return _plain(type_)


def _plain(type_: object) -> str:
    for known in ("__name__", "_name"):
        name = getattr(type_, known, None)
        if isinstance(name, str):
            return name
    return repr(type_)[:80]
