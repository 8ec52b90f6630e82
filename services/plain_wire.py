"""A protocol that the proxy does not read: what flows by is bytes, and an answer is whatever the server says next.

Guarantees: bytes are never changed, nor held back.
Must not: be trusted with more than it can know. On a line that is otherwise quiet (one request, one answer: publish
and confirm) a swallowed answer is the answer to what was looked for; where both sides talk at the same time it may be
another. What a network cuts in two is not found, which on loopback happens to large messages only.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.postgres_wire import Passing


@dataclass
class PlainLine:
    """One connection, both directions."""

    answers_seen: int = 0

    def from_client(self, data: bytes) -> list[Passing]:
        """All of it; it counts as done with when the server says something."""
        return [Passing(data, data, self.answers_seen + 1)]

    def from_server(self, data: bytes) -> list[bytes]:
        """All of it."""
        self.answers_seen += 1
        return [data]
