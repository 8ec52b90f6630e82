"""Messages as entries of a Redis stream: the CloudEvent's attributes as fields `ce_…`, the body as the field `data`.

Guarantees: what `entry` writes `message_of` reads, byte for byte; anything else has a flaw.
Must not: connect.
"""

from __future__ import annotations

from collections.abc import Sequence

from amends.errors import MessageRefused
from amends.message import Message, from_headers, headers
from amends.transport.redis_wire import Command

PREFIX = "ce_"
DATA = b"data"
Fields = Sequence[bytes]  # name, value, name, value…


def entry(key: str, message: Message, *, create: bool) -> Command:
    """The command that adds a message to a stream."""
    command: list[bytes | str | int] = ["XADD", key] if create else ["XADD", key, "NOMKSTREAM"]
    command.append("*")
    for name, value in headers(message, PREFIX).items():
        command += (name, value)
    command += (DATA, message.data)
    return tuple(command)


def foreign_entry(key: str, fields: Fields, more: dict[str, str], *, create: bool) -> Command:
    """The command that adds what is no message of ours, with attributes beside."""
    command: list[bytes | str | int] = ["XADD", key] if create else ["XADD", key, "NOMKSTREAM"]
    command.append("*")
    for name, value in more.items():
        command += (PREFIX + name, value)
    command += fields
    return tuple(command)


def message_of(fields: Fields) -> tuple[Message | None, str]:
    """The message that an entry is, or None and why it is none."""
    given = dict(zip(fields[::2], fields[1::2], strict=False))
    data = given.pop(DATA, b"")
    try:
        return from_headers({name.decode(): value.decode() for name, value in given.items()}, data, PREFIX), ""
    except UnicodeDecodeError:
        return None, "its fields are no UTF-8"
    except MessageRefused as error:
        return None, str(error)
