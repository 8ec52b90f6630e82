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
from typing import NamedTuple

from amends.errors import MessageRefused

SPEC_VERSION = "1.0"
JSON = "application/json"
ATTRIBUTES_MAX = 64
ATTRIBUTE_BYTES_MAX = 4096  # of one; brokers and proxies take 8 KiB of a header at least
_NAME = re.compile(r"[a-z0-9]{1,40}")
_UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_REQUIRED = ("id", "type", "source")
_NO_ATTRIBUTES: Mapping[str, str] = {}


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


def headers(message: Message, prefix: str = "ce-") -> dict[str, str]:
    """The attributes as headers. prefix: of the carrier's binding, such as `ce-` or `ce_`. The
    `datacontenttype` is the carrier's own content type header."""
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
    return made


def from_headers(given: Mapping[str, str], data: bytes, prefix: str = "ce-") -> Message:
    """The message that headers and a body are. Headers of other names are left alone, as is the case of names.

    Raises MessageRefused for what is no CloudEvent in binary mode, or has more or longer attributes than allowed.
    """
    skip = len(prefix)
    found = {name[skip:].lower(): value for name, value in given.items() if name[:skip].lower() == prefix}
    if found.pop("specversion", "") != SPEC_VERSION:
        raise MessageRefused(f"it has no {prefix}specversion {SPEC_VERSION}: it is no CloudEvent in binary mode")
    missing = [name for name in _REQUIRED if not found.get(name)]
    if missing:
        raise MessageRefused(f"it lacks the attribute {missing[0]}")
    check(found)
    id_, type_, source = (found.pop(name) for name in _REQUIRED)
    instant = found.pop("time", "")
    subject, key = found.pop("subject", ""), found.pop("partitionkey", "")
    found.pop("datacontenttype", None)
    return Message(id_, type_, source, data, from_rfc3339(instant) if instant else 0.0, subject, key, found)


def check(attributes: Mapping[str, str]) -> None:
    """Raises MessageRefused for attributes that no carrier should be given."""
    if len(attributes) > ATTRIBUTES_MAX:
        raise MessageRefused(f"it has {len(attributes)} attributes; {ATTRIBUTES_MAX} are allowed")
    for name, value in attributes.items():
        if not _NAME.fullmatch(name):
            raise MessageRefused(f"the attribute {name!r:.60}: a name is lower-case letters and digits")
        if not isinstance(value, str) or _UNFIT.search(value):
            raise MessageRefused(f"the attribute {name} has characters that no header may have")
        if len(value) > ATTRIBUTE_BYTES_MAX:
            raise MessageRefused(f"the attribute {name} has {len(value)} characters; {ATTRIBUTE_BYTES_MAX} are allowed")


def rfc3339(instant: float) -> str:
    """An instant as CloudEvents write it, to the microsecond, in UTC."""
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_rfc3339(text: str) -> float:
    """The instant that a text is. Raises MessageRefused, also for one without a zone."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise MessageRefused(f"its time {text!r:.60} is no RFC 3339 instant with a zone")
    return instant.timestamp()
