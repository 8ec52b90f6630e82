"""What came to a listener on Kafka and is in nobody's hands: what is next, what has to wait for its time, and what is
kept back, as its partition is about to be somebody else's.

Guarantees: of one partition what came first is handed out first, but for what was put off.
Must not: know whose a partition is, or read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable

from amends.transport.kafka_delivery import KafkaDelivery


class Waiting:
    """Of one listener."""

    def __init__(self, mine: Callable[[KafkaDelivery], bool], due: Callable[[], None]) -> None:
        """mine: whether the partition still is the listener's. due: called when the time of something that was put
        off has come."""
        self._mine, self._is_due = mine, due
        self._next: deque[KafkaDelivery] = deque()
        self._aside: list[KafkaDelivery] = []
        self._later: dict[KafkaDelivery, asyncio.TimerHandle] = {}

    def __bool__(self) -> bool:
        """Whether there is something to hand out."""
        return bool(self._next)

    def add(self, deliveries: Iterable[KafkaDelivery]) -> None:
        """These came."""
        self._next.extend(deliveries)

    def put_off(self, delivery: KafkaDelivery, seconds: float) -> None:
        """It is next after so long."""
        self._later[delivery] = asyncio.get_running_loop().call_later(seconds, self._due, delivery)

    def take(self, room: int, kept_back: Collection[int]) -> list[KafkaDelivery]:
        """Up to so many that are next, none of them of the partitions that are kept back."""
        if self._aside and not kept_back:
            self._next.extendleft(reversed(self._aside))
            self._aside.clear()
        taken: list[KafkaDelivery] = []
        while self._next and len(taken) < room:
            delivery = self._next.popleft()
            if self._mine(delivery):
                (self._aside if delivery.partition in kept_back else taken).append(delivery)
        return taken

    def put_off_in(self, partition: int) -> list[KafkaDelivery]:
        """What waits for its time in a partition."""
        return [delivery for delivery in self._later if delivery.partition == partition]

    def withdraw(self, delivery: KafkaDelivery) -> bool:
        """Do not wait for its time any more. Whether that had not come yet."""
        timer = self._later.pop(delivery, None)
        if timer is not None:
            timer.cancel()
        return timer is not None

    def sift(self) -> None:
        """What is the listener's no more need not come again here."""
        for delivery in [one for one in self._later if not self._mine(one)]:
            self.withdraw(delivery)

    def clear(self) -> None:
        """Nothing need come again here."""
        self._next.clear()
        self._aside.clear()
        for delivery in list(self._later):
            self.withdraw(delivery)

    def _due(self, delivery: KafkaDelivery) -> None:
        del self._later[delivery]
        self._next.appendleft(delivery)
        self._is_due()
