"""Where everything is, as the environment says: the only thing that differs between one process and many.

Must not: connect.
"""

from __future__ import annotations

import os

from amends import Settings

ORDERS_DATABASE = os.environ.get("ORDERS_DATABASE", "postgresql:///orders")
INVENTORY_DATABASE = os.environ.get("INVENTORY_DATABASE", "postgresql:///inventory")
PAYMENT_DATABASE = os.environ.get("PAYMENT_DATABASE", "postgresql:///payment")
BROKER_URL = os.environ.get("BROKER_URL") or None  # without one, whoever talks must be in one process

CHOREOGRAPHED = os.environ.get("STYLE") == "choreographed"  # nobody in the middle

# How long the sagas of a worker that was killed wait for another one.
SETTINGS = Settings(lease_seconds=float(os.environ.get("LEASE_SECONDS", "15")))
