"""What has changed between two documents of contracts so that old and new programs no longer understand each other.

While a system is brought up to date, old programs send to new ones and new ones to old ones, so a change has to be
readable both ways: a field may be added if it need not be there; nothing else about a type may change.

Guarantees: a change that it does not name is a new contract, a new optional field, or words for people.
Must not: load any code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from amends.define.schemas import DEFINITIONS, Json

_WORDS = frozenset({"title", "description", "default", "examples", "$schema", "$defs", "$ref", "$comment"})
_APART = frozenset({"properties", "required"})
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_INNER = ("items", "additionalProperties", "propertyNames")


def broken(old: Json, new: Json) -> list[str]:
    """The changes that break something, in words. Raises ValueError for what is no such document."""
    found: list[str] = []
    for type_, was in old.items():
        if not isinstance(was, dict) or not was.keys() & {"command", "event"}:
            raise ValueError(f"{type_}: it says neither what is asked nor what is told")
        found += _contract(type_, was, new.get(type_))
    return found


def _contract(type_: str, was: Json, now: Json | None) -> Iterator[str]:
    if now is None:
        yield f"{type_}: it is gone"
        return
    if ("event" in was) != ("event" in now):
        yield f"{type_}: it was {'an event' if 'event' in was else 'a command'} and is none any more"
        return
    for part in ("command", "reply", "event"):
        if part in was:
            yield from _Documents(was[part], now[part]).compare(f"{type_}, {part}")
    if was.get("compensation") and not now.get("compensation") and not now.get("readonly"):
        yield f"{type_}: it can no longer be undone, and sagas that have asked for it rely on that"
    if was.get("readonly") and not now.get("readonly"):
        yield f"{type_}: it is no longer readonly, so sagas that ask for it would not undo it"


class _Documents:
    """Two schemas, each with its definitions."""

    def __init__(self, old: Json, new: Json) -> None:
        self._old, self._new = old, new
        self._seen: set[tuple[str, str]] = set()

    def compare(self, where: str) -> Iterator[str]:
        """What does not fit, from the root on."""
        yield from self._compare(self._old, self._new, where)

    def _compare(self, old: Any, new: Any, where: str) -> Iterator[str]:
        refs = (
            (old.get("$ref", ""), new.get("$ref", "")) if isinstance(old, dict) and isinstance(new, dict) else ("", "")
        )
        if all(refs):
            if refs in self._seen:
                return
            self._seen.add(refs)
        old, new = _behind(old, self._old), _behind(new, self._new)
        if not isinstance(old, dict) or not isinstance(new, dict):
            if old != new:
                yield f"{where}: it was {_shown(old)} and is {_shown(new)}"
            return
        if (was := _kind(old)) != (now := _kind(new)):
            yield f"{where}: it was {was} and is {now}"
            return
        yield from self._fields(old, new, where)
        yield from self._parts(old, new, where)
        apart = _WORDS | _APART | {*_LISTS, *_INNER, "type"}
        for key in sorted((old.keys() | new.keys()) - apart):
            if _ordered(old.get(key)) != _ordered(new.get(key)):
                yield f"{where}: {key} was {_shown(old.get(key))} and is {_shown(new.get(key))}"

    def _fields(self, old: Json, new: Json, where: str) -> Iterator[str]:
        was, now = old.get("properties", {}), new.get("properties", {})
        needed = frozenset(old.get("required", ()))
        for name, schema in was.items():
            if name in now:
                yield from self._compare(schema, now[name], f"{where}.{name}")
            else:
                yield f"{where}.{name}: it is gone" + (", and older programs need it" if name in needed else "")
        for name in new.get("required", ()):
            if name not in needed:
                yield f"{where}.{name}: it must be there now, and older programs may not send it"

    def _parts(self, old: Json, new: Json, where: str) -> Iterator[str]:
        for key in _INNER:
            if key in old and key in new:
                yield from self._compare(old[key], new[key], f"{where}[…]")
            elif old.get(key, True) != new.get(key, True):
                yield f"{where}: {key} was {_shown(old.get(key))} and is {_shown(new.get(key))}"
        for key in _LISTS:
            was, now = old.get(key, []), new.get(key, [])
            if len(was) != len(now):
                yield f"{where}: it had {len(was)} alternatives and has {len(now)}"
                continue
            for index, (one, other) in enumerate(zip(was, now, strict=True)):
                yield from self._compare(one, other, f"{where}[{index}]" if key == "prefixItems" else where)


def _behind(schema: Any, document: Json) -> Any:
    """What a schema says, behind its references."""
    while isinstance(schema, dict) and "$ref" in schema:
        name = str(schema["$ref"]).removeprefix(DEFINITIONS)
        found = document.get("$defs", {}).get(name)
        if not isinstance(found, dict):
            raise ValueError(f"{schema['$ref']} is not in the document")
        schema = {**found, **{key: value for key, value in schema.items() if key not in _WORDS}}
    return schema


def _kind(schema: Json) -> str:
    kind = schema.get("type", "of any kind" if "anyOf" not in schema and "oneOf" not in schema else "one of several")
    return " or ".join(sorted(map(str, kind))) if isinstance(kind, list) else str(kind)


def _ordered(value: Any) -> Any:
    """Lists of plain values in these places are sets."""
    return sorted(value, key=repr) if isinstance(value, list) else value


def _shown(value: Any) -> str:
    return "not said" if value is None else f"{value!r:.60}"
