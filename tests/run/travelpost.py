"""All that choreographed sagas have sent over the local transport, for tests that lose it, or send it again.

What it is: a record in front of the transport. Must not: change what is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from amends.decide.wire import KIND
from amends.message import Message
from amends.transport.base import Send
from amends.transport.local import LocalTransport


class Post:
    """All that is sent, kept; and, where it is said so, lost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[Send] = []
        self.loses: Callable[[Send], bool] = lambda send: False
        original = LocalTransport.publish

        async def publish(transport: LocalTransport, sends: Sequence[Send]) -> list[Exception | None]:
            self.sent += sends
            there = [send for send in sends if not self.loses(send)]
            told = iter(await original(transport, there) if there else [])
            return [next(told) if send in there else None for send in sends]

        monkeypatch.setattr(LocalTransport, "publish", publish)

    def batons(self, step: str, phase: str = "action") -> list[Send]:
        """Those that were sent for a half of a step."""
        return [send for send in self.sent if is_baton(send.message, step, phase)]


def kind(send: Send) -> str:
    """Of a message."""
    return send.message.attributes.get(KIND, "")


def is_baton(message: Message, step: str, phase: str = "action") -> bool:
    """Whether a message is that of a half of a step."""
    given = message.attributes
    return (given.get(KIND), given.get("amendsstep"), given.get("amendsphase")) == ("baton", step, phase)
