"""The order saga, as its user would test it."""

from __future__ import annotations

import asyncio

import pytest
from order import Declined, Order, Shipment, Shop, charge_card, place_order, refund, release_stock, reserve_stock

from amends import Compensated, Completed
from amends.testing import NewSandbox, context

BOOK = Order("book", 2, 5_800)
PIANO = Order("piano", 1, 900_000)


def test_an_order_is_paid_shipped_and_confirmed(amends: NewSandbox) -> None:
    shop = Shop()
    app = amends([place_order], [shop])

    outcome = app.run(place_order, BOOK)

    assert isinstance(outcome, Completed)
    assert outcome.result.tracking == "book-0001"
    assert shop.stock["book"] == 8
    assert list(shop.charged.values()) == [5_800]
    assert list(shop.mailed.values()) == ["receipt for 58.00"]


def test_a_declined_card_gives_the_stock_back(amends: NewSandbox) -> None:
    shop = Shop()
    app = amends([place_order], [shop])

    outcome = app.run(place_order, PIANO)

    assert isinstance(outcome, Compensated)
    assert (outcome.cause, outcome.step) == ("rejected", "charge_card")
    assert shop.stock["piano"] == 1
    assert not shop.charged
    assert not shop.shipped


class SlowShop(Shop):
    """A shop whose answers take their time: the parcel is on its way before anybody hears of it."""

    async def ship(self, sku: str, *, key: str) -> Shipment:
        shipment = await super().ship(sku, key=key)
        await asyncio.sleep(5)
        return shipment


def test_an_order_is_shipped_once_though_its_worker_dies_while_it_ships(amends: NewSandbox) -> None:
    shop = SlowShop()
    app = amends([place_order], {Shop: shop})
    order = app.start(place_order, BOOK)
    app.advance(seconds=1)
    assert (order.status, len(shop.shipped)) == ("running", 1)

    app.kill_worker()

    assert isinstance(order.outcome(), Completed)
    assert len(shop.shipped) == 1
    assert sum("ship: attempt" in line for line in order.history) == 2


async def _call(shop: Shop) -> None:
    reserved = await reserve_stock(BOOK, shop, context(reserve_stock))
    again = await reserve_stock(BOOK, shop, context(reserve_stock, attempt=2))
    assert reserved == again
    assert shop.stock["book"] == 8
    with pytest.raises(Declined):
        await charge_card(PIANO, shop, context(charge_card))
    await refund(shop, context(charge_card, compensating=True))
    await release_stock(shop, context(reserve_stock, compensating=True))


def test_steps_and_compensations_are_plain_functions() -> None:
    shop = Shop()

    asyncio.run(_call(shop))

    assert shop.stock["book"] == 10
