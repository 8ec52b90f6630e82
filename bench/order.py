"""The order saga that every contender runs: its document, its three steps and their undos.

Guarantees: the same values and the same amount of work for all.
Must not: import a contender.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

FLOWS = ("happy", "compensated")


class Refused(Exception):
    """The shipper says no: what makes the compensated variant go back."""


@dataclass(frozen=True)
class Line:
    """One line of an order."""

    sku: str
    quantity: int
    cents: int


@dataclass(frozen=True)
class Order:
    """About 260 bytes of JSON."""

    customer: str
    email: str
    street: str
    city: str
    lines: tuple[Line, ...]
    express: bool
    cents: int


@dataclass(frozen=True)
class Reservation:
    """What the inventory gives."""

    id: str


@dataclass(frozen=True)
class Payment:
    """What the payment service gives."""

    id: str
    cents: int


@dataclass(frozen=True)
class Shipment:
    """What the shipper gives."""

    tracking: str


ORDER = Order(
    customer="customer-00017",
    email="ada@example.org",
    street="12 Analytical Row",
    city="London",
    lines=(Line("book-1843", 2, 1250), Line("lamp-0042", 1, 4999), Line("desk-0007", 1, 18900)),
    express=False,
    cents=26399,
)
DOCUMENT: dict[str, Any] = asdict(ORDER)
RESERVATION, PAYMENT, SHIPMENT = Reservation("r-000017"), Payment("p-000017", 26399), Shipment("t-000017")
