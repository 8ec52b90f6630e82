"""Reading requests and writing answers of the API: queries and bodies by their classes, versions, keys, cursors.

Guarantees: what is written wrongly is named, with its field; nothing that is not asked for by name is passed over.
Must not: ask a saga anything.
"""

from __future__ import annotations

import base64
import binascii
import re
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar, get_origin, get_type_hints

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from amends.operate.cli.inputs import payload_of as payload_of_text
from amends.operate.web.problems import Malformed, VersionNeeded
from amends.run.asking import check_id

S = TypeVar("S", bound=msgspec.Struct)
JSON = "application/json"
PLACE_BYTES = 16  # of an internal id


def query_of(request: Request, kind: type[S]) -> S:
    """What stands behind the question mark. Raises Malformed."""
    lists = _lists_of(kind)
    given: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name in lists:
            given.setdefault(name, []).append(value)
        elif name in given:
            raise Malformed(f"the parameter {name!r:.80} is given twice")
        else:
            given[name] = value
    try:
        return msgspec.convert(given, kind, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise Malformed(f"the query is written wrongly: {_words(error)}") from None


async def body_of(request: Request, kind: type[S]) -> S:
    """The JSON that was sent; none at all is an empty object. Raises Malformed."""
    body = await request.body()
    if body and request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise Malformed(f"a body of {JSON} is expected; say so in Content-Type")
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Malformed(f"the body is written wrongly: {_words(error)}") from None


def payload_of(given: msgspec.Raw | msgspec.UnsetType, what: str) -> bytes | None:
    """A value within a body, as it is kept; None where there is none. Raises ValueRefused, LimitExceeded."""
    if isinstance(given, msgspec.UnsetType):
        return None
    return payload_of_text(bytes(given).decode("utf-8", "surrogateescape"), what)


def version_of(request: Request, *, needed: bool = True) -> int | None:
    """The version of the saga that an act is for, of If-Match; None for any. Raises VersionNeeded, Malformed."""
    given = request.headers.get("if-match", "" if needed else "*").strip()
    if not given:
        raise VersionNeeded(
            'say which version of the saga you looked at: If-Match: "7", as the ETag of GET …/sagas/ID says; or '
            "If-Match: * for whatever it is by now"
        )
    if given == "*":
        return None
    found = re.fullmatch(r'"(\d{1,18})"', given, re.ASCII)
    if found is None:
        raise Malformed('If-Match: one version such as "7", or * is expected')
    return int(found[1])


def key_of(request: Request) -> str | None:
    """The Idempotency-Key: with the same one the same request counts once. Raises ValueRefused, LimitExceeded."""
    given = request.headers.get("idempotency-key")
    if given is None:
        return None
    text = given.strip()
    return check_id(text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text)


def etag(version: int) -> str:
    """A version as HTTP writes it."""
    return f'"{version}"'


def cursor_of(place: bytes) -> str:
    """Where the next page begins, as text without a meaning to anybody else."""
    return base64.urlsafe_b64encode(place).decode().rstrip("=")


def place_of(cursor: str) -> bytes:
    """The place behind which the next page begins, whether or not that saga is still there. Raises Malformed."""
    with suppress(binascii.Error, ValueError):
        place = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        if len(place) == PLACE_BYTES:
            return place
    raise Malformed(f"cursor={cursor!r:.80}: take what `next` of the page before says")


def answer(data: object, status: int = 200, **headers: str) -> Response:
    """JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(msgspec.json.encode(data), status, named, JSON)


@cache
def _lists_of(kind: type[Any]) -> frozenset[str]:
    hints = get_type_hints(kind)
    return frozenset(name for name in kind.__struct_fields__ if get_origin(hints[name]) is list)


def _words(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
