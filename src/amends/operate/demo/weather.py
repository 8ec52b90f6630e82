"""What goes wrong: which order meets which trouble, and the bad line that brings it about.

Guarantees: the same count and seed give the same orders and troubles, in every process.
Must not: be known to the saga or to the services.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from amends import Park
from amends.operate.demo.sagas import Order
from amends.operate.demo.service import Line

ORDERS_MIN, ORDERS_MAX = 12, 2000
PRICES = {"tea": 890, "teapot": 3450, "kettle": 5995, "cup": 1220}
SCARCE, SCARCE_PRICE = "samovar", 24900  # there is one, and whoever wants it wants two
GOOD_CARD, BAD_CARD = "4242424242424242", "4000000000000002"
CUSTOMERS = ("Ada", "Alan", "Barbara", "Edsger", "Frances", "Grace", "Hector", "Kenneth", "Leslie", "Radia")
NEVER = 3600.0
COURIER_FAILURES = 3
CERTIFICATE = "the bank refuses our certificate for refunds"
SIBLINGS = 6  # orders that meet the same fault, where a person is to mend them
SIBLINGS_AMONG = 18


class Trouble(StrEnum):
    """What an order meets."""

    NONE = "nothing"
    DECLINED = "the bank declines the card"
    SOLD_OUT = "there is not enough on the shelf"
    WITHDRAWN = "the customer changes their mind after paying"
    LOST = "the answer of the inventory is lost once"
    SILENT = "the payment service takes the money and never answers"
    LATE = "the charge is held up on the way and comes after its refund"
    COURIER = "the courier is down for a while, after the pivot"
    CREDENTIALS = "the courier refuses our credentials"
    SLOW_REFUND = "the customer changes their mind, and the refund takes its time"
    NO_REFUND = "the customer changes their mind, and the bank refuses our certificate for refunds"


SHARES = {
    Trouble.DECLINED: 0.08,
    Trouble.SOLD_OUT: 0.08,
    Trouble.WITHDRAWN: 0.08,
    Trouble.LOST: 0.1,
    Trouble.SILENT: 0.06,
    Trouble.COURIER: 0.1,
}


class Placed(NamedTuple):
    """An order, and what it is going to meet."""

    order: Order
    trouble: Trouble


def orders_of(count: int, seed: int) -> list[Placed]:
    """The orders of a run. Every trouble comes at least once."""
    chance = random.Random(seed)  # noqa: S311  # a story, not a secret
    troubles = [trouble for trouble, share in SHARES.items() for _ in range(max(round(share * count), 1))]
    troubles += [Trouble.NONE] * (count - len(troubles) - 4)
    chance.shuffle(troubles)
    # Two, so that one reaches the courier also where a slow machine lets the other's payment time out.
    troubles[count // 8 : count // 8] = [Trouble.CREDENTIALS] * 2
    troubles.insert(count // 2, Trouble.SLOW_REFUND)
    troubles.insert(count * 3 // 4, Trouble.LATE)
    return [
        Placed(_order(f"order-{number:03}", trouble, chance), trouble) for number, trouble in enumerate(troubles, 1)
    ]


def orders_to_mend(count: int, seed: int) -> list[Placed]:
    """The orders of a run in which a person does the mending: some of the first meet one and the same fault; what comes
    later only what mends itself."""
    chance = random.Random(seed)  # noqa: S311  # as above
    first = [Trouble.NO_REFUND] * SIBLINGS + [Trouble.DECLINED, Trouble.COURIER, Trouble.LOST]
    first += [Trouble.NONE] * (SIBLINGS_AMONG - len(first))
    chance.shuffle(first)
    often = (Trouble.DECLINED, Trouble.SOLD_OUT, Trouble.LOST, Trouble.COURIER, *[Trouble.NONE] * 8)
    troubles = [*first, *chance.choices(often, k=max(count - len(first), 0))]
    return [
        Placed(_order(f"order-{number:03}", trouble, chance), trouble) for number, trouble in enumerate(troubles, 1)
    ]


def _order(name: str, trouble: Trouble, chance: random.Random) -> Order:
    sku, quantity = chance.choice(sorted(PRICES)), chance.randint(1, 3)
    cents = PRICES[sku] * quantity
    if trouble is Trouble.SOLD_OUT:
        sku, quantity, cents = SCARCE, 2, SCARCE_PRICE * 2
    card = BAD_CARD if trouble is Trouble.DECLINED else GOOD_CARD
    courier = "express" if trouble is Trouble.CREDENTIALS else "post"
    return Order(name, chance.choice(CUSTOMERS), sku, quantity, cents, card, courier)


class BadLine(Line):
    """A line that delays every call, and some of them in worse ways.

    pace: about how long a call takes, in seconds. slow: how long a slow answer takes. refused: whether the bank
    refuses our certificate.
    """

    def __init__(
        self, placed: list[Placed], pace: float, slow: float, refused: Callable[[], bool] = lambda: False
    ) -> None:
        self._refused = refused
        self._troubles = {order.id: trouble for order, trouble in placed}
        self._pace = pace
        self._slow = slow
        self._chance = random.Random()  # noqa: S311  # as above
        self._calls: Counter[tuple[str, str]] = Counter()
        self._held: dict[str, list[Callable[[], str]]] = {}

    async def carry(self, call: str, order: str, work: Callable[[], str]) -> str:
        """As `Line.carry`; what becomes of it depends on the weather."""
        self._calls[call, order] += 1
        trouble, nth = self._troubles.get(order), self._calls[call, order]
        await asyncio.sleep(self._pace * self._chance.uniform(0.4, 1.0))
        if trouble is Trouble.LATE and call == "charge":
            self._held.setdefault(order, []).append(work)
            await asyncio.sleep(NEVER)  # until the step's timeout
        if trouble is Trouble.COURIER and call == "ship" and nth <= COURIER_FAILURES:
            raise ConnectionRefusedError("courier down")
        if trouble is Trouble.NO_REFUND and call == "refund" and await asyncio.to_thread(self._refused):
            raise Park(CERTIFICATE)  # what a client for the bank would raise: no retry mends a certificate
        answer = await asyncio.to_thread(work)
        if trouble is Trouble.LOST and call == "reserve" and nth == 1:
            raise ConnectionResetError("answer lost")
        if trouble is Trouble.SILENT and call == "charge":
            await asyncio.sleep(NEVER)
        if trouble is Trouble.SLOW_REFUND and call == "refund":
            await asyncio.sleep(self._slow)
        for held in self._held.pop(order, ()) if call == "refund" else ():
            await asyncio.to_thread(held)  # what was held up comes now, too late
        await asyncio.sleep(self._pace * self._chance.uniform(0.2, 0.5))
        return answer
