"""The slow look at a value that may not be storable: where it is wrong, and why.

Guarantees: bounded in depth and never raises, whatever the value is.
Must not: be on the hot path; only types that can hide a flaw come here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import datetime, time
from decimal import Decimal
from math import isfinite
from typing import NamedTuple

DEPTH_MAX = 100
INTEGER_BITS = 64


class Flaw(NamedTuple):
    """Where in a value something cannot be stored, and why."""

    path: str
    reason: str


def find_flaw(value: object) -> Flaw | None:
    """The first thing in a value that cannot be stored exactly."""
    return next(_flaws(value, "", ()), None)


def find_change(value: object, back: object, path: str = "") -> Flaw | None:
    """The first thing in a value that comes back from the store as something else."""
    if isinstance(value, dict) and isinstance(back, dict) and value.keys() == back.keys():
        pairs = [(f".{_cut(_safe(key))}", child, back[key]) for key, child in value.items()]
    elif isinstance(value, list) and isinstance(back, list) and len(value) == len(back):
        pairs = [(f"[{index}]", child, back[index]) for index, child in enumerate(value)]
    elif type(value) is type(back) and _field_names(value):
        pairs = [(f".{name}", getattr(value, name), getattr(back, name)) for name in _field_names(value)]
    elif type(value) is type(back) and value == back:
        return None
    else:
        return Flaw(path, f"it would come back as a {type(back).__name__}, so say in the type what it holds")
    return next((flaw for step, one, other in pairs if (flaw := find_change(one, other, path + step))), None)


def _flaws(value: object, path: str, above: tuple[int, ...]) -> Iterator[Flaw]:
    if id(value) in above:
        yield Flaw(path, "it contains itself")
        return
    if len(above) >= DEPTH_MAX:
        yield Flaw(_cut(path), f"it is nested more than {DEPTH_MAX} deep")
        return
    reason = _reason(value)
    if reason:
        yield Flaw(path, reason)
    for step, child in _children(value):
        yield from _flaws(child, path + step, (*above, id(value)))


def _reason(value: object) -> str:
    match value:
        case str():
            return _text_reason(value)
        case bool():
            return ""
        case int():
            return "the integer needs more than 64 bits" if value.bit_length() >= INTEGER_BITS else ""
        case float():
            return "" if isfinite(value) else "it is not a finite number"
        case Decimal():
            return "" if value.is_finite() else "it is not a finite number"
        case datetime() | time():
            return "" if value.tzinfo is not None else "the time has no time zone"
    return ""


def _text_reason(text: str) -> str:
    if "\x00" in text:
        return "the text contains a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"the text contains half a character (a lone surrogate) at position {error.start}"
    return ""


def _children(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, child in list(value.items()):
            yield f".{_cut(_safe(key))}", key
            yield f".{_cut(_safe(key))}", child
    elif isinstance(value, (list, tuple, set, frozenset)):
        for index, child in enumerate(list(value)):
            yield f"[{index}]", child
    else:
        for name in _field_names(value):
            yield f".{name}", getattr(value, name, None)


def _field_names(value: object) -> tuple[str, ...]:
    kind = type(value)
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    for known in ("__struct_fields__", "__pydantic_fields__"):
        if hasattr(kind, known):
            return tuple(getattr(kind, known))
    return tuple(field.name for field in getattr(kind, "__attrs_attrs__", ()))


def _safe(key: object) -> str:
    return key if isinstance(key, str) and key.isidentifier() and key.isascii() else ascii(key)


def _cut(path: str) -> str:
    return path if len(path) <= 120 else path[:120] + "…"
