"""Values that a person types: JSON text, checked against what is expected.

Guarantees: what is wrong is named by its field, and an example of what is right stands beside it.
Must not: let through what a store cannot keep.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

import msgspec

from amends.define.admission import find_flaw
from amends.define.values import PAYLOAD_BYTES_MAX, Codec, describe
from amends.errors import LimitExceeded, ValueRefused
from amends.operate.cli.quote import quoted

SHOWN_MAX = 60


def text_of(given: str) -> str:
    """The text itself, or what stands on stdin for `-`."""
    if given != "-":
        return given
    return sys.stdin.buffer.read().decode("utf-8", "surrogateescape")


def payload_of(given: str, what: str) -> bytes:
    """JSON text as a payload. Raises ValueRefused."""
    text = text_of(given)
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueRefused(f"{what} is not JSON: {_json_trouble(error)}; given: {_shown(text)}") from None
    flaw = find_flaw(data, PAYLOAD_BYTES_MAX)
    if flaw is not None:
        raise ValueRefused(f"{what}{flaw.path}: {flaw.reason}")
    if len(text) > PAYLOAD_BYTES_MAX:
        raise LimitExceeded(f"{what}: {len(text):,} characters, the limit is {PAYLOAD_BYTES_MAX:,}")
    return msgspec.json.format(text.encode(), indent=-1)  # the very digits that were typed


def value_of(given: str, codec: Codec[Any], what: str, *, option: str = "") -> Any:
    """The value that JSON text means for a type. Raises ValueRefused with an example."""
    example = f"for example: {quoted([f'{option}{codec.example()}'])}"
    try:
        payload = payload_of(given, what)
    except ValueRefused as error:
        raise ValueRefused(f"{error}\n{example}") from None
    try:
        value = codec.decode(payload)
    except ValueRefused as error:
        words = describe(error).replace(f"a stored {codec.name} cannot be read: ", "", 1)
        raise ValueRefused(f"{what} does not fit {codec.name}: {words}\n{example}") from None
    lost = _lost(json.loads(payload), json.loads(codec.admit(value, what)[0]))
    if lost and _is_unknown(lost, json.loads(payload), codec):
        name = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in lost)
        raise ValueRefused(f"{what} does not fit {codec.name}: it has no field `${name}`\n{example}")
    return value


def _lost(given: Any, kept: Any) -> tuple[Any, ...]:
    """The path of the first field that was typed and of which nothing was kept."""
    keys: Iterable[Any] = ()
    if isinstance(given, dict) and isinstance(kept, dict):
        unkept = next((key for key in given if key not in kept), None)
        if unkept is not None:
            return (unkept,)
        keys = given
    elif isinstance(given, list) and isinstance(kept, list):
        keys = range(min(len(given), len(kept)))
    return next(((key, *below) for key in keys if (below := _lost(given[key], kept[key]))), ())


def _is_unknown(path: tuple[Any, ...], data: Any, codec: Codec[Any]) -> bool:
    """Whether a field is misspelt, and not merely left out because it holds its default: of what
    is unknown any value is passed over."""
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = [[["of no type"]]]
    try:
        codec.decode(json.dumps(data).encode())
    except ValueRefused:
        return False
    return True


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _json_trouble(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, line {error.lineno}, column {error.colno}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "…")
