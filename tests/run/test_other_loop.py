"""An orchestrator belongs to the event loop that entered it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from engine import Order

from amends import Completed, Orchestrator, Saga, step
from amends.errors import NotRunning


@step(readonly=True)
async def look(order: Order) -> int:
    return order.cents


looks = Saga("looks", look, input=Order, output=look)


def test_another_event_loop_is_refused_and_told_what_to_use_and_harms_nothing(tmp_path: Path) -> None:
    async def main() -> tuple[str, object]:
        async with Orchestrator(tmp_path / "sagas.db", sagas=[looks]) as orchestrator:

            def elsewhere() -> str:
                try:
                    asyncio.run(orchestrator.run(looks, Order(1), id="elsewhere"))
                except NotRunning as error:
                    return str(error)
                return "it was taken"

            said = await asyncio.to_thread(elsewhere)
            return said, await orchestrator.run(looks, Order(2))

    said, outcome = asyncio.run(main())

    assert "another event loop" in said
    assert "blocking()" in said
    assert outcome == Completed(2)
