"""Definitions with a name that only type checkers see: a mistake, kept for its message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from amends import step

if TYPE_CHECKING:
    from storefront import Order


@step(readonly=True)
def look(order: Order) -> None: ...


@dataclass
class Basket:
    order: Order
