"""A small shop for the tests of the definition language: values, steps, and how a mistake is caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from amends import Saga, step
from amends.errors import DefinitionError


@dataclass(frozen=True)
class Order:
    sku: str
    quantity: int = 1


@dataclass(frozen=True)
class Reservation:
    ref: str


@dataclass(frozen=True)
class Payment:
    ref: str


class Shop:
    """A client: nothing that could be stored."""


@step
async def reserve(order: Order) -> Reservation:
    return Reservation(order.sku)


@reserve.compensation
async def release(reservation: Reservation | None) -> None: ...


@step
def charge(order: Order) -> Payment:
    return Payment(order.sku)


@charge.compensation
def refund(payment: Payment | None) -> None: ...


@step
def ship(order: Order) -> None: ...


@step(readonly=True)
def is_big(order: Order) -> bool:
    return order.quantity > 10


@step(readonly=True)
def count(order: Order) -> int:
    return order.quantity


@step(readonly=True)
def parts(order: Order) -> list[Order]:
    return [order]


@step(readonly=True)
def check_part(part: Order) -> int:
    return part.quantity


def place_order(*nodes: Any, **options: Any) -> Saga[Any, Any]:
    """A saga whose mistakes no type checker is asked about."""
    given: dict[str, Any] = {"input": Order, **options}
    return Saga("place-order", *nodes, **given)


def mistake(build: Callable[[], object]) -> str:
    """The message of the definition error that building something raises."""
    with pytest.raises(DefinitionError) as caught:
        build()
    return str(caught.value)


def untyped(value: object) -> Any:
    """A value as code that is not type-checked would pass it."""
    return value
