"""Clients that watch a saga keep its worker from nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from engine import Order

from amends import Orchestrator, Saga, step
from amends.errors import TooLate


@step(readonly=True)
async def look(order: Order) -> int:
    return order.cents


looks = Saga("looks", look, input=Order, output=look)


def test_who_watches_a_saga_at_rest_again_and_again_keeps_no_mail_from_being_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> int:
        async with Orchestrator(tmp_path / "sagas.db", sagas=[looks]) as orchestrator:
            await orchestrator.run(looks, Order(), id="done")
            store, worker, told = orchestrator.session.store, orchestrator.session.worker, 0
            assert worker is not None
            hint = store.hint

            def watched_again(keys: Sequence[str], *, work: bool) -> None:
                nonlocal told
                hint(keys, work=work)
                if "done" in keys:
                    told += 1
                    worker.ownership._hinted("watched\ndone")  # as by a client's datagram

            with monkeypatch.context() as patch:
                patch.setattr(store, "hint", watched_again)
                worker.ownership._hinted("watched\ndone")
                with pytest.raises(TooLate):
                    async with asyncio.timeout(20):
                        await orchestrator.cancel("done", reason="too late anyhow")
            return told

    assert asyncio.run(main()) > 0
