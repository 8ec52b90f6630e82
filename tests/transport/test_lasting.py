"""A duty of a transport ends when it is done, or cancelled, and on nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from amends.transport import lasting as module
from amends.transport.lasting import lasting

LOG = logging.getLogger("amends.lasting")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_FIRST_SECONDS", 0.0)


def _cancelled() -> BaseException:
    return asyncio.CancelledError()


@pytest.mark.parametrize("trouble", [lambda: RuntimeError("the handler is closed"), KeyError, _cancelled])
def test_what_nobody_foresaw_is_said_and_the_duty_begun_again(
    trouble: Callable[[], BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    begun: list[int] = []

    async def duty() -> None:
        begun.append(1)
        if len(begun) < 3:
            raise trouble()

    asyncio.run(lasting(duty, "listening to it", LOG))

    assert len(begun) == 3
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["listening to it"] * 2


def test_what_is_waited_for_and_cancelled_by_somebody_else_does_not_end_it() -> None:
    async def story() -> None:
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        begun = asyncio.Event()
        waited_for = [first]

        async def duty() -> None:
            begun.set()
            if waited_for:
                await waited_for.pop()

        task = asyncio.create_task(lasting(duty, "it", LOG))
        await begun.wait()
        first.cancel()
        await task

    asyncio.run(story())


def test_whoever_cancels_its_task_ends_it() -> None:
    async def story() -> None:
        begun = asyncio.Event()

        async def duty() -> None:
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(lasting(duty, "it", LOG))
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(story())
