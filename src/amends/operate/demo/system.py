"""The system of the demo on disk: four databases in one directory, and the orchestrator over them.

Guarantees: every process of a run sees the same system.
Must not: run anything.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from amends import Orchestrator
from amends.operate.demo.sagas import place_order
from amends.operate.demo.service import Line
from amends.operate.demo.services import EXPIRED, VALID, Inventory, Orders, Payments
from amends.operate.demo.weather import PRICES, SCARCE, Placed, Trouble, orders_of, orders_to_mend

SAGAS_FILE = "sagas.db"
REFUSED_FILE = "certificate-expired"  # there while the bank refuses refunds


@dataclass(frozen=True)
class Run:
    """What the processes of one run have in common. pace, slow: as in `BadLine`. by_hand: a person is to mend what is
    parked, and orders keep coming."""

    directory: Path
    count: int
    seed: int
    pace: float
    slow: float
    by_hand: bool = False

    @property
    def placed(self) -> list[Placed]:
        """The orders, and what each meets."""
        make = orders_to_mend if self.by_hand else orders_of
        return make(self.count, self.seed)

    @property
    def certificate(self) -> Path:
        """A file that is there while the bank refuses refunds."""
        return self.directory / REFUSED_FILE

    @property
    def url(self) -> str:
        """The database of the sagas."""
        return f"sqlite:///{self.directory / SAGAS_FILE}"


def orchestrator_of(run: Run, line: Line | None = None) -> Orchestrator:
    """The orchestrator: to work, with the line that its calls take; or for a client."""

    def orders() -> Iterator[Orders]:
        with closing(Orders(run.directory / "orders.db", line)) as service:
            yield service

    def inventory() -> Iterator[Inventory]:
        with closing(Inventory(run.directory / "inventory.db", line)) as service:
            yield service

    def payments() -> Iterator[Payments]:
        with closing(Payments(run.directory / "payments.db", line)) as service:
            yield service

    return Orchestrator(run.url, sagas=[place_order], resources=[orders, inventory, payments])


def prepare(run: Run, placed: list[Placed]) -> None:
    """Make the services' databases: full shelves, and what the customers are going to do."""
    for service, name in ((Orders, "orders"), (Inventory, "inventory"), (Payments, "payments")):
        service(run.directory / f"{name}.db").close()
    shelf = [(sku, run.count * 3) for sku in sorted(PRICES)] + [(SCARCE, 1)]
    couriers = [("post", VALID), ("express", EXPIRED)]
    minds = {Trouble.WITHDRAWN, Trouble.SLOW_REFUND, Trouble.NO_REFUND}
    with _writing(run.directory / "inventory.db") as db:
        db.executemany("INSERT INTO stock VALUES (?, ?, ?)", [(sku, some, some) for sku, some in shelf])
        db.executemany("INSERT INTO courier VALUES (?, ?)", couriers)
    with _writing(run.directory / "orders.db") as db:
        changed = [(order.id,) for order, trouble in placed if trouble in minds]
        db.executemany("INSERT INTO withdrawn VALUES (?)", changed)


def renew_credentials(directory: Path, courier: str) -> None:
    """What a person does about a courier that refuses ours."""
    with _writing(directory / "inventory.db") as db:
        db.execute("UPDATE courier SET credentials = ? WHERE name = ?", (VALID, courier))


@contextmanager
def _writing(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=30)) as db, db:
        yield db
