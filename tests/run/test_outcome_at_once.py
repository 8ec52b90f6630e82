"""Asking for an outcome without waiting for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from amends import Completed, Orchestrator, Saga, sleep, step
from amends.errors import UnknownSaga


@step(readonly=True)
async def double(number: int) -> int:
    return number * 2


doubled = Saga("doubled", double, input=int, output=double)
slow = Saga("slow", sleep(3600.0), double, input=int, output=double)


def orchestrator_in(directory: Path) -> Orchestrator:
    return Orchestrator(f"sqlite:///{directory / 'sagas.db'}", sagas=[doubled, slow])


def test_a_timeout_of_nothing_looks_once_and_finds_what_has_ended(tmp_path: Path) -> None:
    async def main() -> object:
        orchestrator = orchestrator_in(tmp_path)
        async with orchestrator:
            await orchestrator.run(doubled, 21, id="one")
        async with orchestrator.client():
            return await orchestrator.handle(doubled, "one").outcome(timeout=0.0)

    assert asyncio.run(main()) == Completed(42)


def test_a_timeout_of_nothing_knows_what_is_not_there_and_does_not_wait_for_what_runs(tmp_path: Path) -> None:
    async def main() -> None:
        orchestrator = orchestrator_in(tmp_path)
        async with orchestrator.client():
            await orchestrator.start(slow, 21, id="one")
            with pytest.raises(UnknownSaga):
                await orchestrator.handle(doubled, "none").outcome(timeout=0.0)
            with pytest.raises(TimeoutError):
                await orchestrator.handle(slow, "one").outcome(timeout=0.0)

    asyncio.run(main())
