"""What drivers log for a transport is kept out of the log; what they log for others, or are asked for, is not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from amends.transport.driver_logs import as_caller, driving, driving_task, keep_out

DRIVER = "a_driver_of_tests"
CHILD = f"{DRIVER}.connection"
who: ContextVar[str] = ContextVar("who", default="nobody")


@pytest.fixture(autouse=True)
def driver(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A driver whose package is imported, and that is kept out."""
    logging.getLogger(CHILD)
    keep_out(DRIVER)
    keep_out(DRIVER)
    with caplog.at_level(logging.INFO):
        yield
    for name in (DRIVER, CHILD):
        logging.getLogger(name).setLevel(logging.NOTSET)


def _says(level: int = logging.ERROR, name: str = CHILD) -> None:
    logging.getLogger(name).log(level, "the broker has gone")


def test_what_a_driver_says_for_a_transport_is_kept_out_also_in_tasks_that_it_began(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def play() -> None:
        with driving():
            _says()
            task = asyncio.create_task(_later())
        await task
        await driving_task(_later(), "driving")

    asyncio.run(play())

    assert caplog.records == []


async def _later() -> None:
    _says()
    _says(name=DRIVER)


def test_what_it_says_for_others_in_the_same_process_passes(caplog: pytest.LogCaptureFixture) -> None:
    with driving():
        pass

    _says()

    assert [record.name for record in caplog.records] == [CHILD]


@pytest.mark.parametrize("name", [DRIVER, CHILD])
def test_whoever_sets_a_level_for_a_driver_reads_it(caplog: pytest.LogCaptureFixture, name: str) -> None:
    logging.getLogger(name).setLevel(logging.WARNING)

    with driving():
        _says()

    assert len(caplog.records) == 1


def test_whoever_wants_everything_gets_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), driving():
        _says(logging.DEBUG)

    assert len(caplog.records) == 1


def test_what_asyncio_warns_of_is_kept_out_and_its_errors_are_not(caplog: pytest.LogCaptureFixture) -> None:
    with driving():
        _says(logging.WARNING, "asyncio")
        _says(logging.ERROR, "asyncio")

    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_listener_is_called_as_who_listened_whoever_calls(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def receive(deliveries: object) -> None:
        seen.append(who.get())
        _says()

    token = who.set("who listened")
    told = as_caller(receive)
    who.reset(token)

    with driving():
        told([])
        told([])

    assert seen == ["who listened"] * 2
    assert len(caplog.records) == 2
