"""The OpenAPI 3.1 document, made from the table of routes and from the classes that read and write.

Guarantees: what is served is described, since both come from one table; two calls give the same document.
Must not: describe pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from amends.operate.web.access import Right
from amends.operate.web.answers import ProblemShape
from amends.operate.web.problems import MEDIA
from amends.operate.web.routing import Guarded, Told

Json = dict[str, Any]
Refs = dict[Any, Json]
ALWAYS = (400, 401, 403, 422, 429, 500, 503)
SENT = (413,)  # where there is a body
PLACED = (404, 409)  # where it is about a place of sagas, a definition or something else may not be there
WORDS = {
    400: "The request is written wrongly",
    401: "Nobody is known by it",
    403: "That is not allowed to you, or it does not come from here",
    404: "There is no such thing",
    409: "The saga does not allow that, or the id belongs to something else",
    412: "The saga has moved on since you looked",
    413: "The body is too large",
    422: "A value cannot be taken",
    428: "If-Match is missing",
    429: "Too much at once",
    500: "That was not expected",
    501: "That is not to be had of this kind of place",
    503: "The database cannot be reached, or too many ask",
    504: "No answer yet; what was asked is kept",
}
IF_MATCH: Json = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": 'The version that you looked at, as its ETag says: `"7"`; or `*` for whatever it is by now.',
    "schema": {"type": "string", "pattern": r'^(\*|"[0-9]{1,18}")$'},
}
VERSION: Json = {**IF_MATCH, "required": False, "description": f"{IF_MATCH['description']} Without it, likewise."}
KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Yours to choose: the same request with the same one counts once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[A-Za-z0-9._:/-]+$"},
}


def document(routes: Sequence[Guarded], root: str, cookie: str) -> Json:
    """The description of some routes. root: where they are mounted. cookie: the session's."""
    told = [(route, route.told) for route in routes if route.told is not None]
    kinds = dict.fromkeys(kind for _, one in told for kind in (one.body, one.answer) if kind is not None)
    shown = [ProblemShape, *kinds]
    schemas, components = msgspec.json.schema_components(shown, ref_template="#/components/schemas/{name}")
    refs: Refs = dict(zip(shown, schemas, strict=True))
    paths: Json = {}
    for route, one in told:
        paths.setdefault(_plain(route.path), {})[_method(route)] = _operation(route, one, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "amends",
            "version": version("amends"),
            "description": "Sagas: looking at them and acting on them. Every act is in the saga's own history.",
        },
        "servers": [{"url": root}],
        "security": [{"token": []}, {"session": [], "csrf": []}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _schemes(cookie), "responses": _problems(refs)},
    }


def _operation(route: Guarded, told: Told, refs: Refs) -> Json:
    placed = () if told.query is None else PLACED
    sent = () if told.body is None else SENT
    errors = sorted({*ALWAYS, *placed, *sent, *told.errors})
    made: Json = {
        "operationId": route.name,
        "summary": told.summary,
        "tags": [told.tag],
        "description": f"Takes {_whom(route.right)}.",
        "parameters": list(_parameters(route, told)),
        "responses": {str(told.status): _answer(told, refs), **_others(told, refs, errors)},
    }
    if told.body is not None:
        required = bool(msgspec.json.schema(told.body)["$defs"][told.body.__name__].get("required"))
        made["requestBody"] = {"required": required, "content": {"application/json": {"schema": refs[told.body]}}}
    return made


def _others(told: Told, refs: Refs, errors: Iterable[int]) -> Json:
    found: Json = {str(status): {"$ref": f"#/components/responses/{status}"} for status in errors}
    if told.repeats and told.tag == "acts":
        found["202"] = {**_answer(told, refs), "description": "No worker has answered yet; it is kept"}
    return found


def _answer(told: Told, refs: Refs) -> Json:
    return {"description": told.summary, "content": {"application/json": {"schema": refs[told.answer]}}}


def _parameters(route: Guarded, told: Told) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)", route.path):
        schema = {"type": "string", "minLength": 1, "maxLength": 200}
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    if told.query is not None:
        defined: Json = msgspec.json.schema(told.query)["$defs"]
        for name, field in defined[told.query.__name__]["properties"].items():
            yield {"name": name, "in": "query", "required": False, "schema": _plain_query(_written_out(field, defined))}
    if told.confirms or told.versioned:
        yield IF_MATCH if told.confirms else VERSION
    if told.repeats:
        yield KEY


def _written_out(value: Any, defined: Json) -> Any:
    """A schema with what it refers to in its place."""
    if isinstance(value, dict):
        ref = str(value.get("$ref", "")).removeprefix("#/$defs/")
        return defined[ref] if ref else {name: _written_out(one, defined) for name, one in value.items()}
    return [_written_out(one, defined) for one in value] if isinstance(value, list) else value


def _plain_query(field: Json) -> Json:
    """A parameter is there or is not; it is never null."""
    if "anyOf" not in field:
        return field
    kept = [one for one in field["anyOf"] if one != {"type": "null"}]
    return kept[0] if len(kept) == 1 else {"anyOf": kept}


def _problems(refs: Refs) -> Json:
    content = {MEDIA: {"schema": refs[ProblemShape]}}
    return {str(status): {"description": words, "content": content} for status, words in WORDS.items()}


def _schemes(cookie: str) -> Json:
    return {
        "token": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": cookie},
        "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRF-Token"},
    }


def _whom(right: Right) -> str:
    return {Right.VIEW: "a viewer", Right.OPERATE: "an operator", Right.ADMIN: "an admin"}.get(right, "nobody")


def _method(route: Guarded) -> str:
    return next(method.lower() for method in sorted(route.methods or ()) if method != "HEAD")


def _plain(path: str) -> str:
    return re.sub(r"{(\w+):\w+}", r"{\1}", path)
