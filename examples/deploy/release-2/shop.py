"""A shop whose services can be down: the files `bank-down` and `shelf-locked` in SHOP_SERVICES say so."""

import os
from asyncio import sleep
from dataclasses import dataclass
from pathlib import Path

from amends import Orchestrator, Park, Reject, Retry, Saga, pivot, step, wait_for

SERVICES = Path(os.environ.get("SHOP_SERVICES", "."))
A_FEW = Retry(attempts=3, first_delay=0.1)  # in earnest leave it away: undos are then tried for an hour and a half


@dataclass(frozen=True)
class Order:
    sku: str
    cents: int


@dataclass(frozen=True)
class Stock:
    shelf: int


@dataclass(frozen=True)
class Payment:
    receipt: str


@dataclass(frozen=True)
class Parcel:
    grams: int


@step
async def reserve_stock(order: Order) -> Stock:
    await sleep(0.1)
    return Stock(7)


@reserve_stock.compensation(retry=A_FEW)
async def release_stock(stock: Stock | None) -> None:
    if (SERVICES / "shelf-locked").exists():
        raise OSError("the shelf is locked")


@step
async def charge_card(order: Order) -> Payment:
    if order.cents > 100_000:
        raise Reject("the limit of this card is 1,000.00")
    if (SERVICES / "bank-down").exists():
        raise Park("the bank refuses our credentials")
    await sleep(0.1)
    return Payment("R-1")


@charge_card.compensation
async def refund(payment: Payment | None) -> None: ...


@step
async def ship(order: Order, stock: Stock) -> None:
    await sleep(0.1)


@step
async def send_receipt(payment: Payment) -> None: ...


@step
async def print_label(order: Order) -> None: ...


@print_label.compensation
async def void_label() -> None: ...


@step
async def pay_back(order: Order, parcel: Parcel) -> None: ...


parcel = wait_for("parcel", Parcel)
place_order = Saga("place-order", reserve_stock, charge_card, pivot, ship, send_receipt, input=Order)
return_order = Saga("return-order", print_label, parcel, pivot, pay_back, input=Order)
orchestrator = Orchestrator(sagas=[place_order, return_order])  # AMENDS_DATABASE says where
