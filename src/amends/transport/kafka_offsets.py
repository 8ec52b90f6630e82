"""How far a partition may be committed: the offsets that were delivered, and which of them are done with.

Kafka keeps one number for each group and partition: everything below it is done with. Work ends in any order,
so what may be committed is the lowest offset that is still open.

Guarantees: `committable` never passes an offset that was delivered and is not done; it never goes back; all
operations take amortised constant time.
Must not: know a broker, a clock, or what a message is.
"""

from __future__ import annotations

from collections import deque


class Offsets:
    """Of one partition, from one assignment on, or several that follow each other without a gap."""

    def __init__(self) -> None:
        self._order: deque[int] = deque()  # what was delivered, from the lowest that is open on
        self._open: set[int] = set()
        self.next: int | None = None  # the offset after the newest that was delivered
        self.committed: int | None = None  # what the broker has confirmed
        self.held: int = 0  # how many are in somebody's hands; the rest waits, here or for its time

    @property
    def committable(self) -> int | None:
        """What may be committed: all below it is done with. None before the first delivery."""
        return self._order[0] if self._order else self.next

    @property
    def distance(self) -> int:
        """How many offsets lie between what may be committed and the newest delivery."""
        return 0 if self.next is None or not self._order else self.next - self._order[0]

    def fits(self, offset: int) -> bool:
        """Whether this offset can be the next: one that is lower belongs to another log of the same name."""
        return self.next is None or offset >= self.next

    def delivered(self, offset: int) -> None:
        """It is in somebody's hands. Offsets come in order; there may be gaps."""
        if not self.fits(offset):
            raise ValueError(f"offset {offset} after {self.next}")
        self._order.append(offset)
        self._open.add(offset)
        self.next = offset + 1

    def done(self, offset: int) -> bool:
        """It is done with. Whether that is news."""
        if offset not in self._open:
            return False
        self._open.remove(offset)
        while self._order and self._order[0] not in self._open:
            self._order.popleft()
        return True
