"""The one envelope: what travels between services, whatever carries it.

A message is a CloudEvent (CloudEvents 1.0, https://cloudevents.io) in binary mode: its attributes are
the carrier's headers, its data the carrier's body. What sagas need beyond the standard's attributes are
extension attributes; their names begin with `amends`, and `docs/protocol.md` lists them.

Guarantees: `from_headers(headers(m), m.data)` is `m`, through every carrier; nothing in a header can break out of it.
Must not: know a carrier, or what a saga is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from amends.errors import MessageRefused

SPEC_VERSION = "1.0"
JSON = "application/json"
ATTRIBUTES_MAX = 64
ATTRIBUTE_BYTES_MAX = 4096  # of one, in UTF-8; brokers and proxies take 8 KiB of a header at least
PERCENT_ENCODED = "ce-"  # the prefix of the bindings whose headers are printable ASCII: HTTP and NATS
_NAME = re.compile(r"[a-z0-9]{1,40}")
HEADER_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_REQUIRED = ("id", "type", "source")
_BARE = re.compile(r"[!#$&-~]*")  # what those bindings take as it is: printable, and no blank, quote or percent sign
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
_ESCAPE = re.compile(r"\\(.)")
_NO_ATTRIBUTES: Mapping[str, str] = {}
_ENCODED_MAX = 3 * ATTRIBUTE_BYTES_MAX + 2  # percent-encoded, in quotes
_LONG = 64  # no header of ours has a longer name; what others send is not remembered
_FIRST_INSTANT, _LAST_INSTANT = -62_135_596_800.0, 253_402_300_799.0  # that can be written in UTC: the years 1 to 9999


class Message(NamedTuple):
    """One message.

    id: of this send. A message that is decided to be sent again has a new one; the same outbox row
        published twice has the same. type: the contract's name, `inventory.reserve-stock`.
    source: who sent it. time: when, in seconds since 1970. subject: what it is about.
    key: messages with the same key keep their order where the carrier has one.
    attributes: the extensions.
    """

    id: str
    type: str
    source: str
    data: bytes = b""
    time: float = 0.0
    subject: str = ""
    key: str = ""
    attributes: Mapping[str, str] = _NO_ATTRIBUTES


def headers(message: Message, prefix: str = PERCENT_ENCODED) -> dict[str, str]:
    """The attributes as headers. prefix: of the carrier's binding: `ce-` (HTTP, NATS), whose values are
    percent-encoded, or another, such as `ce_` (Kafka). The `datacontenttype` is the carrier's own content type header.
    """
    made = {
        f"{prefix}specversion": SPEC_VERSION,
        f"{prefix}id": message.id,
        f"{prefix}type": message.type,
        f"{prefix}source": message.source,
        f"{prefix}time": rfc3339(message.time),
    }
    if message.subject:
        made[f"{prefix}subject"] = message.subject
    if message.key:
        made[f"{prefix}partitionkey"] = message.key
    for name, value in message.attributes.items():
        made[prefix + name] = value
    if prefix == PERCENT_ENCODED and not _BARE.fullmatch("".join(made.values())):
        return {name: quote(value, safe=_SAFE) for name, value in made.items()}
    return made


def from_headers(given: Mapping[str, str], data: bytes, prefix: str = PERCENT_ENCODED) -> Message:
    """The message that headers and a body are. Headers of other names are left alone, as is the case of names.

    Raises MessageRefused for what is no CloudEvent in binary mode, or has more or longer attributes than allowed.
    """
    found: dict[str, str] = {}
    for name, value in given.items():
        own = _attribute(name, prefix) if len(name) <= _LONG else _attribute.__wrapped__(name, prefix)
        if own is not None:
            found[own] = value
    if found.pop("specversion", "") != SPEC_VERSION:
        raise MessageRefused(f"it has no {prefix}specversion {SPEC_VERSION}: it is no CloudEvent in binary mode")
    if len(found) > ATTRIBUTES_MAX:
        raise MessageRefused(f"it has {len(found)} attributes; {ATTRIBUTES_MAX} are allowed")
    if prefix == PERCENT_ENCODED:
        for name, value in found.items():
            if isinstance(value, str) and ("%" in value or value[:1] == '"'):
                found[name] = _decoded(name, value)
    for name in _REQUIRED:
        if not found.get(name):
            raise MessageRefused(f"it lacks the attribute {name}")
    check(found)
    id_, type_, source = found.pop("id"), found.pop("type"), found.pop("source")
    instant = found.pop("time", "")
    subject, key = found.pop("subject", ""), found.pop("partitionkey", "")
    found.pop("datacontenttype", None)
    return Message(id_, type_, source, data, from_rfc3339(instant) if instant else 0.0, subject, key, found)


@lru_cache(maxsize=512)  # the same few names come again and again
def _attribute(name: str, prefix: str) -> str | None:
    """Which attribute a header is, if any."""
    low, wanted = name.lower(), prefix.lower()
    return low[len(wanted) :] if low.startswith(wanted) else None


def check(attributes: Mapping[str, str]) -> None:
    """Raises MessageRefused for attributes that no carrier should be given."""
    if len(attributes) > ATTRIBUTES_MAX:
        raise MessageRefused(f"it has {len(attributes)} attributes; {ATTRIBUTES_MAX} are allowed")
    try:  # all at once, as nearly all messages are in order
        together = "".join(attributes.values())
        fits = len(together) * 4 <= ATTRIBUTE_BYTES_MAX and together.isprintable()
        if fits and all(map(_NAME.fullmatch, attributes)):
            return
    except TypeError:
        pass  # something is no text; below it is named
    for name, value in attributes.items():
        _check_one(name, value)


def _check_one(name: str, value: str) -> None:
    if not _NAME.fullmatch(name):
        raise MessageRefused(f"the attribute {name!r:.60}: a name is lower-case letters and digits, at most 40")
    if not isinstance(value, str) or HEADER_UNFIT.search(value):
        raise MessageRefused(f"the attribute {name} has characters that no header may have")
    size = len(value.encode())
    if size > ATTRIBUTE_BYTES_MAX:
        raise MessageRefused(f"the attribute {name} has {size} bytes; {ATTRIBUTE_BYTES_MAX} are allowed")


def _decoded(name: str, value: str) -> str:
    """A value as it was before it was percent-encoded, or put in quotes, which older senders do."""
    if len(value) > _ENCODED_MAX:
        raise MessageRefused(f"the attribute {name:.60} has {len(value)} characters; {_ENCODED_MAX} are allowed")
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = _ESCAPE.sub(r"\1", value[1:-1])
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeError:
        raise MessageRefused(f"the attribute {name:.60} is not percent-encoded UTF-8") from None


def rfc3339(instant: float) -> str:
    """An instant as CloudEvents write it, to the microsecond, in UTC."""
    return datetime.fromtimestamp(instant, UTC).isoformat("T", "microseconds")[:-6] + "Z"


def from_rfc3339(text: str) -> float:
    """The instant that a text is. Raises MessageRefused, also for one without a zone."""
    try:
        instant = datetime.fromisoformat(text.upper())
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise MessageRefused(f"its time {text!r:.60} is no RFC 3339 instant with a zone")
    seconds = instant.timestamp()
    if not _FIRST_INSTANT <= seconds <= _LAST_INSTANT:
        raise MessageRefused(f"its time {text!r:.60} is not in the years 1 to 9999 of UTC")
    return seconds
