"""The slow look at a value that may not be storable: where it is wrong, and why.

Guarantees: bounded in depth and in the number of parts; never raises, whatever the value is.
Must not: be on the hot path; only what can hide a flaw, or does not fit, comes here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any, NamedTuple
from uuid import UUID

DEPTH_MAX = 100
INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1
PATH_CHARACTERS_MAX = 120

Step = tuple[str, object]  # one step of a path, and what is there
_LEAVES = (str, int, float, bytes, bytearray, memoryview, Decimal, date, time, timedelta, UUID, Enum, type(None))
_KEYS = (str, int, float, Decimal, date, time, timedelta, UUID, Enum)


class Flaw(NamedTuple):
    """Where in a value something cannot be stored, and why."""

    path: str
    reason: str
    too_large: bool = False


def find_flaw(value: object, parts_max: int, *, strict: bool = False) -> Flaw | None:
    """The first thing in a value that cannot be stored exactly.

    parts_max: how many parts a value may have; each takes a byte at least. strict: also what
    is of a kind that nobody can store.
    """
    return _guarded(lambda: next(_Look(parts_max, strict).flaws(value, "", ()), None))


def find_change(value: object, back: object) -> Flaw | None:
    """The first thing in a value that comes back from the store as something else."""
    return _guarded(lambda: _change(value, back, "", 0))


def is_same(value: object, back: object) -> bool:
    """Whether two values are equal; False where they cannot say."""
    try:
        return bool(value == back)
    except Exception:  # noqa: BLE001  # a user's __eq__ may raise anything
        return False


def find_largest(value: object, parts_max: int) -> str:
    """The path of the longest text in a value that is too large; empty where nothing stands out."""
    look = _Look(parts_max, strict=False)
    found = _guarded(lambda: _largest(look.leaves(value, "", ())))
    return "" if found is None else found.path


def _guarded(look: Callable[[], Flaw | None]) -> Flaw | None:
    try:
        return look()
    except Exception as error:  # noqa: BLE001  # the value's own code may raise anything
        return Flaw("", f"it cannot be looked at, it raises {type(error).__name__}")


def _largest(leaves: Iterator[Step]) -> Flaw | None:
    path, size = "", 0
    for here, leaf in leaves:
        if isinstance(leaf, (str, bytes, bytearray)) and len(leaf) > size:
            path, size = here, len(leaf)
    return Flaw(path, "") if size > 1000 else None


class _Look:
    """One walk through a value."""

    def __init__(self, parts_max: int, strict: bool) -> None:
        self._left = parts_max
        self._most = parts_max
        self._strict = strict

    def flaws(self, value: object, path: str, above: tuple[int, ...]) -> Iterator[Flaw]:
        """Every flaw, in the order of the parts."""
        self._left -= 1
        if self._left < 0:
            yield Flaw("", f"it has more than {self._most:,} parts, each takes a byte at least", True)
            return
        if id(value) in above:
            yield Flaw(path, "it contains itself")
            return
        if len(above) >= DEPTH_MAX:
            yield Flaw(_cut(path), f"it is nested more than {DEPTH_MAX} deep")
            return
        reason = _reason(value) or (self._unknown(value) if self._strict else "")
        if reason:
            yield Flaw(path, reason)
            return
        strict, self._strict = self._strict, self._strict and not hasattr(type(value), "__pydantic_fields__")
        for step, child in _children(value):
            yield from self.flaws(child, path + step, (*above, id(value)))
        self._strict = strict

    def leaves(self, value: object, path: str, above: tuple[int, ...]) -> Iterator[Step]:
        """Everything without parts of its own, as far as the walk is allowed to go."""
        self._left -= 1
        if self._left < 0 or id(value) in above or len(above) >= DEPTH_MAX:
            return
        yield path, value
        for step, child in _children(value):
            yield from self.leaves(child, path + step, (*above, id(value)))

    def _unknown(self, value: object) -> str:
        """Why a value of this kind cannot be stored; a class with fields, or a container, can."""
        if isinstance(value, dict):
            odd = [type(key).__name__ for key in value if not isinstance(key, _KEYS)]
            return f"a {odd[0]} cannot be a key" if odd else ""
        if isinstance(value, (*_LEAVES, list, tuple, set, frozenset)) or _has_fields(type(value)):
            return ""
        return f"a {type(value).__name__} cannot be stored"


def _change(value: object, back: object, path: str, depth: int) -> Flaw | None:
    if depth > DEPTH_MAX or is_same(value, back):
        return None
    if type(value) is not type(back):
        had, has = type(value).__name__, type(back).__name__
        return Flaw(path, f"it is a {had} and would come back as a {has}, so say in the type what it holds")
    pairs: list[tuple[str, object, object]]
    if isinstance(value, dict) and isinstance(back, dict):
        if value.keys() != back.keys():
            odd = next((key for key in value if key not in back), None)
            reason = "its type has no such key" if isinstance(odd, str) else "its keys would come back as other keys"
            return Flaw(f"{path}{_step(odd)}" if isinstance(odd, str) else path, reason)
        pairs = [(_step(key), child, back[key]) for key, child in value.items()]
    elif isinstance(value, (list, tuple)) and isinstance(back, (list, tuple)) and len(value) == len(back):
        pairs = [(f"[{index}]", *both) for index, both in enumerate(zip(value, back, strict=True))]
    elif _has_fields(type(value)):
        pairs = [(step, one, other) for (step, one), (_, other) in zip(_children(value), _children(back), strict=False)]
    else:
        return Flaw(path, "it would come back changed")
    return next((flaw for step, one, other in pairs if (flaw := _change(one, other, path + step, depth + 1))), None)


def _reason(value: object) -> str:
    match value:
        case str():
            return _text_reason(value)
        case bool():
            return ""
        case int():
            return "" if INTEGER_MIN <= value <= INTEGER_MAX else "the integer is outside -2^63 to 2^63-1 (64 bits)"
        case float():
            return "" if isfinite(value) else "it is not a finite number"
        case Decimal():
            return "" if value.is_finite() else "it is not a finite number"
        case datetime():
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


def _children(value: object) -> Iterator[Step]:
    if isinstance(value, dict):
        for key, child in list(value.items()):
            yield _step(key), key
            yield _step(key), child
    elif isinstance(value, (list, tuple, set, frozenset)):
        for index, child in enumerate(list(value)):
            yield f"[{index}]", child
    else:
        for name in _field_names(type(value)):
            yield f".{name}", getattr(value, name, None)
        extra: Any = getattr(value, "__pydantic_extra__", None) if hasattr(type(value), "__pydantic_fields__") else None
        for name, child in (extra or {}).items():
            yield _step(name), child


def _has_fields(kind: type) -> bool:
    known = ("__struct_fields__", "__pydantic_fields__", "__attrs_attrs__")
    return dataclasses.is_dataclass(kind) or any(hasattr(kind, name) for name in known)


def _field_names(kind: type) -> tuple[str, ...]:
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    for known in ("__struct_fields__", "__pydantic_fields__"):
        if hasattr(kind, known):
            return tuple(getattr(kind, known))
    return tuple(field.name for field in getattr(kind, "__attrs_attrs__", ()))


def _step(key: object) -> str:
    """One step of a path: a key of a dict."""
    if type(key) is str:
        return f".{_cut(key if key.isidentifier() and key.isascii() else ascii(key))}"
    try:
        return f".{_cut(ascii(key))}"
    except Exception:  # noqa: BLE001  # a user's __repr__ may raise anything
        return f".{type(key).__name__}"


def _cut(path: str) -> str:
    return path if len(path) <= PATH_CHARACTERS_MAX else path[:PATH_CHARACTERS_MAX] + "…"
