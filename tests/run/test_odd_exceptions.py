"""Whatever a function raises is an outcome, in whichever of the four ways it is called."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from amends import Compensated, Orchestrator, Retry, Saga, Step, step

PATIENCE_SECONDS = 60.0
ONCE = Retry(attempts=1)


@dataclass(frozen=True)
class Order:
    """What is bought."""


class Unheard(BaseException):
    """Of no known kind."""


def fails_with(kind: str) -> None:
    """Raise it as real code does."""
    match kind:
        case "StopIteration":
            next(iter([]))
        case "SystemExit":
            sys.exit(3)
        case "GeneratorExit":
            raise GeneratorExit
        case "CancelledError":
            raise asyncio.CancelledError
        case _:
            raise Unheard("what is this")


def asynchronous(kind: str) -> Any:
    @step(name="only", retry=ONCE, timeout=5)
    async def only(order: Order) -> None:
        fails_with(kind)

    return only


def synchronous(kind: str) -> Any:
    @step(name="only", retry=ONCE, timeout=5)
    def only(order: Order) -> None:
        fails_with(kind)

    return only


def in_a_transaction(kind: str) -> Any:
    @step(name="only", retry=ONCE, timeout=5)
    def only(order: Order, tx: sqlite3.Connection) -> None:
        fails_with(kind)

    return only


def in_a_transaction_on_the_loop(kind: str) -> Any:
    @step(name="only", retry=ONCE, timeout=5)
    async def only(order: Order, tx: sqlite3.Connection) -> None:
        fails_with(kind)

    return only


@pytest.mark.parametrize("kind", ["StopIteration", "SystemExit", "GeneratorExit", "CancelledError", "Unheard"])
@pytest.mark.parametrize("made", [asynchronous, synchronous, in_a_transaction, in_a_transaction_on_the_loop])
def test_an_exception_that_python_treats_apart_hangs_nothing_and_ends_no_worker(
    kind: str, made: Callable[[str], Any], tmp_path: Path
) -> None:
    only: Step[..., Any, None] = made(kind)

    if "transaction" in made.__name__:

        @only.compensation
        def undo_there(tx: sqlite3.Connection) -> None: ...
    else:

        @only.compensation
        async def undo() -> None: ...

    async def main(saga: Saga[Order, None]) -> list[Any]:
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            Orchestrator(tmp_path / "sagas.db", sagas=[saga]) as orchestrator,
        ):
            return [await orchestrator.run(saga, Order()) for _ in range(2)]

    outcomes = asyncio.run(main(Saga("odd", only, input=Order)))

    for outcome in outcomes:
        assert isinstance(outcome, Compensated), outcome
        assert "took longer" not in outcome.reason
