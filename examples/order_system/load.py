"""The load script: customers who place orders over HTTP, at a rate, up to a number, and now and then cancel.

Guarantees: an order is placed again, with the same id, until the web process has said that it is on disk; so a killed
one loses nothing and doubles nothing. What was promised to customers is kept, for the checker.
Must not: look at how orders end.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx

AGAIN_SECONDS = 0.2
ANSWER_SECONDS = 60.0
GOODS = (("book", 1, 2_900), ("lamp", 2, 4_500), ("chair", 1, 8_900), ("piano", 1, 390_000))
GOOD_CARD, BAD_CARD = "4000-0001", "4000-0002"


@dataclass
class Customers:
    """What customers do, and were told. placed: whose order is on disk. cancelled: who was told that it is off."""

    url: str
    seed: int = 1
    rate: float = 20.0
    placed: list[str] = field(default_factory=list[str])
    cancelled: list[str] = field(default_factory=list[str])
    number: int = 0
    run: str = field(default_factory=lambda: secrets.token_hex(2))  # so that a database may be used again

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)  # noqa: S311  # which order is which is no secret

    async def come(self, most: int, until: asyncio.Event | None = None) -> None:
        """Place orders at the rate: so many at most, and none after the event."""
        async with httpx.AsyncClient(base_url=self.url, timeout=ANSWER_SECONDS) as client, asyncio.TaskGroup() as group:
            for order, cancels in self._orders(most):
                if until is not None and until.is_set():
                    break
                group.create_task(self._place(client, order, cancels))
                await asyncio.sleep(1 / self.rate)

    def _orders(self, most: int) -> Iterator[tuple[dict[str, Any], bool]]:
        """One order in six is paid by a card that is declined, one in ten is cancelled; pianos are soon sold out."""
        for _ in range(most):
            self.number += 1
            sku, quantity, cents = self._dice.choice(GOODS)
            card = BAD_CARD if self._dice.random() < 1 / 6 else GOOD_CARD
            order = {
                "id": f"order-{self.run}-{self.number}",
                "sku": sku,
                "quantity": quantity,
                "cents": cents,
                "card": card,
            }
            yield order, self._dice.random() < 1 / 10

    async def _place(self, client: httpx.AsyncClient, order: dict[str, Any], cancels: bool) -> None:
        await _insist(client, "/orders", order, HTTPStatus.ACCEPTED)
        self.placed.append(order["id"])
        if cancels:
            path, fine = f"/orders/{order['id']}/cancel", (HTTPStatus.ACCEPTED, HTTPStatus.CONFLICT)
            if await _insist(client, path, None, *fine) == HTTPStatus.ACCEPTED:
                self.cancelled.append(order["id"])


async def _insist(client: httpx.AsyncClient, path: str, body: dict[str, Any] | None, *fine: int) -> int:
    """Ask until there is one of these answers; which."""
    while True:
        try:
            answer = await client.post(path, json=body)
        except httpx.TransportError:
            await asyncio.sleep(AGAIN_SECONDS)
            continue
        if answer.status_code in fine:
            return answer.status_code
        if not answer.is_server_error:
            answer.raise_for_status()
        await asyncio.sleep(AGAIN_SECONDS)
