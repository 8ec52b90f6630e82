"""Many small writes as few: what is asked for while a statement is on its way goes with the next one.

Guarantees: nothing waits for company, but for as long as whoever made it said; whoever asked hears once it is
committed, or why it is not.
Must not: try again; whoever asked does.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from amends.run.transactions import Transactions

BATCH = 500


class Gathering:
    """Of one statement, which takes a list and gives those of it that it has changed. company_seconds: for how long
    the first waits for others."""

    def __init__(self, transactions: Transactions, name: str, company_seconds: float = 0.0) -> None:
        self._transactions = transactions
        self._name = name
        self._company_seconds = company_seconds
        self._waiting: dict[Any, asyncio.Future[bool]] = {}
        self._pump: asyncio.Task[None] | None = None

    async def of(self, item: Any) -> bool:
        """Whether the statement has changed something for this item. Raises StoreError."""
        told = self._waiting.get(item)
        if told is None:
            told = self._waiting[item] = asyncio.get_running_loop().create_future()
            if self._pump is None:
                self._pump = asyncio.get_running_loop().create_task(self._run(), name=f"amends-{self._name}")
        return await asyncio.shield(told)

    async def _run(self) -> None:
        try:
            while self._waiting:
                if self._company_seconds:
                    await asyncio.sleep(self._company_seconds)
                items = list(self._waiting)[:BATCH]
                batch = {item: self._waiting.pop(item) for item in items}
                try:
                    rows = await self._transactions.ask(self._name, json.dumps(items))
                except Exception as error:  # noqa: BLE001  # whatever it is, somebody waits for it
                    for told in batch.values():
                        told.set_exception(error)
                        told.exception()  # seen, also where nobody waits any more
                else:
                    changed = {row[0] for row in rows}
                    for item, told in batch.items():
                        told.set_result(item in changed)
        finally:
            self._pump = None
