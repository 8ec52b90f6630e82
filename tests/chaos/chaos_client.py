"""One client process of the chaos test: it starts, repeats, signals, cancels, acts and waits.

What it is: `python chaos_client.py NAME SEED`. Each thing it was told is a line in its log, written when it was
told and not before; the checker holds amends to these lines.
Guarantees: whatever amends raises that its docs do not name is a line `ugly`.
Must not: look into the database but by the public face.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from chaos_money import ACCOUNTS, Transfer, transfer_money
from chaos_shop import (
    BOOKS,
    PLACE,
    Approval,
    Order,
    approval,
    approved,
    bulk,
    buy,
    decide,
    nap,
    orchestrator,
)

from amends import Compensated, Completed, Saga
from amends.errors import (
    IdConflict,
    NotAnswered,
    Refused,
    StoreUnavailable,
    TooLate,
    UnknownSaga,
)
from amends.operate.operations import Operations

MOODS = ("good", "good", "good", "declined", "flaky", "lost", "slow", "hangs", "odd", "parks", "sticks", "deaf")
SAGAS: tuple[Saga[Any, Any], ...] = (buy, buy, buy, decide, approved, bulk, nap)
STEPS = ("reserve", "charge", "pack", "settle", "pay_part")
IN_FLIGHT = 8
PATIENCE_SECONDS = 20.0
Doings = tuple[tuple[Callable[[], Awaitable[None]], int], ...]
EXPECTED = (TooLate, Refused, NotAnswered, StoreUnavailable, UnknownSaga, TimeoutError)


class Client:
    """What one process does until it is told to stop."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.dice = random.Random(seed)
        self.log = os.open(BOOKS / f"client-{name}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.mine: list[tuple[Saga[Any, Any], str, Any]] = []
        self.number = 0
        self.stopping = asyncio.Event()

    def note(self, what: str, saga_id: str = "", **more: object) -> None:
        """One line, whole also where the process is killed."""
        os.write(self.log, (json.dumps({"what": what, "id": saga_id, "at": time.time(), **more}) + "\n").encode())

    async def work(self) -> None:
        """Several things at a time, until SIGTERM."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.stopping.set)
        async with orchestrator.client():
            self.note("up")
            await asyncio.gather(*(self._go_on() for _ in range(IN_FLIGHT)))
        self.note("down")

    def doings(self) -> Doings:
        """What it does, and how often."""
        return (
            (self._start, 10),
            (self._start_within, 3),
            (self._again, 2),
            (self._other_input, 1),
            (self._wait, 8),
            (self._cancel, 2),
            (self._signal, 3),
            (self._operate, 3),
            (self._nonsense, 1),
        )

    async def _go_on(self) -> None:
        doings = self.doings()
        while not self.stopping.is_set():
            doing = self.dice.choices([one for one, _ in doings], [weight for _, weight in doings])[0]
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await doing()
            except EXPECTED as error:
                self.note("told", kind=type(error).__name__, text=str(error)[:200])
            except Exception:  # noqa: BLE001  # it is what this is about
                self.note("ugly", text=traceback.format_exc())
            await asyncio.sleep(self.dice.random() * 0.2)

    def _new(self) -> tuple[Saga[Any, Any], str, Any]:
        self.number += 1
        saga_id = f"{self.name}-{self.number}"
        if self.dice.random() < 0.2:
            source, target = self.dice.sample((*ACCOUNTS, "nobody"), 2)
            return transfer_money, saga_id, Transfer(source, target, self.dice.randrange(1, 4000))
        order = Order(self.dice.randrange(1, 5000), self.dice.choice(MOODS), self.dice.choice(STEPS))
        return self.dice.choice(SAGAS), saga_id, order

    def _some(self) -> tuple[Saga[Any, Any], str, Any] | None:
        return self.dice.choice(self.mine[-40:]) if self.mine else None

    async def _start(self) -> None:
        saga, saga_id, value = self._new()
        self.note("asked", saga_id, saga=saga.name)
        await orchestrator.start(saga, value, id=saga_id)
        self.note("started", saga_id, saga=saga.name)
        self.mine.append((saga, saga_id, value))

    async def _start_within(self) -> None:
        """The program's own row and the saga, in one transaction, which may end in every way."""
        saga, saga_id, value = self._new()
        end = self.dice.choice(("COMMIT", "COMMIT", "COMMIT", "ROLLBACK", "die", "hold"))
        connection = sqlite3.connect(PLACE / "sagas.db", timeout=2, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO chaos_order VALUES (?)", (saga_id,))
            await orchestrator.start(saga, value, id=saga_id, within=connection)
            if end == "hold":
                await asyncio.sleep(self.dice.random())
            elif end == "die" and self.dice.random() < 0.2:
                os.kill(os.getpid(), signal.SIGKILL)
            connection.execute("ROLLBACK" if end == "ROLLBACK" else "COMMIT")
            if end != "ROLLBACK":
                self.note("started", saga_id, saga=saga.name)
                self.mine.append((saga, saga_id, value))
            else:
                self.note("rolled-back", saga_id)
        except sqlite3.OperationalError as error:  # busy, full: the program's own trouble
            self.note("told", kind="OperationalError", text=str(error))
        finally:
            connection.close()

    async def _again(self) -> None:
        some = self._some()
        if some is not None:
            saga, saga_id, value = some
            await asyncio.gather(*(orchestrator.start(saga, value, id=saga_id) for _ in range(3)))

    async def _other_input(self) -> None:
        some = self._some()
        if some is None:
            return
        _, saga_id, _ = some
        try:
            await orchestrator.start(decide, Order(999_999), id=saga_id)
        except IdConflict:
            return
        self.note("ugly", saga_id, text="a start with another input was taken")

    async def _wait(self) -> None:
        some = self._some()
        if some is None:
            return
        saga, saga_id, _ = some
        outcome = await orchestrator.handle(saga, saga_id).outcome(timeout=self.dice.random() * 4)
        match outcome:
            case Completed(result):
                self.note("outcome", saga_id, status="completed", result=result)
            case Compensated():
                self.note("outcome", saga_id, status="compensated")
            case _:
                self.note("outcome", saga_id, status="parked")

    async def _cancel(self) -> None:
        some = self._some()
        if some is not None:
            await orchestrator.cancel(some[1], reason="changed my mind \x1b[31m")
            self.note("cancelled", some[1])

    async def _signal(self) -> None:
        waiting = [saga_id for saga, saga_id, _ in self.mine[-60:] if saga is approved]
        if not waiting:
            return
        saga_id, message = self.dice.choice(waiting), f"m{self.dice.randrange(4)}"
        answer = Approval(self.dice.random() < 0.8, f"{self.name} {message}")
        ids = [message, message] if self.dice.random() < 0.3 else [message]
        await asyncio.gather(*(orchestrator.signal(saga_id, approval, answer, id=one) for one in ids))
        self.note("signalled", saga_id, message=message)

    async def _operate(self) -> None:
        """What an operator may do with something that is parked, sometimes twice at once."""
        operations = Operations(orchestrator.session)
        found = (await operations.find(statuses=["parked"], limit=20)).sagas
        if not found:
            return
        line = self.dice.choice(found)
        acts = (await operations.show(line.id)).acts
        if not acts:
            return
        act = self.dice.choice(acts)
        calls = [self._act(operations, line.id, act.verb, act.step) for _ in range(self.dice.choice((1, 1, 2)))]
        for answer in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(answer, BaseException) and not isinstance(answer, EXPECTED):
                raise answer
            if not isinstance(answer, BaseException):
                self.note("acted", line.id, verb=act.verb, step=act.step)

    async def _act(self, operations: Operations, saga_id: str, verb: str, step: str) -> None:
        said: dict[str, Any] = {"actor": self.name, "reason": "chaos"}
        match verb:
            case "unpark" | "compensate" | "cancel":
                await getattr(operations, verb)(saga_id, **said)
            case "retry" | "skip":
                await getattr(operations, verb)(saga_id, step, **said)
            case "resolve":
                await operations.resolve(
                    saga_id, step, result=b"1" if "charge" in step or "[" in step else None, **said
                )

    async def _nonsense(self) -> None:
        """Acts that fit nothing must be refused, and change nothing."""
        operations, some = Operations(orchestrator.session), self._some()
        saga_id = some[1] if some is not None and self.dice.random() < 0.7 else "nobody\u2603"
        verb, step = self.dice.choice(("retry", "skip", "unpark", "signal")), self.dice.choice((*STEPS, "x/y[7]", ""))
        if verb == "signal":
            await operations.signal(saga_id, step, b'{"granted": "perhaps"}', actor="nobody")
            self.note("ugly", saga_id, text="a signal that fits no wait was taken")
        elif verb == "unpark":
            await operations.unpark(saga_id, actor="nobody")
        else:
            await self._act(operations, saga_id, verb, step)
            self.note("acted", saga_id, verb=verb, step=step)


if __name__ == "__main__":
    asyncio.run(Client(sys.argv[1], int(sys.argv[2])).work())
