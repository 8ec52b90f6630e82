"""What a listener holds of its group: claims that are kept alive, given back, acked, or taken from those who are gone.

A claim is an entry in the group's list of what is pending. It is its consumer's as long as that speaks of it within
`claim_seconds`; after that any other may take it.

Guarantees: no claim is taken from one who keeps it alive; nothing is acked that was not asked to be.
Must not: hand out messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from redis.exceptions import ResponseError

from amends.transport.redis_entries import Fields
from amends.transport.redis_groups import Group
from amends.transport.redis_wire import Command, Reply, Wire

PAGE = 1000  # entries of one command
SCAN = 100  # of those that are pending, looked at in one go for the idle among them


class Came(NamedTuple):
    """An entry that is this consumer's now. times: how often it was delivered."""

    id: bytes
    fields: Fields
    times: int


class Claims:
    """Of one consumer. removes: what is acked is removed from the stream."""

    def __init__(self, at: Group, consumer: str, claim_ms: int, *, removes: bool) -> None:
        self.at = at
        self.consumer = consumer
        self.claim_ms = claim_ms
        self._removes = removes
        self._cursor = b"0-0"

    async def own(self, wire: Wire, seconds: float) -> dict[bytes, int]:
        """The claims of this consumer at the server, with how often each was delivered."""
        found: dict[bytes, int] = {}
        begin = b"-"
        while True:
            told = await wire.one(
                "XPENDING", self.at.key, self.at.name, begin, "+", PAGE, self.consumer, seconds=seconds
            )
            found.update({one[0]: int(one[3]) for one in told})
            if len(told) < PAGE:
                return found
            begin = b"(" + told[-1][0]

    async def keep(self, wire: Wire, ids: Iterable[bytes], seconds: float) -> set[bytes]:
        """Say that these are still worked on, those of them that nobody else has by now; gives those."""
        mine = await self.own(wire, seconds)
        kept = [id for id in ids if id in mine]
        await wire.call(
            [("XCLAIM", self.at.key, self.at.name, self.consumer, 0, *page, "JUSTID") for page in _pages(kept)], seconds
        )
        return set(kept)

    async def give_back(self, wire: Wire, ids: Iterable[bytes], seconds: float) -> None:
        """Let others take these at once."""
        mine = await self.own(wire, seconds)
        given = [id for id in ids if id in mine]
        idle = ("IDLE", self.claim_ms, "JUSTID")
        await wire.call(
            [("XCLAIM", self.at.key, self.at.name, self.consumer, 0, *page, *idle) for page in _pages(given)], seconds
        )

    async def ack(self, wire: Wire, ids: Sequence[bytes], seconds: float) -> None:
        """These are done with. Removed first: what is pending and gone is no trouble, the other way round it would
        stay for good."""
        commands: list[Command] = []
        for page in _pages(ids):
            if self._removes:
                commands.append(("XDEL", self.at.key, *page))
            commands.append(("XACK", self.at.key, self.at.name, *page))
        for reply in await wire.call(commands, seconds):
            if isinstance(reply, ResponseError):
                raise reply

    async def take(self, wire: Wire, ids: Sequence[bytes], seconds: float) -> list[Came]:
        """Entries that this consumer claims already, once more; those that others have by now are left to them."""
        mine = await self.own(wire, seconds)
        taken = [id for id in ids if id in mine]
        if not taken:
            return []
        told = await wire.one("XCLAIM", self.at.key, self.at.name, self.consumer, 0, *taken, seconds=seconds)
        return [Came(one[0], one[1], mine[one[0]] + 1) for one in told if one and one[1]]

    async def take_idle(self, wire: Wire, most: int, seconds: float) -> tuple[list[Came], bool]:
        """Take over what its consumer has not spoken of for too long; and whether there may be more."""
        at, idle = self.at, self.claim_ms
        told = await wire.one(
            "XAUTOCLAIM", at.key, at.name, self.consumer, idle, self._cursor, "COUNT", min(most, SCAN), seconds=seconds
        )
        self._cursor = told[0]
        entries = [one for one in told[1] if one and one[1]]
        if not entries:
            return [], self._cursor != b"0-0"
        asked: list[Command] = [("XPENDING", at.key, at.name, one[0], one[0], 1) for one in entries]
        counts = [_count(reply) for reply in await wire.call(asked, seconds)]
        came = [Came(one[0], one[1], count) for one, count in zip(entries, counts, strict=True)]
        return came, self._cursor != b"0-0"


def _count(reply: Reply) -> int:
    """How often it was delivered; 2 where the server does not tell."""
    return int(reply[0][3]) if isinstance(reply, list) and reply else 2


def _pages(ids: Iterable[bytes]) -> Iterator[list[bytes]]:
    left = iter(ids)
    while page := list(islice(left, PAGE)):
        yield page
