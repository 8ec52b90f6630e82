"""What a process's messages weigh: names and values of their attributes, and their data.

Guarantees: nothing is weighed, and no time spent on it, before it is asked for.
Must not: count what a broker adds.
"""

from __future__ import annotations

from collections.abc import Sequence

from amends.message import headers
from amends.run.sender import Sender
from amends.transport.base import Send

weighed: list[int] = []
"""The bytes of each message since `begin`."""


def begin() -> None:
    """From now on every message of this process is weighed."""
    publish = Sender._publish

    async def weighing(self: Sender, sends: list[Send]) -> list[Exception | None]:
        weighed.extend(map(_bytes, sends))
        return await publish(self, sends)

    Sender._publish = weighing  # type: ignore[method-assign]


def _bytes(send: Send) -> int:
    return len(send.message.data) + sum(len(name) + len(value) for name, value in headers(send.message).items())


def told(sizes: Sequence[int]) -> dict[str, int]:
    """For `counts`."""
    return {"bytes": sum(sizes), "largest": max(sizes, default=0)}
