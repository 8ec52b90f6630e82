"""What the services can be asked for, and what they tell: the one module that all of them share.

Must not: import a service.
"""

from __future__ import annotations

from dataclasses import dataclass

from amends import Service

orders = Service("orders")
inventory = Service("inventory")
payment = Service("payment")


@dataclass(frozen=True)
class OpenOrder:
    order: str
    cents: int


@dataclass(frozen=True)
class ConfirmOrder:
    order: str
    cents: int


@dataclass(frozen=True)
class ReserveStock:
    order: str
    sku: str
    quantity: int


@dataclass(frozen=True)
class Reservation:
    id: str


@dataclass(frozen=True)
class ShipGoods:
    order: str
    reservation: str


@dataclass(frozen=True)
class Shipment:
    parcel: str


@dataclass(frozen=True)
class ChargeCard:
    order: str
    card: str
    cents: int


@dataclass(frozen=True)
class Payment:
    receipt: str


@dataclass(frozen=True)
class MoneyMoved:
    """cents: taken from a card, or, below zero, given back."""

    order: str
    receipt: str
    cents: int


open_order = orders.command("open-order", OpenOrder)
confirm_order = orders.command("confirm-order", ConfirmOrder, compensation=False)
reserve_stock = inventory.command("reserve-stock", ReserveStock, reply=Reservation)
ship_goods = inventory.command("ship-goods", ShipGoods, reply=Shipment, compensation=False)
charge_card = payment.command("charge-card", ChargeCard, reply=Payment)
money_moved = payment.event("money-moved", MoneyMoved, key=lambda moved: moved.order)
