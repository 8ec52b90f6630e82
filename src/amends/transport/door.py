"""What every transport checks of a message before it goes out, so that no broker has to say no.

Guarantees: a message that passes arrives as it was, through every carrier; one that does not is refused by itself, and
nothing that goes out with it is affected.
Must not: know a broker.
"""

from __future__ import annotations

from amends.errors import MessageRefused, TransportRefused
from amends.message import Message, check

MESSAGE_BYTES = 8 * 1024 * 1024
_RESERVED = frozenset(
    {"specversion", "id", "type", "source", "time", "subject", "partitionkey", "datacontenttype", "data"}
)


def unfit(message: Message, bytes_max: int = MESSAGE_BYTES) -> TransportRefused | None:
    """Why a message can never be sent; None if it can."""
    if len(message.data) > bytes_max:
        return TransportRefused(f"its body has {len(message.data)} bytes; {bytes_max} are allowed (message_bytes=)")
    attributes = message.attributes
    if not _RESERVED.isdisjoint(attributes):
        named = sorted(_RESERVED.intersection(attributes))[0]
        return TransportRefused(f"the attribute {named} is the message's own, and no extension")
    own = {"id": message.id, "type": message.type, "source": message.source}
    empty = [name for name, value in own.items() if not value]
    if empty:
        return TransportRefused(f"its {empty[0]} is empty")
    try:
        check({**own, "subject": message.subject, "partitionkey": message.key, **attributes})
    except MessageRefused as error:
        return TransportRefused(str(error))
    return None
