"""What Celery does for the shop."""

from .celery import app
from .orders import place


@app.task
def place_later(sku: str, quantity: int, cents: int, voucher: str | None = None) -> int:
    """Place an order; its number."""
    return int(place(sku, quantity, cents, voucher).pk)
