"""JSON Schemas (draft 2020-12) of what values look like when they are sent or stored.

Guarantees: what a codec writes fits its schema; every reference leads to a definition of the same document, and two
classes of one name have two definitions.
Must not: look at values.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DEFINITIONS = "#/$defs/"
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")

Json = dict[str, Any]


class Definitions:
    """The definitions of one document. at: what stands before a name in a reference."""

    def __init__(self, at: str = DEFINITIONS) -> None:
        self.found: dict[str, Json] = {}
        self._at = at
        self._names: dict[object, str] = {}

    def of(self, key: object, name: str, build: Callable[[], Json]) -> Json:
        """A reference to the definition of `key`, which may refer to itself. build: makes it, the first time."""
        if key not in self._names:
            free = self._names[key] = self._free(name)
            self.found[free] = {}
            self.found[free] = build()
        return {"$ref": self._at + self._names[key]}

    def take(self, schema: Json, parts: Json) -> Json:
        """A schema from elsewhere, whose references to its parts lead to definitions of this document then."""
        inner = self._without_inner(schema)
        known = {name: self._without_inner(part) for name, part in parts.items()}
        names = {name: self._name_of(name, part, known) for name, part in known.items()}
        for name, part in known.items():
            self.found.setdefault(names[name], self._renamed(part, names))
        moved: Json = self._renamed(inner, names)
        return moved

    def target(self, schema: Json) -> Json:
        """What a schema says, behind its references."""
        while schema.keys() == {"$ref"} and str(schema["$ref"]).startswith(self._at):
            schema = self.found[schema["$ref"].removeprefix(self._at)]
        return schema

    def _without_inner(self, schema: Any) -> Any:
        """A schema whose own definitions, at whatever depth, are in this document."""
        if isinstance(schema, list):
            return [self._without_inner(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        if isinstance(schema.get("$defs"), dict):
            return self.take({key: value for key, value in schema.items() if key != "$defs"}, schema["$defs"])
        return {key: self._without_inner(value) for key, value in schema.items()}

    def _name_of(self, name: str, part: Json, parts: Json) -> str:
        """The name that a part has or gets here: one that is here already, with all that it refers to, is that one."""
        names = {other: _UNFIT.sub("_", other) for other in parts}
        wanted = names[name]
        if wanted not in self.found or self.found[wanted] == self._renamed(part, names):
            return wanted
        return self._free(wanted)

    def _free(self, name: str) -> str:
        wanted = _UNFIT.sub("_", name)
        names = (wanted, *(f"{wanted}-{count}" for count in range(2, len(self.found) + 3)))
        return next(candidate for candidate in names if candidate not in self.found)

    def _renamed(self, schema: Any, names: dict[str, str]) -> Any:
        if isinstance(schema, list):
            return [self._renamed(item, names) for item in schema]
        if not isinstance(schema, dict):
            return schema
        return {
            key: self._moved(value, names) if key == "$ref" and isinstance(value, str) else self._renamed(value, names)
            for key, value in schema.items()
        }

    def _moved(self, reference: str, names: dict[str, str]) -> str:
        name = reference.removeprefix(DEFINITIONS)
        return self._at + names[name] if name != reference and name in names else reference


def tagged(tag: str, name: str, schema: Json, definitions: Definitions) -> Json:
    """The schema of a value that has the name of its class beside it: in it if it is an object, else around it."""
    mark = {tag: {"const": name}}
    found = definitions.target(schema)
    if "properties" in found or found.get("type") == "object":
        properties = {**mark, **found.get("properties", {})}
        return {**found, "properties": properties, "required": [tag, *found.get("required", ())]}
    return {"type": "object", "properties": {**mark, "$": schema}, "required": [tag, "$"]}
