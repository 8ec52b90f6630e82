"""Ways to spoil what is well formed: bytes, JSON, and headers.

Guarantees: all chance comes from the given dice; what comes out is never longer than `BYTES_MAX`.
Must not: know what is decoded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

BYTES_MAX = 256 * 1024
HOSTILE_TEXTS = (
    *(
        "",
        " ",
        "0",
        "-1",
        "1",
        "00",
        "1e9",
        "true",
        "null",
        "NaN",
        "999999999999999999999",
        "x" * 300,
        "x" * 5000,
        "...",
    ),
    *(
        "\x00",
        "\r\nce-id: 1",
        "\ud800",
        "\udfff\ud800",
        "\N{SNOWMAN}",
        "e\u0301" * 40,
        "\u202e",
        "\u00b2",
        "%00",
        "%ff",
        "%",
    ),
    *('"', '"\\', "'; DROP TABLE inbox; --", "../../etc/passwd", "${jndi:ldap://x}", "{{7*7}}", "$type", "__class__"),
    *("py/object", "!!python/object/apply:os.system", "lc", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
    *("0f" * 16, "0F" * 16, "action", "undo", "reply", "ended", "baton", "word", "mark", "answer", "progress", "event"),
)
HOSTILE_TOKENS = (  # as they stand in a JSON text
    *(
        "1e400",
        "-1e400",
        "1e-400",
        "-0",
        "-0.0",
        "9" * 400,
        "1." + "3" * 400,
        "0x10",
        "NaN",
        "Infinity",
        "01",
        "1.",
        "+1",
    ),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775809", "18446744073709551616", "1.0", "1e2"),
    *(
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '"\\u0000"',
        '"\x01"',
        '"\\x41"',
        '"',
        "{",
        "[",
        "tru",
        "null",
        "true",
        "[]",
        "{}",
    ),
    *(
        '{"$type":"Paid","cents":1}',
        '{"$type":"os.system"}',
        '{"py/object":"os.system"}',
        '{"lc":1,"type":"constructor"}',
    ),
    *(
        '{"__class__":"subprocess.Popen"}',
        '{"__reduce__":["os.system",["true"]]}',
        "gASVHQAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOU",
    ),
)
HOSTILE_BYTES = (
    *(
        b"\x00",
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xef\xbb\xbf",
        b"\x80\x04\x95",
        b"\r\n",
        b",",
    ),
    *(b"[" * 900, b"[" * 4000, b'{"a":' * 2000, b"]", b"}", b'"', b"\\", b"1e400", b"9" * 5000, b"\\ud800", b"\\u0000"),
)


class Verbatim(str):
    """A token that is written into JSON as it stands."""

    __slots__ = ()


class Pairs(list[tuple[Any, Any]]):
    """An object whose keys may come more than once."""


def spoiled(data: bytes, other: bytes, dice: Random) -> bytes:
    """Something made of `data`, and perhaps of `other`: as JSON where it is some, else as bytes."""
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        data = _spoiled_json(data, dice) if dice.random() < 0.7 else spoiled_bytes(data, other, dice)
    return data[:BYTES_MAX]


def spoiled_bytes(data: bytes, other: bytes, dice: Random) -> bytes:
    """A bit turned, a part gone, doubled, put elsewhere, or somebody else's."""
    start, end = sorted((dice.randrange(len(data) + 1), dice.randrange(len(data) + 1)))
    match dice.randrange(7):
        case 0 if data:
            at = dice.randrange(len(data))
            return data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :]
        case 1:
            return data[:start] + data[end:]
        case 2:
            return data[:end] + data[start:]
        case 3:
            return data[:start] + dice.choice(HOSTILE_BYTES) + data[start:]
        case 4:
            return data[:start] + dice.choice(HOSTILE_BYTES) + data[end:]
        case 5:
            at = dice.randrange(len(other) + 1)
            return data[:start] + other[at : at + dice.randrange(200)] + data[end:]
        case _:
            return data[:start]


def spoiled_text(text: str, dice: Random) -> str:
    """A text as a header has it, no longer itself."""
    at = dice.randrange(len(text) + 1)
    match dice.randrange(6):
        case 0:
            return dice.choice(HOSTILE_TEXTS)
        case 1:
            return text[:at] + dice.choice(HOSTILE_TEXTS) + text[at:]
        case 2:
            return text[:at] + text[at + 1 :]
        case 3:
            return text + text
        case 4:
            return text[:at] + chr(dice.choice((0, 10, 31, 127, 0x85, 0x2028, 0xD800, 0xE000, 0x1F600))) + text[at:]
        case _:
            return text.swapcase()


def spoiled_headers(given: dict[str, str], others: dict[str, str], prefix: str, dice: Random) -> dict[str, str]:
    """Headers of which some are gone, changed, swapped, somebody else's, or too many."""
    made = dict(given)
    name = dice.choice([*made, f"{prefix}id"])
    match dice.randrange(9):
        case 0:
            made.pop(name, None)
        case 1:
            made[name], other = made.get(name, ""), dice.choice([*made.values(), ""])
            made[name] = other
        case 2:
            made |= dict(dice.sample(sorted(others.items()), min(len(others), 3)))
        case 3:
            made[name.upper()] = made.get(name, "")
        case 4:
            made |= {f"{prefix}a{number}": "x" for number in range(dice.choice((10, 70, 10_000)))}
        case 5:
            made[prefix + dice.choice(("", "x" * 41, "X", "a-b", "\u00e9", "data", "time", "x" * 1_000_000))] = "1"
        case _:
            made[name] = spoiled_text(made.get(name) or "", dice)
    return made


def _spoiled_json(data: bytes, dice: Random) -> bytes:
    try:
        tree = json.loads(data, object_pairs_hook=Pairs)
    except (ValueError, RecursionError):
        return spoiled_bytes(data, data, dice)
    places = list(_places(tree))
    if not places:
        return dice.choice(HOSTILE_TOKENS).encode("utf-8", "surrogatepass")
    holder, index = dice.choice(places)
    _change(holder, index, tree, dice)
    try:
        return _written(tree).encode("utf-8", "surrogatepass")
    except RecursionError:
        return data


def _places(tree: Any) -> Iterator[tuple[Any, int]]:
    """Where a value stands: what holds it, and at which index."""
    waiting = [tree]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, list):
            for index, item in enumerate(holder):
                yield holder, index
                waiting.append(item[1] if isinstance(holder, Pairs) else item)


def _change(holder: Any, index: int, tree: Any, dice: Random) -> None:
    is_pair = isinstance(holder, Pairs)
    value: Any = holder[index][1] if is_pair else holder[index]
    match dice.randrange(9):
        case 0:
            del holder[index]
            return
        case 1:
            holder.insert(index, holder[index])  # an object then has a key twice
            return
        case 2:
            value = Verbatim(dice.choice(HOSTILE_TOKENS))
        case 3:
            value = dice.choice(HOSTILE_TEXTS)
        case 4:
            value = dice.choice((None, True, False, 0, -1, 2**63, 1.5, [], Pairs(), [value], Pairs([("a", value)])))
        case 5:
            value = Verbatim("[" * dice.choice((5, 99, 101, 1200)) + "]" * dice.choice((5, 99, 101, 1200)))
        case 6:
            value = [value] * dice.choice((2, 50, 3000))
        case 7 if isinstance(value, str):
            value = spoiled_text(value, dice)
        case _:
            swapped, at = dice.choice(list(_places(tree)))
            value = swapped[at][1] if isinstance(swapped, Pairs) else swapped[at]
            if isinstance(value, list):
                value = Verbatim(_written(value))
    if is_pair:
        key = holder[index][0]
        holder[index] = (dice.choice(HOSTILE_TEXTS) if dice.random() < 0.1 else key, value)
    else:
        holder[index] = value


def _written(value: Any) -> str:
    if isinstance(value, Verbatim):
        return str(value)
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{json.dumps(key)}:{_written(item)}" for key, item in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return json.dumps(value)
