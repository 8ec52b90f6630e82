"""Streams and consumer groups of Redis: what stands for a queue, for a topic and for a group, and how it is made.

A destination is a stream of its name at the broker. A queue has one group, `listeners`, and what is acked is removed; a
topic has a group for each group, and is trimmed by age, never beyond what a group has not acked yet.

Guarantees: what is there is used as it is; only what is missing is made; no consumer is removed that has something.
Must not: read messages.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from redis.exceptions import ResponseError

from amends.transport.base import Destination, Kind
from amends.transport.names import at_broker, group_at_broker
from amends.transport.redis_options import Options
from amends.transport.redis_wire import Reply, Wire, told

QUEUE_GROUP = "listeners"
IDLE_MS = 3600 * 1000  # a consumer that has nothing and was not heard of for so long is removed
_log = logging.getLogger("amends.redis")

_REMOVE_CONSUMERS = """
local removed = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local told = {}
  for i = 1, #consumer, 2 do told[consumer[i]] = consumer[i + 1] end
  if told['pending'] == 0 and (told['name'] == ARGV[2] or told['idle'] >= tonumber(ARGV[3])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], told['name'])
    removed = removed + 1
  end
end
return removed
"""


class Group(NamedTuple):
    """Of listeners, at the broker."""

    key: str
    name: str


def group_of(prefix: str, source: Destination, group: str) -> Group:
    """The group at the broker. Raises TransportRefused for names that no broker takes."""
    group_at_broker(prefix, source, group)
    return Group(at_broker(prefix, source), QUEUE_GROUP if source.kind is Kind.QUEUE else group)


class Groups:
    """The streams and groups of one transport, over one of its connections."""

    def __init__(self, options: Options, wire: Wire) -> None:
        self._options = options
        self._wire = wire

    async def ensure(self, source: Destination, group: str, position: str | None) -> str:
        """See that a group is there; gives the last entry that was delivered to it. position: where it goes on if it
        is known and gone: all that is there then came after this group began to listen."""
        at = group_of(self._options.prefix, source, group)
        what = f"the group {at.name} of the stream {at.key}"
        for _ in range(2):
            found = (await self._groups(at.key, what)).get(at.name)
            if found is not None:
                return str(found["last-delivered-id"].decode())
            if not self._options.create:
                raise self._options.url.refused(f"{what} is missing, and create=no")
            begin = "0" if source.kind is Kind.QUEUE else position or "$"
            command = ("XGROUP", "CREATE", at.key, at.name, begin, "MKSTREAM")
            reply = (await self._wire.call([command], self._options.publish_seconds))[0]
            if isinstance(reply, ResponseError) and not str(reply).startswith("BUSYGROUP"):
                raise told(self._options, reply, what)
        return position or "0-0"

    async def stream(self, topic: Destination) -> None:
        """See that a topic is there. Raises TransportRefused."""
        key = at_broker(self._options.prefix, topic)
        if await self._wire.one("EXISTS", key, seconds=self._options.publish_seconds):
            return
        if not self._options.create:
            raise self._options.url.refused(f"there is no stream {key}, and create=no")
        make = ("XGROUP", "CREATE", key, "amends-made", "$", "MKSTREAM")
        await self._wire.call([make, ("XGROUP", "DESTROY", key, "amends-made")], self._options.publish_seconds)

    async def lag(self, source: Destination, group: str) -> int | None:
        """About how many messages wait for a group; None where nobody knows."""
        at = group_of(self._options.prefix, source, group)
        if source.kind is Kind.QUEUE:
            return int(await self._wire.one("XLEN", at.key, seconds=self._options.publish_seconds))
        found = (await self._groups(at.key, at.key)).get(at.name)
        if found is None or found.get("lag") is None:
            return None
        return int(found["lag"]) + int(found["pending"])

    async def trim(self, topic: Destination) -> None:
        """Remove what is older than it is kept for, but nothing that a group has not acked."""
        key = at_broker(self._options.prefix, topic)
        seconds = self._options.publish_seconds
        now = await self._wire.one("TIME", seconds=seconds)
        oldest = int(now[0]) * 1000 + int(now[1]) // 1000 - int(self._options.keep_seconds * 1000)
        least, holds = (oldest, 0), ""
        for name, found in (await self._groups(key, key)).items():
            reached = _entry_id(found["last-delivered-id"])
            if found["pending"]:
                summary = await self._wire.one("XPENDING", key, name, seconds=seconds)
                reached = min(reached, _entry_id(summary[1])) if summary[1] else reached
            if reached < least:
                least, holds = reached, name
        if holds:
            _log.warning(
                "%s: the group %s has not read all that is older than keep_days, which is therefore kept; "
                "if nobody listens there any more: XGROUP DESTROY %s %s",
                key,
                holds,
                key,
                holds,
            )
        await self._wire.call([("XTRIM", key, "MINID", "~", f"{least[0]}-{least[1]}")], seconds)

    async def remove_consumers(self, at: Group, own: str = "") -> None:
        """Remove consumers that have nothing: this one, and those that are long gone."""
        await self._wire.call([("EVAL", _REMOVE_CONSUMERS, 1, at.key, at.name, own, IDLE_MS)], 5.0)

    async def _groups(self, key: str, what: str) -> dict[str, dict[str, Reply]]:
        """What the server says of the groups of a stream; nothing where there is no such stream."""
        reply = (await self._wire.call([("XINFO", "GROUPS", key)], self._options.publish_seconds))[0]
        if isinstance(reply, ResponseError):
            if "no such key" in str(reply):
                return {}
            raise told(self._options, reply, what)
        pairs = [dict(zip((name.decode() for name in one[::2]), one[1::2], strict=True)) for one in reply]
        return {one["name"].decode(): one for one in pairs}


def _entry_id(text: bytes) -> tuple[int, int]:
    first, _, second = text.partition(b"-")
    return int(first), int(second or 0)
